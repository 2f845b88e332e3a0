"""Files of rows: what cannot be read says where and why, and nothing is left out without a word."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lifecycle.errors import InvalidData
from lifecycle.rows.faults import RowProblem
from lifecycle.rows.files import Reading, read_rows, scan, write_rows
from lifecycle.rows.kinds import Preference
from lifecycle.text.strict_json import TOO_DEEP


def turns(*contents: tuple[str, Any]) -> list[dict[str, Any]]:
    return [{"role": who, "content": said} for who, said in contents]


S, Q, A = ("system", "S"), ("user", "Q"), ("assistant", "A")
PARTS = [{"type": "text", "text": "Q"}]
ROW = '{"prompt": "q", "completion": "a"}'


def chat(*contents: tuple[str, Any], **more: Any) -> str:
    return json.dumps({"messages": [turn | more for turn in turns(*contents)]})


BAD: dict[str, tuple[str | bytes, str]] = {
    "not json": ("{", "is not JSON: EOF while parsing an object at character 1"),
    "NaN": ('{"prompt": NaN, "completion": "a"}', "is not JSON"),
    "not utf-8": (b'{"prompt": "\xff", "completion": "a"}', "is not UTF-8"),
    "not an object": ('"text"', "the row is a text"),
    "unknown form": ('{"question": "q", "reply": "a"}', "unknown form with the keys question, reply"),
    "no role": ('{"messages": [{"content": "q"}, {"role": "assistant", "content": "a"}]}', "messages[0] has no role"),
    "strange role": (chat(("wizard", "q")), "'wizard'; expected system, user, assistant or tool"),
    "wrong type": ('{"prompt": 3, "completion": "a"}', "prompt is a number, not text"),
    "null content": (chat(("user", None)), "messages[0].content is null"),
    "missing completion": ('{"prompt": "q"}', "completion is missing"),
    "empty answer": ('{"prompt": "q", "completion": "  "}', "an empty assistant turn"),
    "no answer": (chat(Q), "the last turn is not the assistant's"),
    "two users": (chat(Q, Q, A), "take turns"),
    "no turns": ('{"messages": []}', "there are no turns"),
    "a tool that nobody called": (chat(Q, ("tool", "x")), "answers no call: it has no tool_call_id"),
    "function call": (
        chat(Q, A, function_call={"name": "f"}),
        "messages[0].function_call is the old spelling of a tool call",
    ),
    "image": (chat(("user", [{"type": "image_url"}])), "only text can be used"),
    "text and image": (chat(("user", [*PARTS, {"type": "image_url"}])), "only text can be used"),
    "part without text": (chat(("user", [{"type": "text"}])), "only text can be used"),
    "no parts": (chat(("user", [])), "only text can be used"),
    "system in the middle": (chat(Q, A, S, Q, A), "turn 3 is from the system"),
    "empty system": (chat(("system", " "), Q, A), "an empty system turn"),
    "system that is no text": ('{"system": 3, "prompt": "q", "completion": "a"}', "system is a number, not text"),
    "tools": ('{"tools": [{}], "prompt": "q", "completion": "a"}', "tools[0] is no function with a name"),
    "half a character": ('{"prompt": "bad \\ud83d", "completion": "a"}', "has half of a surrogate pair"),
    "half a character in a key": ('{"mess\\ud83d": 1}', "has half of a surrogate pair"),
    "nested too deep": ("[" * 100_000, "is nested too deeply"),
    "system alone": (chat(S), "the last turn is not the assistant's"),
    "all weight 0": (chat(Q, A, weight=0), "every answer has weight 0"),
}


def test_all_bad_rows_are_reported_together_each_with_its_line(jsonl: Callable[..., Path]) -> None:
    good = '{"prompt": "q", "completion": "a"}'
    # A file tells its first twenty.
    parts = [list(BAD.items())[at : at + 10] for at in range(0, len(BAD), 10)]
    paths = [
        jsonl(f"train-{at}.jsonl", [line for _, (raw, _) in part for line in (good, raw, "")])
        for at, part in enumerate(parts)
    ]
    with pytest.raises(InvalidData) as caught:
        read_rows(*paths)
    said: dict[str, str] = {}
    for problem in caught.value.problems:
        said[problem.place] = f"{said.get(problem.place, '')}; {problem.fault}"
    for path, part in zip(paths, parts, strict=True):
        for number, (kind, (_, expected)) in enumerate(part):
            assert expected in said[f"{path}:{3 * number + 2}"], kind
    assert all(problem.code for problem in caught.value.problems if isinstance(problem, RowProblem))
    assert all(isinstance(problem, RowProblem) for problem in caught.value.problems)
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
    path = jsonl(
        "in.jsonl",
        [{"messages": turns(S, Q, A), "id": "r1", "meta": {"lang": "ar"}}, {"instruction": "Q", "output": "A"}],
    )
    (rows,) = read_rows(path)
    write_rows(tmp_path / "out.jsonl", rows)
    (again,) = read_rows(tmp_path / "out.jsonl")
    assert [(r.id, r.messages, r.meta) for r in again] == [(r.id, r.messages, r.meta) for r in rows]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (f"[{ROW}]\n[{ROW}]\n", [1, 2]),
        (f"[{ROW},\n {ROW}] [{ROW}]", [1, 2, 2]),
        (f"\n\n[\n{ROW}\n]\n\n", [4]),
        (f"[]\n[{ROW}]", [2]),
        (f"{ROW}\n\n{ROW}", [1, 3]),
        (f"{ROW}\r\n{ROW}\r\n", [1, 2]),
        (ROW.replace("q", "a\u2028b\u0085c"), [1]),
    ],
)
def test_every_row_is_read_with_its_line(tmp_path: Path, text: str, lines: list[int]) -> None:
    path = tmp_path / "rows.json"
    path.write_text(text, encoding="utf-8", newline="")
    found, problems = scan(path)
    assert problems == []
    assert [row.place for row in found] == [f"{path}:{line}" for line in lines]


@pytest.mark.parametrize(
    ("text", "read", "line", "fault"),
    [
        (f"[{ROW}", 1, 1, "the JSON array breaks here"),
        (f"[{ROW},\n", 1, 2, "the JSON array breaks here"),
        ("[", 0, 1, "the JSON array breaks here"),
        (f"[{ROW}]\n{ROW}", 1, 2, "stands after the end of a JSON array"),
        (f"[{ROW}]]", 1, 1, "stands after the end of a JSON array"),
        (f"[{ROW}],", 1, 1, "stands after the end of a JSON array"),
        (f"{ROW}\n[{ROW}]", 1, 2, "the row is a list"),
        (f"[{ROW},\n" + "[" * 100_000, 1, 2, "the JSON array breaks here"),
        ("[]", 0, None, "has no rows"),
        ("", 0, None, "has no rows"),
    ],
)
def test_a_file_that_breaks_off_or_goes_on_names_the_place(
    tmp_path: Path, text: str, read: int, line: int | None, fault: str
) -> None:
    path = tmp_path / "rows.json"
    path.write_text(text, encoding="utf-8")
    found, (problem,) = scan(path)
    assert len(found) == read
    assert problem.place == (f"{path}:{line}" if line else str(path))
    assert fault in problem.fault


@pytest.mark.parametrize(
    ("text", "read", "why", "cure"),
    [
        (f"[{ROW}", 1, "the file ends before it does", "fetch or save the file again, or write its end"),
        (f"[{ROW}, ", 1, "the file ends before it does", "fetch or save the file again, or write its end"),
        (f"[{ROW[:-4]}", 0, "the file ends before it does", "fetch or save the file again, or write its end"),
        (ROW.replace(",", ",\n") + "\n" + ROW[:-1], 1, "the file ends before it does", "fetch or save the file again"),
        (f"[{ROW} {ROW}]", 1, "a comma is missing", "mend the JSON from here on; the rows behind it were not read"),
        (f"[{ROW}, x]", 1, "Expecting value", "mend the JSON from here on; the rows behind it were not read"),
    ],
)
def test_json_that_breaks_says_what_to_do(tmp_path: Path, text: str, read: int, why: str, cure: str) -> None:
    path = tmp_path / "rows.json"
    path.write_text(text, encoding="utf-8")
    found, (problem,) = scan(path)
    assert len(found) == read
    assert problem.fault.endswith(f"breaks here: {why}")
    assert problem.cure.startswith(cure)


def test_rows_under_a_key_are_told_to_be_written_alone(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(f'{{"version": 1, "data": [{ROW}]}}')
    (problem,) = scan(path)[1]
    assert problem.cure == "write the list under data alone, as one array of rows"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.jsonl", b""), ("folder", None), ("a.jsonl", b"hello"), ("b.xlsx", b"PK\x03\x04"), ("c.json", b"[{"),
        ("d.jsonl.gz", b"\x1f\x8b\x08"), ("e.json", f"[{ROW}] {ROW}".encode()), ("f.csv", b"text;label\na;b\n"),
        ("g.jsonl", b'{"prompt":"q","chosen":"a","rejected":"b"}\n'),
    ],
)  # fmt: skip
def test_a_file_that_is_no_rows_is_not_called_a_bad_row(tmp_path: Path, name: str, content: bytes | None) -> None:
    path = tmp_path / name
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(InvalidData) as caught:
        read_rows(path)
    assert str(caught.value).splitlines()[0].startswith(f"{path} cannot be used; nothing was done")
    good = tmp_path / "good.jsonl"
    good.write_text(f"{ROW}\n{{")
    with pytest.raises(InvalidData, match=r"^1 bad row in ") as both:
        read_rows(path, good)
    assert len(both.value.problems) == 2


def test_an_array_that_is_no_utf_8_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_bytes(b'\n[\n"\xff"]')
    assert [(p.place, p.fault) for p in scan(path)[1]] == [(f"{path}:3", "is not UTF-8")]


def test_an_answer_that_is_context_is_written_as_one(jsonl: Callable[..., Path], tmp_path: Path) -> None:
    messages = turns(Q, A, Q, A)
    messages[1]["weight"] = 0
    (rows,) = read_rows(jsonl("in.jsonl", [{"messages": messages}]))
    write_rows(tmp_path / "out.jsonl", rows)
    assert json.loads((tmp_path / "out.jsonl").read_text(encoding="utf-8")) == {"messages": messages}


@pytest.mark.parametrize(("faults", "told"), [(1, 1), (20, 20), (21, 21), (201, 21)])
def test_a_file_tells_its_first_twenty_faults_and_says_how_many_more_there_are(
    jsonl: Callable[..., Path], faults: int, told: int
) -> None:
    good, bad = jsonl("good.jsonl", ["{"]), jsonl("t.jsonl", ["{"] * faults)
    with pytest.raises(InvalidData, match=f"{faults + 1} bad rows in") as caught:
        read_rows(bad, good)
    *first, last = caught.value.problems
    assert len(first) == told, "the other file tells its own"
    assert last.place == f"{good}:1"
    assert ("and 1 more" in str(caught.value)) is (faults == 21)
    assert ("and 181 more" in str(caught.value)) is (faults == 201)


def test_a_row_is_nested_too_deep_before_it_breaks_anything(tmp_path: Path) -> None:
    """What can just be read cannot always be written again."""
    path = tmp_path / "rows.json"
    deep = [f'{{"prompt": {"[" * depth}{"]" * depth}, "completion": "a"}}' for depth in range(900, 1000)]
    path.write_text("[" + ",\n".join(deep) + "]", encoding="utf-8")
    faults = [problem.fault for problem in scan(path)[1]]
    assert faults[:20] == [TOO_DEEP] * 20
    path.write_text("[" + deep[0] + ",\n" + "[" * 100_000, encoding="utf-8")
    assert [problem.fault for problem in scan(path)[1]] == [TOO_DEEP, f"the JSON array breaks here: {TOO_DEEP}"]
    path.write_text(f'{{"prompt": {"[" * 198}{"]" * 198}, "completion": "a"}}', encoding="utf-8")
    assert [problem.fault for problem in scan(path)[1]] == ["prompt[0] is a list, not an object"], "that much is read"


def test_arabic_is_written_as_it_is_read(jsonl: Callable[..., Path], tmp_path: Path) -> None:
    (rows,) = read_rows(jsonl("in.jsonl", [{"prompt": "سؤال", "completion": "جواب"}]))
    write_rows(tmp_path / "out.jsonl", rows)
    assert '"سؤال"' in (tmp_path / "out.jsonl").read_text(encoding="utf-8")


def test_a_reading_says_how_sure_it_is_of_each_form(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"instruction": "q", "output": "a"}\n' * 2)
    reading = Reading(path)
    assert len(list(reading)) == 2
    assert reading.summary == ["alpaca (instruction, output): 2 rows, certain"]
    path.write_text('{"text": "t", "label": "a"}\n')
    reading = Reading(path)
    list(reading)
    assert reading.summary == [f"{form}: 1 row, likely, by the words of its keys" for form in reading.forms] != []


@pytest.mark.parametrize("meta", [None, {"kept": 1}, {"score": 1}, "text"])
def test_a_key_that_is_put_into_meta_joins_what_is_there_and_takes_no_ones_place(tmp_path, meta):
    row = {"prompt": "q", "completion": "a", "score": 7, "dropped": 8, "empty": None}
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row if meta is None else {**row, "meta": meta}))
    reading = Reading(path, put={"score": "meta", "dropped": "", "empty": "meta"})
    rows = list(reading)
    if meta in (None, {"kept": 1}):
        assert [read.meta for read in rows] == [{**(meta or {}), "score": 7}]
        return
    assert rows == []
    assert reading.told.count == 1


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}, "certain"),
        ({"prompt": "q", "completion": "a"}, "certain"),
        ({"prompt": "q", "chosen": "a", "rejected": "b"}, "certain"),
        ({"text": "t"}, "likely, by the words of its keys"),
        ({"text": "t", "label": "a"}, "likely, by the words of its keys"),
    ],
)
def test_a_form_is_certain_where_its_keys_are_its_own(tmp_path, row, says):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row))
    reading = Reading(path)
    list(reading)
    assert [line.partition(": 1 row, ")[2] for line in reading.summary] == [says]
    assert reading.rows == 1


def test_values_of_a_file_are_counted_as_its_rows_are(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"any": 1}\n{"thing": 2}\n')
    reading = Reading(path)
    assert list(reading.values()) == [{"any": 1}, {"thing": 2}]
    assert (reading.rows, list(reading.told), reading.words) == (2, [], "JSON")


def test_bad_rows_of_all_files_are_counted_together(tmp_path):
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    first.write_text("{}\n{}\n")
    second.write_text("{}\n")
    with pytest.raises(InvalidData, match=r"^3 bad rows in "):
        read_rows(first, second)


def test_a_judgement_that_is_no_judgement_of_this_form_is_an_unknown_key_alone(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"prompt": "q", "chosen": "a", "rejected": "b", "label": "good"}))
    assert [problem.fault for problem in scan(path, (Preference,))[1]] == [
        "label is no key of the form preference (prompt, chosen, rejected) and would be left out"
    ]


def test_a_row_without_keys_says_so(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("{}")
    assert [problem.fault for problem in scan(path)[1]] == ["unknown form with the keys (none)"]


def test_a_key_that_is_put_in_place_of_the_text_counts_where_a_row_has_it(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"review": "t", "label": "a"}\n{"text": "u", "label": "b"}')
    reading = Reading(path, put={"review": "text"})
    assert [row.text for row in reading] == ["t", "u"]
    assert list(reading.told) == []
