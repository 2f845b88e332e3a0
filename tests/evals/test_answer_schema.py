"""The answer schema of an evaluation: a figure, the form that requests ask for, and a part of what is measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from evals.asking.endpoint import Endpoint
from evals.config import EvalConfig
from evals.run import evaluate
from evals.tasks.lmeval import task as lmeval_task
from lifecycle.answer_schema import AnswerSchema
from lifecycle.errors import InvalidConfig, InvalidData

QUICK = Endpoint(url="http://models.test/v1", retries=0, pause=0.0, patience=0.0)
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"intent": {"enum": ["symptom", "billing"]}, "urgency": {"enum": ["routine", "emergency"]}},
    "required": ["intent", "urgency"],
    "additionalProperties": False,
}


@pytest.fixture
def with_schema(workplace: Path, trained: str):
    """The evaluation with `answer_schema`, and other keys."""

    def load(schema: dict[str, Any] = SCHEMA, **keys: Any) -> EvalConfig:
        (workplace / "answer.json").write_text(json.dumps(schema))
        path = workplace / "with-schema.yaml"
        more = "".join(f"{key}: {json.dumps(value)}\n" for key, value in keys.items())
        path.write_text(f"{(workplace / 'toy.yaml').read_text()}answer_schema: answer.json\n{more}")
        return EvalConfig.load(path)

    return load


def run(config: EvalConfig, registry, home, models):
    return evaluate(config, registry, home, transport=models.transport, endpoint=QUICK)


def test_items_get_a_figure_of_whether_the_answer_fits(with_schema, registry, home, models) -> None:
    report = run(with_schema(), registry, home, models).report
    figures = {arm.arm: arm.metrics["fits_schema"].value for arm in report.arms}
    assert figures == {"base": 0.0, "few-shot": 0.5, "rag": 0.7, "adapter": 1.0}
    assert all("response_format" not in body for body in models.bodies), "nobody asked for that"


def test_it_may_decide(with_schema, registry, home, models) -> None:
    config = with_schema().model_copy(update={"metric": "fits_schema"})
    assert run(config, registry, home, models).report.metric == "fits_schema"


def test_requests_ask_for_it_where_the_evaluation_says_so(with_schema, registry, home, models) -> None:
    run(with_schema(structured=True), registry, home, models)
    asked = AnswerSchema.of(SCHEMA, "answer").response_format
    assert models.bodies
    assert all(body["response_format"] == asked for body in models.bodies)


def test_answers_that_were_held_to_a_schema_are_no_answers_without_it(with_schema, registry, home, models) -> None:
    run(with_schema(), registry, home, models)
    before = len(models.bodies)
    run(with_schema(structured=True), registry, home, models)
    assert len(models.bodies) == 2 * before
    run(with_schema(structured=True), registry, home, models)
    assert len(models.bodies) == 2 * before


def test_what_answers_must_be_is_a_part_of_the_task(with_schema, config, home) -> None:
    other = {**SCHEMA, "title": "another"}
    configs = [config, with_schema(), with_schema(structured=True), with_schema(other)]
    digests = []
    for given in configs:
        if given.answer_schema:
            Path(given.answer_schema).write_text(json.dumps(other if given is configs[-1] else SCHEMA))
        digests.append(lmeval_task.load(given, home.cache).digest)
    assert len(set(digests)) == 4


def test_every_target_must_fit(with_schema, home) -> None:
    narrow = {**SCHEMA, "properties": {**SCHEMA["properties"], "intent": {"enum": ["symptom"]}}}
    with pytest.raises(InvalidData) as refused:
        lmeval_task.load(with_schema(narrow), home.cache)
    assert len(refused.value.problems) == 20, "every second item is billing"
    assert refused.value.problems[0].place == "toy:toy-01 target"
    assert "does not fit answer: $.intent" in refused.value.problems[0].fault


@pytest.mark.parametrize(
    ("schema", "keys", "says"),
    [
        ({"type": "thing"}, {}, "it is no JSON Schema"),
        ({"type": "array", "uniqueItems": True}, {"structured": True}, "no service holds answers to this schema"),
    ],
)
def test_a_schema_that_cannot_be_used_is_told_before_anything_is_asked(
    with_schema, schema: dict[str, Any], keys: dict[str, Any], says: str
) -> None:
    with pytest.raises(InvalidConfig) as refused:
        with_schema(schema, **keys)
    assert says in str(refused.value)


def test_structured_needs_a_schema(config) -> None:
    with pytest.raises(ValidationError, match="structured needs an answer_schema"):
        EvalConfig.model_validate({**config.model_dump(), "structured": True})
