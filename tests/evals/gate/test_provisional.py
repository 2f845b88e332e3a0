"""A look is not a verdict: a part of the items, other items, a dry run or a silent endpoint move nobody's standing."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from evals.asking.endpoint import Endpoint
from evals.config import EvalConfig
from evals.report.evaluation import Evaluation
from evals.report.html import render_html
from evals.report.table import print_evaluation
from evals.run import evaluate
from lifecycle.errors import NotAllowed
from lifecycle.home import Home
from lifecycle.registry import Registry
from lifecycle.states import State

QUICK = Endpoint(url="http://models.test/v1", retries=2, patience=0.0)
LOOKS = {
    "a part of the items": {"limit": 39},
    "a dry run": {"provisional": ("a dry run",)},
    "other items": {"data": "fresh"},
    "an endpoint that does not say its deployment": {},
}


def run(config: EvalConfig, registry: Registry, home: Home, models) -> Evaluation:
    return evaluate(config, registry, home, transport=models.transport, endpoint=QUICK)


def shown(evaluation: Evaluation) -> str:
    console = Console(record=True, width=2_000)
    print_evaluation(evaluation, console)
    return console.export_text()


@pytest.fixture(params=LOOKS)
def look(request, workplace: Path, trained: str, models) -> EvalConfig:
    """An evaluation of each kind that is only a look."""
    given = dict(LOOKS[request.param])
    if "data" in given:
        given["data"] = str(workplace / "fresh.jsonl")
        lines = (workplace / "tasks" / "test.jsonl").read_text(encoding="utf-8").splitlines()
        Path(given["data"]).write_text("\n".join(lines[:30]), encoding="utf-8")
    if not given:
        models.deployment = None
    return EvalConfig.load(workplace / "toy.yaml", **given)


def test_a_look_is_kept_is_called_so_and_moves_no_state(look, gated, registry, home, models) -> None:
    evaluation = run(look, registry, home, models)
    assert len(evaluation.report.provisional) == (1 if models.deployment else 2)
    assert registry.report(evaluation.report.digest) == evaluation.report
    assert [one.provisional for one in registry.verdicts("toy:1")] == [evaluation.report.provisional]
    assert {version.state for version in registry.versions("toy")} == {State.DRAFT}
    assert evaluation.report.tries.looks == 1
    text = shown(evaluation)
    assert "provisional: " in text
    assert f"opens nothing: this run is provisional ({'; '.join(evaluation.report.provisional)})" in text
    with pytest.raises(NotAllowed, match=r"only looks|that do not count here"):
        registry.promote("toy:1", actor="test", reason="it looked good")


def test_a_bad_look_at_what_serves_neither_unseats_it_nor_bars_the_way_back(
    look, config, gated, registry, home, models
) -> None:
    told, models.deployment = models.deployment, type(models).deployment
    run(config, registry, home, models)
    registry.promote("toy:1", actor="test", reason="passed")
    models.deployment = told
    models.speaks["adapter"] = models.speaks["base"]
    (home.cache / "answers").rename(home.root / "kept")
    evaluation = run(look, registry, home, models)
    assert not any(verdict.passed for verdict in evaluation.verdicts)
    assert evaluation.alerts == ()
    assert registry.version("toy:1").state is State.APPROVED
    registry.promote("toy:3", actor="test", reason="try", force=True)
    registry.rollback("toy", actor="test", reason="back")
    assert registry.version("toy").ref == "toy:1"
    registry.promote("toy:1", actor="test", reason="its verdict stands")


def test_a_sample_as_large_as_the_whole_is_the_whole(config, gated, registry, home, models) -> None:
    assert run(config.model_copy(update={"limit": 40}), registry, home, models).report.provisional == ()
    assert registry.version("toy:1").state is State.APPROVED


def test_a_whole_run_is_a_verdict_and_says_what_it_opens(config, gated, registry, home, models) -> None:
    models.speaks["few-shot"] = models.speaks["base"]
    evaluation = run(config, registry, home, models)
    report = evaluation.report
    assert (report.provisional, report.suite, report.deployment) == ((), gated.suites[0], models.deployment)
    assert {(one.suite_digest, one.deployment) for one in evaluation.verdicts} == {
        (gated.suites[0].digest, models.deployment.digest)
    }
    assert evaluation.opens == {
        "few-shot": "opens nothing: it did not pass",
        "rag": "opens nothing: it is undecided",
        "adapter": "opens toy:prod",
    }
    text = shown(evaluation)
    assert "adapter (toy:1) opens toy:prod" in text
    assert "provisional" not in text
    assert "opens toy:prod" in (evaluation.folder / "report.md").read_text("utf-8")
    assert "opens toy:prod" in render_html(evaluation)
    registry.promote("toy:1", actor="test", reason="passed")


def test_without_a_gate_a_run_says_that_nothing_is_opened_and_how_to_set_one(config, registry, home, models) -> None:
    evaluation = run(config, registry, home, models)
    assert "toy has no gate; an admin sets one with `dabt gate set toy" in evaluation.opens["adapter"]
    assert {version.state for version in registry.versions("toy")} == {State.EVALUATED}


def test_another_policy_or_task_opens_nothing(config, workplace, gated, registry, home, models) -> None:
    (workplace / "lax.yaml").write_text("name: lax\nrules: [{rule: items, at_least: 1}]")
    lax = run(EvalConfig.load(workplace / "toy.yaml", policy="lax.yaml"), registry, home, models)
    easy = run(EvalConfig.load(workplace / "toy.yaml", metric="valid_json"), registry, home, models)
    assert "asks for its policy toy policy, and this is another" in lax.opens["adapter"]
    assert easy.opens["adapter"].endswith("they differ in the deciding figure")
    assert {version.state for version in registry.versions("toy")} == {State.EVALUATED}
    with pytest.raises(NotAllowed, match="no verdict in suite toy under policy toy policy"):
        registry.promote("toy:3", actor="test", reason="it passed something")


def test_what_serves_and_fails_a_whole_run_is_doubted_with_an_alert_and_serves_on(
    config, gated, registry, home, models
) -> None:
    run(config, registry, home, models)
    registry.promote("toy:1", actor="test", reason="passed")
    models.speaks["adapter"] = models.speaks["base"]
    (home.cache / "answers").rename(home.root / "kept")
    evaluation = run(config, registry, home, models)
    assert registry.version("toy").state is State.DOUBTED
    (alert,) = evaluation.alerts
    assert alert.startswith("toy:1 serves toy:prod and is doubted: safety: escalation_recall 0.000")
    assert f"ALERT: {alert}" in shown(evaluation)


def test_tries_are_counted_over_runs_and_shown(config, gated, workplace, registry, home, models) -> None:
    look = config.model_copy(update={"limit": 10})
    reports = [run(one, registry, home, models).report for one in (look, config, config, look)]
    assert [(one.tries.number, one.tries.looks) for one in reports] == [(1, 1), (1, 1), (1, 1), (1, 1)]
    (workplace / "system.txt").write_text("Answer in JSON, briefly.")
    changed = run(config, registry, home, models)
    assert (changed.report.tries.number, changed.report.tries.looks) == (2, 1)
    assert "try 2 on these items, 1 look so far" in shown(changed)
    assert "try 2 on these items" in (changed.folder / "report.md").read_text("utf-8")
