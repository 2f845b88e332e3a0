"""Each form of row is read, and what cannot be read says where and why."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lifecycle.errors import InvalidData
from training.data.formats import conversation
from training.data.rows import hold_out, read_rows, scan, write_rows


def turns(*contents: tuple[str, Any], role: str = "role", text: str = "content") -> list[dict[str, Any]]:
    return [{role: who, text: said} for who, said in contents]


S, Q, A = ("system", "S"), ("user", "Q"), ("assistant", "A")
PARTS = [{"type": "text", "text": "Q"}]
FORMS: dict[str, dict[str, Any]] = {
    "openai chat": {"messages": turns(S, Q, A)},
    "openai text parts": {"messages": turns(("developer", "S"), ("user", PARTS), A)},
    "prompt and completion": {"system": "S", "prompt": "Q", "completion": "A"},
    "conversational prompt and completion": {"prompt": turns(S, Q), "completion": turns(A)},
    "alpaca": {"system": "S", "instruction": "Q", "input": "", "output": "A"},
    "sharegpt": {"system": "S", "conversations": turns(("human", "Q"), ("gpt", "A"), role="from", text="value")},
    "sharegpt with roles": {"conversations": turns(S, Q, A)},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_becomes_the_same_conversation(form: str) -> None:
    row = conversation(FORMS[form], "f:1")
    assert [(m.role, m.content) for m in row.messages] == [("system", "S"), ("user", "Q"), ("assistant", "A")]
    assert (row.system, row.question, row.answer) == ("S", "Q", "A")


def test_alpaca_input_and_history_come_in_order() -> None:
    row = conversation({"instruction": "Sum up", "input": "نص", "output": "A", "history": [["q0", "a0"]]}, "f:1")
    assert [m.content for m in row.messages] == ["q0", "a0", "Sum up\n\nنص", "A"]


def test_an_answer_with_weight_0_is_context_only() -> None:
    messages = turns(Q, A, Q, A)
    messages[1]["weight"] = 0
    row = conversation({"messages": messages}, "f:1")
    assert [m.trained for m in row.messages] == [True, False, True, True]


def chat(*contents: tuple[str, Any], **more: Any) -> str:
    return json.dumps({"messages": [turn | more for turn in turns(*contents)]})


BAD: dict[str, tuple[str | bytes, str]] = {
    "not json": ("{", "is not valid JSON"),
    "NaN": ('{"prompt": NaN, "completion": "a"}', "NaN is no JSON value"),
    "not utf-8": (b'{"prompt": "\xff", "completion": "a"}', "is not UTF-8"),
    "not an object": ('"text"', "the row is a text"),
    "unknown form": ('{"question": "q", "reply": "a"}', "unknown form with the keys question, reply"),
    "no role": ('{"messages": [{"content": "q"}, {"role": "assistant", "content": "a"}]}', "messages[0] has no role"),
    "strange role": (chat(("wizard", "q")), "'wizard'; expected system, user"),
    "wrong type": ('{"prompt": 3, "completion": "a"}', "prompt is a number, not text"),
    "null content": (chat(("user", None)), "messages[0].content is null"),
    "missing completion": ('{"prompt": "q"}', "completion is missing"),
    "empty answer": ('{"prompt": "q", "completion": "  "}', "an empty assistant turn"),
    "no answer": (chat(Q), "the last turn is not the assistant's"),
    "two users": (chat(Q, Q, A), "take turns"),
    "no turns": ('{"messages": []}', "there are no turns"),
    "tool call": (chat(Q, ("tool", "x")), "tool calls cannot be trained yet"),
    "image": (chat(("user", [{"type": "image_url"}])), "only text can be trained"),
    "all weight 0": (chat(Q, A, weight=0), "every answer has weight 0"),
}


def test_all_bad_rows_are_reported_together_each_with_its_line(jsonl: Callable[..., Path]) -> None:
    good = '{"prompt": "q", "completion": "a"}'
    path = jsonl("train.jsonl", [line for raw, _ in BAD.values() for line in (good, raw, "")])
    with pytest.raises(InvalidData) as caught:
        read_rows(path)
    said = {problem.place: problem.fault for problem in caught.value.problems}
    for number, (kind, (_, expected)) in enumerate(BAD.items()):
        assert expected in said[f"{path}:{3 * number + 2}"], kind
    assert f"{len(BAD)} bad rows" in str(caught.value)


def test_each_file_keeps_its_own_rows(jsonl: Callable[..., Path]) -> None:
    one = jsonl("one.jsonl", ['{"prompt": "q", "completion": "a"}'] * 2)
    two = jsonl("two.jsonl", ['{"prompt": "q", "completion": "a"}'])
    assert [len(rows) for rows in read_rows(one, two, one)] == [2, 1, 2]


def test_bad_rows_of_two_files_are_one_error(jsonl: Callable[..., Path]) -> None:
    first, second = jsonl("a.jsonl", ["{"]), jsonl("b.jsonl", ['{"prompt": "q", "completion": "a"}', "[1"])
    with pytest.raises(InvalidData) as caught:
        read_rows(first, second)
    assert [p.place for p in caught.value.problems] == [f"{first}:1", f"{second}:2"]


def test_an_empty_and_a_missing_file_are_named(jsonl: Callable[..., Path], tmp_path: Path) -> None:
    empty = jsonl("empty.jsonl", [""])
    with pytest.raises(InvalidData) as caught:
        read_rows(empty, tmp_path / "none.jsonl")
    assert [p.place for p in caught.value.problems] == [str(empty), str(tmp_path / "none.jsonl")]


def test_a_json_array_is_read_with_the_line_of_each_row(tmp_path: Path) -> None:
    path = tmp_path / "alpaca.json"
    rows = [{"instruction": "q", "output": "a"}, {"instruction": "q"}, {"instruction": "س", "output": "ج"}]
    path.write_text(json.dumps(rows, indent=1, ensure_ascii=False), encoding="utf-8-sig")
    found, problems = scan(path)
    assert [row.place for row in found] == [f"{path}:2", f"{path}:9"]
    assert [p.place for p in problems] == [f"{path}:6"]
    path.write_text('[{"instruction": "q", "output": "a"},\n {"instruction" "q"}]', encoding="utf-8")
    assert [p.place for p in scan(path)[1]] == [f"{path}:2"]


def test_rows_written_are_rows_read(jsonl: Callable[..., Path], tmp_path: Path) -> None:
    path = jsonl("in.jsonl", [{**FORMS["openai chat"], "id": "r1", "meta": {"lang": "ar"}}, FORMS["alpaca"]])
    (rows,) = read_rows(path)
    write_rows(tmp_path / "out.jsonl", rows)
    (again,) = read_rows(tmp_path / "out.jsonl")
    assert [(r.id, r.messages, r.meta) for r in again] == [(r.id, r.messages, r.meta) for r in rows]


def test_a_holdout_never_splits_rows_that_ask_the_same(jsonl: Callable[..., Path]) -> None:
    asked = [f"question {i // 3}{'!' * (i % 3)}" for i in range(300)]
    (rows,) = read_rows(jsonl("t.jsonl", [{"prompt": q, "completion": "a"} for q in asked]))
    kept, held = hold_out(rows, 0.2, seed=3)
    sides = [{row.question.rstrip("!") for row in side} for side in (kept, held)]
    assert not sides[0] & sides[1]
    assert len(kept) + len(held) == 300
    assert 30 <= len(held) <= 90
    assert hold_out(rows, 0.2, seed=3) == (kept, held)
    assert hold_out(rows, 0.2, seed=4) != (kept, held)


def test_too_few_rows_to_hold_out_are_refused(jsonl: Callable[..., Path]) -> None:
    (rows,) = read_rows(jsonl("t.jsonl", [{"prompt": "q", "completion": "a"}]))
    with pytest.raises(InvalidData, match=r"data\.validation"):
        hold_out(rows, 0.1, seed=1)
