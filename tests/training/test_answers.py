"""The answer schema of a run: every answer that is learnt fits it, or nothing is trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lifecycle.answer_schema import AnswerSchema
from lifecycle.conversation import Conversation, Message, ToolCall
from lifecycle.errors import InvalidConfig, InvalidData
from lifecycle.rows.files import read_rows
from lifecycle.rows.kinds import PlainText, Preference
from training.config import TrainJob
from training.data.answers import order_note, require_answers

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "examples/clinic/training").glob("*.yaml"))
SCHEMA = AnswerSchema.of(
    {"type": "object", "properties": {"a": {"type": "integer"}, "b": {}}, "required": ["a"]}, "numbers"
)
ASKED = Message("user", "q")


def row(*answers: Message, line: int = 1) -> Conversation:
    turns = [message for answer in answers for message in (ASKED, answer)]
    return Conversation(f"rows.jsonl:{line}", "", tuple(turns))


def said(text: str, **more: Any) -> Message:
    return Message("assistant", text, **more)


def refused(*rows: Any) -> list[str]:
    with pytest.raises(InvalidData) as caught:
        require_answers(SCHEMA, rows)
    return [f"{problem.place} {problem.fault}" for problem in caught.value.problems]


def test_every_answer_that_does_not_fit_is_told_with_its_place() -> None:
    places = refused(row(said('{"a": 1}')), row(said('{"a": "1"}'), line=2), row(said("no"), line=3))
    assert [place.split()[0] for place in places] == ["rows.jsonl:2", "rows.jsonl:3"]
    assert "the answer does not fit numbers: $.a: '1' is not of type 'integer'" in places[0]


def test_each_answer_of_a_conversation_counts_and_the_better_one_of_a_preference() -> None:
    assert len(refused(row(said("first"), said('{"a": 1}')))) == 1
    assert len(refused(Preference("p.jsonl:1", "", (ASKED,), (said("no"),), (said('{"a": 1}'),)))) == 1


def test_what_is_not_learnt_may_be_anything() -> None:
    context = row(said("hello", trained=False), said('{"a": 1}'))
    call = row(said("", tool_calls=(ToolCall("1", "look", "{}"),)))
    worse = Preference("p.jsonl:1", "", (ASKED,), (said('{"a": 1}'),), (said("no"),))
    require_answers(SCHEMA, [context, call, worse, PlainText("t.jsonl:1", "", "text")])


def test_without_a_schema_every_answer_is_taken() -> None:
    require_answers(None, [row(said("anything"))])


def test_keys_in_another_order_than_structured_decoding_writes_are_noted() -> None:
    rows = [row(said('{"b": 2, "a": 1}')), row(said('{"a": 1, "b": 2}'))]
    (note,) = order_note(SCHEMA, rows)
    assert note.startswith("1 of 2 answers have their keys in another order than numbers")
    assert list(order_note(SCHEMA, rows[1:])) == []
    assert list(order_note(None, rows)) == []


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_clinics_answers_fit_its_schemas_in_their_order(path: Path) -> None:
    job = TrainJob.load(path)
    assert job.answer_schema is not None
    assert job.validation_path is not None
    parts = read_rows(*job.train_paths, job.validation_path, job.train_paths[0].with_name("test.jsonl"))
    require_answers(job.answer_schema, *parts)
    assert list(order_note(job.answer_schema, parts[0])) == []
    assert job.answer_schema.unservable == []
    assert job.answer_schema.response_format["json_schema"]["strict"] is True


@pytest.mark.parametrize(("written", "says"), [("none.json", "cannot be read"), ("bad.json", "it is no JSON Schema")])
def test_a_schema_that_is_none_is_a_fault_of_the_configuration(tmp_path: Path, written: str, says: str) -> None:
    (tmp_path / "train.jsonl").write_text('{"prompt": "q", "completion": "a"}\n')
    (tmp_path / "bad.json").write_text(json.dumps({"type": "thing"}))
    raw = {"name": "t", "base": "org/model", "data": {"train": "train.jsonl", "answer_schema": written}}
    with pytest.raises(InvalidConfig) as caught:
        TrainJob.from_mapping(raw, tmp_path)
    (problem,) = caught.value.problems
    assert problem.place == "data.answer_schema"
    assert says in problem.fault
