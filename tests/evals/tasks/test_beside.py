"""Scorers that an evaluation adds to its task's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from evals.asking.endpoint import Endpoint
from evals.config import EvalConfig
from evals.run import evaluate
from evals.tasks.loading import load_suite
from lifecycle.errors import InvalidConfig, InvalidData
from tests.evals.conftest import N_ITEMS

QUICK = Endpoint(url="http://models.test/v1", retries=0, patience=0.0)
LABELS = {"type": "label", "field": "urgency"}


def with_scorers(config: EvalConfig, *entries: object, **more: object) -> EvalConfig:
    return config.model_copy(update={"scorers": entries, **more})


def test_they_say_more_of_the_same_answers_and_the_tasks_own_figure_decides(config, registry, home, models) -> None:
    plain = evaluate(config, registry, home, transport=models.transport, endpoint=QUICK).report
    asked = sum(models.asked.values())
    models.asked.clear()
    added = with_scorers(config, LABELS, "chrf")
    report = evaluate(added, registry, home, transport=models.transport, endpoint=QUICK).report
    assert sum(models.asked.values()) == asked
    assert (report.metric, report.safety_metric) == (plain.metric, plain.safety_metric)
    for before, arm in zip(plain.arms, report.arms, strict=True):
        new = {"urgency_accuracy", "urgency_labelled", "urgency_macro_f1", "chrf"}
        assert arm.metrics.keys() == before.metrics.keys() | new
        assert {name: arm.metrics[name] for name in before.metrics} == before.metrics
    adapter = report.result("adapter")
    assert adapter.metrics["urgency_macro_f1"].value == adapter.metrics["chrf"].value == 1.0
    assert adapter.tables["confusion: urgency"] == {"emergency": {"emergency": 10}, "routine": {"routine": 30}}
    assert report.result("base").tables["confusion: urgency"] == {"emergency": {"": 10}, "routine": {"": 30}}


def test_they_are_part_of_what_is_measured_and_a_look_at_a_part_has_the_same_digest(config, home) -> None:
    plain, added = (load_suite(plan, home.cache) for plan in (config, with_scorers(config, LABELS)))
    assert plain.digest != added.digest
    assert plain.scoring != added.scoring
    assert (plain.data_digest, plain.metric) == (added.data_digest, added.metric)
    few = load_suite(with_scorers(config, LABELS, limit=3), home.cache)
    assert (len(few.samples), few.digest, few.scoring) == (3, added.digest, added.scoring)
    assert len(added.samples) == N_ITEMS


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        (["chrf", "poetry", {"type": "label", "colour": 1}], ["scorers.1", "scorers.2.colour"]),
        (["chrf", "chrf"], ["scorers"]),
        ([{"type": "json", "fields": ["intent"]}], ["scorers"] * 3),
    ],
    ids=["unknown", "twice", "what the task has"],
)
def test_what_is_no_scorer_and_what_is_there_already_is_told_together(config, home, entries, told) -> None:
    with pytest.raises(InvalidConfig) as error:
        load_suite(with_scorers(config, *entries), home.cache)
    assert [problem.place for problem in error.value.problems] == told


def test_a_sample_that_they_cannot_score_is_told_before_anything_is_asked(config, home) -> None:
    with pytest.raises(InvalidData) as error:
        load_suite(with_scorers(config, "citations"), home.cache)
    assert error.value.problems[0].place == "toy-00 metadata.passages"


def test_a_file_names_them_with_the_schema_beside_it(workplace: Path, trained: str) -> None:
    (workplace / "answer.json").write_text('{"type": "object", "required": ["intent"]}')
    file = workplace / "toy.yaml"
    file.write_text(file.read_text() + "scorers: [chrf, {type: json, schema: answer.json}]\n")
    config = EvalConfig.load(file)
    assert config.scorers == ("chrf", {"type": "json", "schema": str(workplace / "answer.json")})
    assert not config.of_suite("safety/refusal").scorers, "a suite of harm has its own"
