"""One schema file: read from JSON or a model, judging answers, asked for in requests, and written in its own order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lifecycle.answer_schema import AnswerSchema
from lifecycle.errors import InvalidConfig

TRIAGE = {
    "type": "object",
    "properties": {
        "intent": {"enum": ["advice", "billing"]},
        "urgency": {"$ref": "#/$defs/Urgency"},
        "reply": {"type": "string", "minLength": 1},
    },
    "required": ["intent", "urgency", "reply"],
    "additionalProperties": False,
    "$defs": {"Urgency": {"enum": ["emergency", "routine"]}},
}
GOOD = {"intent": "advice", "urgency": "routine", "reply": "مرحبا"}
MODEL = """
from typing import Literal
from pydantic import BaseModel, field_validator

class Visit(BaseModel):
    day: str
    hour: int

class Answer(BaseModel):
    intent: Literal["advice", "billing"]
    visit: Visit | None = None
    tags: list[Visit] = []

    @field_validator("visit")
    @classmethod
    def _open(cls, visit):
        if visit and visit.hour < 8:
            raise ValueError("the clinic opens at 8")
        return visit

NOTHING = 3
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "triage.schema.json"
    path.write_text(json.dumps(TRIAGE, ensure_ascii=False), encoding="utf-8")
    return path


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "answers_of_a_test.py").write_text(MODEL, encoding="utf-8")
    monkeypatch.chdir(tmp_path)


def of(answer: Any) -> list[str]:
    return AnswerSchema.of(TRIAGE).faults(answer if isinstance(answer, str) else json.dumps(answer))


def test_a_file_is_read_from_the_folder_that_its_path_starts_at(file: Path) -> None:
    schema = AnswerSchema.load(file.name, file.parent)
    assert (schema.body, schema.name) == (TRIAGE, "triage")
    assert schema.digest == AnswerSchema.of(TRIAGE, "another name").digest


def test_an_answer_that_fits_has_no_faults() -> None:
    assert of(GOOD) == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("I think it is advice", ["the answer is not JSON"]),
        ('{"intent": "advice", "intent": "billing"}', ["twice"]),
        ("[]", ["$: [] is not of type 'object'"]),
        (GOOD | {"urgency": "soon"}, ["$.urgency: 'soon' is not one of ['emergency', 'routine']"]),
        (GOOD | {"mood": 1}, ["$: Additional properties are not allowed ('mood' was unexpected)"]),
        (
            {"intent": "x", "reply": ""},
            ["'urgency' is a required property", "$.intent: 'x' is not one of", "$.reply: ''"],
        ),
    ],
)
def test_every_fault_of_an_answer_is_told_with_its_place(answer: Any, words: list[str]) -> None:
    faults = of(answer)
    assert len(faults) == len(words)
    assert all(word in fault for word, fault in zip(words, faults, strict=True))


def test_a_long_value_is_not_quoted_whole() -> None:
    (fault,) = of(GOOD | {"urgency": "x" * 10_000})
    assert len(fault) < 400


def test_the_branch_that_was_nearest_is_told() -> None:
    schema = AnswerSchema.of(
        {"anyOf": [{"type": "object", "properties": {"n": {"type": "integer"}}}, {"type": "null"}]}
    )
    assert schema.faults('{"n": "three"}') == ["$.n: 'three' is not of type 'integer'"]


def test_formats_are_held_to() -> None:
    schema = AnswerSchema.of({"type": "string", "format": "date"})
    assert schema.faults('"2026-02-30"') != []
    assert schema.faults('"2026-02-28"') == []


def test_a_model_is_found_from_where_the_command_runs(models: None) -> None:
    schema = AnswerSchema.load("answers_of_a_test:Answer")
    assert (schema.name, schema.body["required"]) == ("Answer", ["intent"])


def test_a_models_own_validators_judge_answers_too(models: None) -> None:
    schema = AnswerSchema.load("answers_of_a_test:Answer")
    answer = {"intent": "advice", "visit": {"day": "Monday", "hour": 7}}
    assert schema.faults_of(answer) == ["$.visit: the clinic opens at 8"]
    assert schema.faults_of(answer | {"visit": {"day": "Monday", "hour": 8}}) == []


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("nowhere.json", "cannot be read"),
        ("broken.json", "is not JSON"),
        ("list.json", "it must be an object"),
        ("wrong.json", "it is no JSON Schema: $.type"),
        ("elsewhere.json", "leads to nothing inside the schema"),
        ("no_such_module:Answer", "cannot be imported: ModuleNotFoundError"),
        ("answers_of_a_test:Nobody", "has no pydantic model Nobody"),
        ("answers_of_a_test:NOTHING", "has no pydantic model NOTHING"),
    ],
)
def test_what_is_no_schema_is_refused_with_its_name_and_a_cure(
    models: None, tmp_path: Path, source: str, says: str
) -> None:
    for name, text in {
        "broken.json": "{",
        "list.json": "[]",
        "wrong.json": '{"type": "thing"}',
        "elsewhere.json": '{"$ref": "https://example.org/schema.json"}',
    }.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(InvalidConfig) as refused:
        AnswerSchema.load(source, tmp_path)
    (problem,) = refused.value.problems
    assert problem.place == source
    assert says in problem.fault
    assert "package.module:Model" in problem.cure


def test_keys_are_written_in_the_schemas_order_all_the_way_down(models: None) -> None:
    schema = AnswerSchema.load("answers_of_a_test:Answer")
    value = {"tags": [{"hour": 9, "day": "الأحد"}], "visit": {"hour": 9, "day": "Monday"}, "intent": "billing"}
    assert schema.written(value) == (
        '{"intent": "billing", "visit": {"day": "Monday", "hour": 9}, "tags": [{"day": "الأحد", "hour": 9}]}'
    )


def test_a_key_beyond_the_schema_is_kept_behind_the_others() -> None:
    schema = AnswerSchema.of({"type": "object", "properties": {"b": {}, "a": {}}})
    assert schema.written({"z": 1, "a": 2, "b": 3}) == '{"b": 3, "a": 2, "z": 1}'


def test_a_request_asks_for_the_schema_as_it_is_and_strictly_where_openai_can() -> None:
    strict = AnswerSchema.of(TRIAGE, "triage").response_format
    assert strict == {"type": "json_schema", "json_schema": {"name": "triage", "schema": TRIAGE, "strict": True}}
    for change in ({"additionalProperties": True}, {"required": ["intent"]}):
        assert AnswerSchema.of(TRIAGE | change).response_format["json_schema"]["strict"] is False


@pytest.mark.parametrize(("name", "called"), [("Visit.v2 (new)", "Visit_v2_new_"), ("فرز", "_"), ("", "answer")])
def test_its_name_is_one_that_requests_may_have(name: str, called: str) -> None:
    assert AnswerSchema.of(TRIAGE, name).name == called


def test_what_a_service_would_not_hold_answers_to_is_known_before_it_is_asked() -> None:
    assert AnswerSchema.of(TRIAGE).unservable == []
    (problem,) = AnswerSchema.of({"type": "array", "uniqueItems": True}).unservable
    assert "uniqueItems" in problem.place
