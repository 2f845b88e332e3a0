"""Rows into other forms and files: what comes back is what went in, and what has no place there is an error."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from lifecycle.errors import DabtError, InvalidInput
from lifecycle.rows.conversions import TARGETS, converted, usual_form
from lifecycle.rows.faults import Unreadable
from lifecycle.rows.files import Reading
from lifecycle.rows.forms import read
from lifecycle.rows.kinds import Judged, Labelled
from lifecycle.rows.writing import write
from training.data.commands.convert import convert

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"d": None}}}}
Q, A = {"role": "user", "content": "سؤال\n007"}, {"role": "assistant", "content": "null"}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"d":"2026-05-01"}'}}

PLAIN: dict[str, Any] = {"id": "r", "system": "S", "messages": [Q, A], "meta": {"x": [1, None]}}
LONG = {"messages": [{"role": "system", "content": "S"}, Q, A, Q, A]}
RICH = {
    "tools": [TOOL],
    "messages": [
        {**Q, "name": "sara"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c", "content": "ok"},
        {**A, "reasoning": "think"},
        Q,
        {**A, "weight": 0},
    ],
    "parallel_tool_calls": False,
}
PREFERENCE = {"prompt": "q", "chosen": "good", "rejected": "bad", "id": "p"}
LONG_PREFERENCE = {"prompt": LONG["messages"][:4], "chosen": [A], "rejected": [{**A, "content": "no"}], "tools": [TOOL]}
FEW = {
    "input": {"messages": [Q], "parallel_tool_calls": True},
    "preferred_output": [A],
    "non_preferred_output": [{**A, "content": "no"}],
}
JUDGED = {"messages": [Q, A], "label": False, "id": "j", "meta": {"a": 1}}
NUMBERED = {"text": "نص", "label": 7}
LABELLED, TEXT = {"text": "نص", "label": "007", "meta": {"a": "b"}}, {"text": "plain"}

HELD = [
    *((value, target) for value in (PLAIN, LONG) for target in ("messages", "prompt", "alpaca", "sharegpt")),
    (PLAIN, "pair"),
    (RICH, "messages"),
    (RICH, "prompt"),
    *((value, to) for value in (PREFERENCE, LONG_PREFERENCE, FEW) for to in ("preference", "preference-openai")),
    *((value, "judged") for value in (JUDGED, {**JUDGED, "label": True})),
    (LABELLED, "classification"),
    (TEXT, "text"),
]


def same(value: Any, place: str = "f:1") -> Any:
    return unplaced(read(value, place)[1])


def unplaced(row: Any) -> Any:
    if isinstance(row, Judged):
        return dataclasses.replace(row, conversation=unplaced(row.conversation))
    return dataclasses.replace(row, place="")


@pytest.mark.parametrize(("value", "target"), HELD)
def test_what_a_form_holds_comes_back_as_it_was(value: dict[str, Any], target: str) -> None:
    assert same(converted(read(value, "f:1")[1], target)) == same(value)


@pytest.mark.parametrize("value", [PLAIN, LONG, RICH, JUDGED, PREFERENCE, LONG_PREFERENCE, LABELLED, TEXT])
def test_the_usual_form_holds_every_row_of_its_kind(value: dict[str, Any]) -> None:
    row = read(value, "f:1")[1]
    assert same(converted(row, usual_form(row))) == same(value)


@pytest.mark.parametrize(
    ("value", "target", "lost"),
    [
        (RICH, "alpaca", {"tools and their calls", "parallel_tool_calls", "weight 0", "name", "reasoning"}),
        (RICH, "sharegpt", {"tools and their calls", "parallel_tool_calls", "weight 0", "name", "reasoning"}),
        (LONG, "pair", {"several questions and answers"}),
        ({"messages": [{"role": "system", "content": s} for s in "ab"] + [Q, A]}, "alpaca", {"several system texts"}),
    ],
)
def test_what_a_form_has_no_place_for_is_told_and_not_left_out(
    value: dict[str, Any], target: str, lost: set[str]
) -> None:
    with pytest.raises(Unreadable) as caught:
        converted(read(value, "f:1")[1], target)
    assert {fault.says.partition("no place for ")[2] for fault in caught.value.faults} == lost


def test_a_bad_answer_never_becomes_a_conversation() -> None:
    good, bad = (read({"prompt": "q", "completion": "a", "label": label}, "f:1")[1] for label in (True, False))
    assert converted(good, "messages")["messages"][1]["content"] == "a"
    with pytest.raises(Unreadable, match="judged bad"):
        converted(bad, "messages")
    for target in TARGETS.keys() - {"messages", "judged"}:
        with pytest.raises(Unreadable, match="has no form"):
            converted(good, target)


# -- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["o.jsonl", "o.json", "o.csv", "o.tsv", "o.parquet", "o.jsonl.gz", "o.csv.gz"])
@pytest.mark.parametrize("values", [[PLAIN, RICH, LONG], [LABELLED], [PREFERENCE]])
def test_every_file_gives_back_the_rows_that_were_written(
    tmp_path: Path, name: str, values: list[dict[str, Any]]
) -> None:
    rows = [read(value, "f:1")[1] for value in values]
    assert write(tmp_path / name, (converted(row, usual_form(row)) for row in rows)) == len(rows)
    reading = Reading(tmp_path / name)
    again = [unplaced(row) for row in reading]
    assert list(reading.told) == []
    assert again == [same(value) for value in values]
    assert [path.name for path in tmp_path.iterdir()] == [name], "nothing is left beside it"


EVERY = [PLAIN, LONG, RICH, JUDGED, PREFERENCE, LONG_PREFERENCE, FEW, LABELLED, NUMBERED, TEXT]


@pytest.mark.parametrize("name", ["o.jsonl", "o.json", "o.csv", "o.tsv", "o.parquet"])
def test_every_form_in_every_file_comes_back_as_it_was_or_is_refused(tmp_path: Path, name: str) -> None:
    refused = set()
    for number, value in enumerate(EVERY):
        row = read(value, "f:1")[1]
        for target in [target for target, kinds in TARGETS.items() if type(row) in kinds]:
            path = tmp_path / f"{number}{target}{name}"
            try:
                write(path, [converted(row, target)])
            except Unreadable:
                continue
            except InvalidInput:
                assert not path.exists()
                refused.add((number, target))
                continue
            reading = Reading(path)
            again = [unplaced(one) for one in reading]
            assert list(reading.told) == []
            as_it_was = same(converted(row, target))
            assert again == [as_it_was], (target, value)
    texts = {(EVERY.index(row), to) for row, to in ((LONG, "prompt"), (RICH, "prompt"))}
    texts |= {(EVERY.index(row), "preference") for row in (LONG_PREFERENCE, FEW)}
    cells = {(EVERY.index(JUDGED), "judged"), (EVERY.index(NUMBERED), "classification")}
    kept: set[tuple[int, str]] = set()
    assert refused == {"jsonl": kept, "json": kept, "parquet": texts}.get(name[2:], texts | cells)


SPELLED = (
    '{"id": 1.10, "tools": [{"type": "function", "function": {"name": "f", "parameters": {"multipleOf": 0.010}}}], '
    '"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": null, "tool_calls": [{"id": "c", '
    '"type": "function", "function": {"name": "f", "arguments": {"dose": 1.10, "n": 1e3, "of": 12345678901234567890, '
    '"more": [1.0, -0, 0.1000000000000000055]}}}]}], "meta": {"score": 7E-1}}'
)


@pytest.mark.parametrize("name", ["o.jsonl", "o.json", "o.csv", "o.tsv", "o.parquet", "o.jsonl.gz"])
def test_numbers_are_written_as_they_were_spelled(tmp_path: Path, name: str) -> None:
    (tmp_path / "in.jsonl").write_text(SPELLED + "\n")
    write(tmp_path / name, (converted(row, "messages") for row in Reading(tmp_path / "in.jsonl")))
    write(tmp_path / "out.jsonl", (converted(row, "messages") for row in Reading(tmp_path / name)))
    said = (tmp_path / "out.jsonl").read_text()
    arguments = SPELLED.partition('"arguments": ')[2].partition("}")[0] + "}"
    assert json.loads(said)["messages"][1]["tool_calls"][0]["function"]["arguments"] == arguments
    assert all(part in said for part in ('"id": "1.10"', '{"multipleOf": 0.010}', '"meta": {"score": 7E-1}'))


def test_a_number_is_called_one_however_it_is_spelled(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "x", "label": 1.10}\n{"text": "x", "label": 1e0}\n')
    reading = Reading(tmp_path / "in.jsonl")
    assert list(reading) == []
    assert [problem.fault for problem in reading.told] == ["label is a number, not a text or a whole number"] * 2


def test_a_column_of_parquet_with_numbers_and_texts_is_refused_with_its_row(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        write(
            tmp_path / "o.parquet", [{"text": "a", "label": "7"}, {"text": "b", "label": 7}, {"text": "c", "label": 8}]
        )
    assert [problem.place for problem in caught.value.problems] == ["label"]
    assert "row 2 has a number" in caught.value.problems[0].fault
    write(tmp_path / "o.parquet", [{"text": "a", "label": 2**62}])
    with pytest.raises(InvalidInput, match="label"):
        write(tmp_path / "large.parquet", [{"text": "a", "label": 2**63}])


# -- there and back, for all pairs of forms ---------------------------------------------------------------------------

SAID: dict[str, list[dict[str, Any]]] = {
    "chat": [PLAIN, LONG, RICH],
    "prompt/completion": [
        {"prompt": "q", "completion": "a", "system": "S", "id": 7},
        {"prompt": [Q], "completion": [A], "tools": [TOOL], "parallel_tool_calls": True},
    ],
    "alpaca": [
        {"instruction": "i", "input": "", "output": "o"},
        {"instruction": "i", "input": "١", "output": "o", "system": "S", "history": [["q", "a"]], "meta": {"n": 1}},
    ],
    "dolly": [{"instruction": "i", "context": "c", "response": "r", "category": "open"}],
    "sharegpt": [{"conversations": [{"from": who, "value": who} for who in ("system", "human", "gpt")]}],
    "pair": [{"user": "q", "assistant": "a", "system": "S"}, {"patient": "q", "chatbot": "a"}],
    "judged": [JUDGED, {"prompt": "q", "completion": "a", "kto_tag": True}, {**RICH, "label": True}],
    "preference": [PREFERENCE, LONG_PREFERENCE, FEW, {"instruction": "i", "chosen": "a", "rejected": "b"}],
    "classification": [LABELLED, NUMBERED],
    "text": [TEXT, {"text": "نص", "id": "t", "meta": {"a": [1.5, None]}}],
}  # fmt: skip


@pytest.mark.parametrize("form", SAID)
def test_every_form_goes_into_every_other_and_comes_back_or_is_refused_by_name(tmp_path: Path, form: str) -> None:
    """Through a file of each kind, into the other form, and from there into the usual one."""
    source, there, back = (tmp_path / name for name in ("in.jsonl", "there.jsonl", "back.jsonl"))
    for value in SAID[form]:
        source.write_text("\n" + json.dumps(value, ensure_ascii=False), encoding="utf-8")
        row = same(value)
        for target, kinds in TARGETS.items():
            there.unlink(missing_ok=True)
            try:
                convert(source, there, to=target)
            except DabtError as refused:
                assert not there.exists()
                (problem, *_) = refused.problems
                assert problem.place == f"{source}:2"
                assert problem.cure
                assert type(row) not in kinds or problem.code in {"would_be_lost", "bad_answer", "not_text"}
                continue
            assert type(row) in kinds
            convert(there, back, to="")
            (again,) = Reading(back)
            if isinstance(row, Judged) and target == "messages":  # a good answer becomes one to learn
                row_there: Any = row.conversation
            elif isinstance(row, Labelled) and target == "messages":
                row_there = same(
                    {
                        "id": row.id,
                        "messages": [{**Q, "content": row.text}, {**A, "content": row.label}],
                        "meta": row.meta,
                    }
                )
            else:
                row_there = row
            assert unplaced(again) == row_there, (target, value)
