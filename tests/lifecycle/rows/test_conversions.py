"""Rows into other forms and files: what comes back is what went in, and what has no place there is an error."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from lifecycle.rows.conversions import TARGETS, converted, usual_form
from lifecycle.rows.faults import Unreadable
from lifecycle.rows.files import Reading
from lifecycle.rows.forms import read
from lifecycle.rows.writing import write

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
LABELLED, TEXT = {"text": "نص", "label": "007", "meta": {"a": "b"}}, {"text": "plain"}

HELD = [
    *((value, target) for value in (PLAIN, LONG) for target in ("messages", "prompt", "alpaca", "sharegpt")),
    (PLAIN, "pair"),
    (RICH, "messages"),
    (RICH, "prompt"),
    *((value, target) for value in (PREFERENCE, LONG_PREFERENCE) for target in ("preference", "preference-openai")),
    (LABELLED, "classification"),
    (TEXT, "text"),
]


def same(value: Any, place: str = "f:1") -> Any:
    return dataclasses.replace(read(value, place)[1], place="")  # type: ignore[type-var]


@pytest.mark.parametrize(("value", "target"), HELD)
def test_what_a_form_holds_comes_back_as_it_was(value: dict[str, Any], target: str) -> None:
    assert same(converted(read(value, "f:1")[1], target)) == same(value)


@pytest.mark.parametrize("value", [PLAIN, LONG, RICH, PREFERENCE, LONG_PREFERENCE, LABELLED, TEXT])
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
    for target in TARGETS.keys() - {"messages"}:
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
    again = [dataclasses.replace(row, place="") for row in reading]  # type: ignore[type-var]
    assert list(reading.told) == []
    assert again == [same(value) for value in values]
    assert [path.name for path in tmp_path.iterdir()] == [name], "nothing is left beside it"
