"""`dabt data convert`: what it says, and that it writes all of a file or nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from lifecycle.errors import DabtError, InvalidData, InvalidInput
from training.data.commands.convert import convert

Q, A = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
PLAIN: dict[str, Any] = {"messages": [Q, A]}
LABELLED = {"text": "t", "label": "x"}
RICH = {
    "messages": [
        {**Q, "name": "sara"},
        {**A, "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c", "content": "ok"},
        {**A, "reasoning": "think"},
        Q,
        {**A, "weight": 0},
    ],
    "parallel_tool_calls": False,
}


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
