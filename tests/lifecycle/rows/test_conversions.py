"""Rows into other forms and files: what comes back is what went in, and what has no place there is an error."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from lifecycle.errors import DabtError, InvalidData, InvalidInput
from lifecycle.rows.conversions import TARGETS, converted, usual_form
from lifecycle.rows.faults import Unreadable
from lifecycle.rows.files import Reading
from lifecycle.rows.forms import read
from lifecycle.rows.writing import write
from training.convert_command import convert

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


def run(*args: object) -> str:
    app = typer.Typer()
    app.command()(convert)
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    if isinstance(result.exception, DabtError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_command_says_what_it_read_and_wrote(jsonl: Callable[..., Path], tmp_path: Path) -> None:
    path = jsonl("in.jsonl", [{"instruction": "q", "output": "a", "source": "s", "score": None}])
    out = tmp_path / "out.jsonl"
    said = run(path, out, "--meta", "source")
    assert said == f"read: alpaca (instruction, output): 1 row, certain\n1 row written to {out}\n"
    messages = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    assert json.loads(out.read_text()) == {"messages": messages, "meta": {"source": "s"}}
    run(path, out, "--ignore", "source", "--to", "pair")
    assert json.loads(out.read_text()) == {"user": "q", "assistant": "a"}


def test_a_bad_row_or_one_that_does_not_fit_leaves_what_was_there(jsonl: Callable[..., Path], tmp_path: Path) -> None:
    path = jsonl("in.jsonl", [PLAIN, "{", RICH, LABELLED])
    out = tmp_path / "out.jsonl"
    out.write_text("before")
    with pytest.raises(InvalidData) as caught:
        run(path, out, "--to", "pair")
    places = [problem.place for problem in caught.value.problems]
    assert places == [f"{path}:2", *[f"{path}:3"] * 5, f"{path}:4"]
    assert out.read_text() == "before"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]


def test_where_nothing_can_be_written_is_one_clear_error(jsonl: Callable[..., Path], tmp_path: Path) -> None:
    path = jsonl("in.jsonl", [PLAIN])
    (tmp_path / "folder.jsonl").mkdir()
    for out, says in (
        (tmp_path / "folder.jsonl", "it is a folder"),
        (tmp_path / "none" / "o.jsonl", "No such file"),
        (tmp_path / "o.xlsx", "its name ends in .xlsx"),
        (path, "is the file that is read"),
    ):
        with pytest.raises(InvalidInput) as caught:
            run(path, out)
        assert says in str(caught.value)
    with pytest.raises(InvalidInput, match="there is no form chatml"):
        run(path, tmp_path / "o.jsonl", "--to", "chatml")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["folder.jsonl", "in.jsonl"]


def test_a_full_disk_is_told_and_leaves_no_half_file(
    jsonl: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    path = jsonl("in.jsonl", [PLAIN])
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(InvalidInput, match="No space left on device"):
        run(path, tmp_path / "o.jsonl")
    assert [entry.name for entry in tmp_path.iterdir()] == ["in.jsonl"]
