"""Rows that end in their question: taken where a reader asks for them, and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lifecycle.rows.files import Reading, scan
from lifecycle.rows.kinds import Question

TURN = {"role": "user", "content": "q"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "rows.jsonl"


def write(file: Path, *rows: dict[str, Any]) -> Path:
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("row", "texts"),
    [
        ({"messages": [TURN]}, ["q"]),
        ({"messages": [{"role": "system", "content": "s"}, TURN], "id": 7, "meta": {"a": 1}}, ["s", "q"]),
        ({"messages": [TURN, {"role": "assistant", "content": "a"}, TURN]}, ["q", "a", "q"]),
        ({"prompt": "q"}, ["q"]),
        ({"prompt": [TURN]}, ["q"]),
        ({"prompt": "q", "completion": None, "system": "s"}, ["s", "q"]),
        ({"question": "q"}, ["q"]),
        ({"instruction": "q", "input": "more"}, ["q\n\nmore"]),
    ],
)
def test_a_question_is_read_where_it_is_asked_for(file: Path, row: dict[str, Any], texts: list[str]) -> None:
    reading = Reading(write(file, row), questions=True)
    (question,) = reading
    assert isinstance(question, Question)
    assert [message.content for message in question.messages] == texts
    assert (question.id, question.meta) == (str(row.get("id", "")), row.get("meta", {}))
    assert list(reading.told) == []
    _, problems = scan(file)
    assert problems, "training and evaluation take none"


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({"messages": []}, "no_turns"),
        ({"messages": [{"role": "system", "content": "s"}]}, "no_question"),
        ({"prompt": ""}, "empty"),
        ({"prompt": 3}, "not_text"),
        ({"messages": [TURN], "score": 1}, "unknown_key"),
        ({"prompt": "q", "score": 1}, "missing_key"),
    ],
)
def test_what_is_no_question_either_is_told(file: Path, row: dict[str, Any], code: str) -> None:
    reading = Reading(write(file, row), questions=True)
    assert list(reading) == []
    assert code in [problem.code for problem in reading.told]  # type: ignore[attr-defined]


def test_an_answered_row_is_what_it_was(file: Path) -> None:
    answered = {"messages": [TURN, {"role": "assistant", "content": "a"}]}
    (row,) = Reading(write(file, answered), questions=True)
    assert type(row).__name__ == "Conversation"


def test_the_text_of_a_row_in_no_form_stands_where_it_is_told_to(file: Path) -> None:
    write(file, {"body": "hello", "nr": 3})
    (row,) = Reading(file, put={"body": "text", "nr": "meta"})
    assert (row.text, row.meta) == ("hello", {"nr": 3})  # type: ignore[union-attr]
