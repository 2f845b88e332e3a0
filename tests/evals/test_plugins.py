"""Scorers, solvers and suites of another package, found by the metadata that an installed package has."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from evals.asking.endpoint import Endpoint
from evals.config import EvalConfig
from evals.run import evaluate
from evals.scorers.table import SCORERS
from evals.scorers.texts import Exact
from evals.solvers.table import SOLVERS
from evals.tasks.building import described
from evals.tasks.loading import load_suite
from evals.tasks.task_file import TaskFile
from lifecycle.errors import InvalidConfig

PLUGIN = Path(__file__).parent / "plugin"
QUICK = Endpoint(url="http://models.test/v1", retries=0, patience=0.0)
ARMS = "arms:\n  base: {}\n  adapter: {version: toy:newest}\n"


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PLUGIN))


def evaluation(workplace: Path, base_model: Path, **keys: str) -> EvalConfig:
    lines = [f"{key}: {value}" for key, value in {"name": "toy", "policy": "policy.yaml", **keys}.items()]
    (workplace / "own.yaml").write_text("\n".join([*lines, f"base: {base_model}", ARMS]))
    return EvalConfig.load(workplace / "own.yaml")


def test_a_package_of_somebody_else_is_named_as_ours_are() -> None:
    assert {"politeness", "exact", "rubric"} <= set(SCORERS.names())
    assert {"chat", "turns", "tools", "twice"} <= set(SOLVERS.names())
    scorer, problems = SCORERS.read({"type": "politeness", "word": "kindly"}, "scorers.0")
    assert problems == []
    assert (scorer.type, scorer.word) == ("politeness", "kindly")  # type: ignore[union-attr]


def test_no_package_changes_what_a_name_of_ours_means() -> None:
    assert SCORERS.named("exact", "scorers.0") is Exact


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ("politness", "'politness' is no scorer"),
        ("broken", "is no subclass of evals.scorers.scorer.Scorer"),
        ("gone", "cannot be imported: No module named 'our_parts_gone'"),
        ({"word": "x"}, "neither a scorer's name nor a mapping"),
        ({"type": "politeness", "wrod": "x"}, "is no key here"),
        (7, "neither a scorer's name nor a mapping"),
    ],
)
def test_what_is_no_scorer_says_where_and_what_there_is(raw: Any, said: str) -> None:
    scorer, (problem,) = SCORERS.read(raw, "scorers.0")
    assert scorer is None
    assert problem.place.startswith("scorers.0")
    assert said in str(problem)


def test_a_suite_of_another_package_is_a_task_and_its_solver_asks(
    workplace, base_model, trained, registry, home, models
) -> None:
    said = {"base": lambda _: "no", "adapter": lambda q: "yes, please" if q == "Sure?" else "hm"}
    models.speaks |= said
    config = evaluation(workplace, base_model, task="manners")
    report = evaluate(config, registry, home, transport=models.transport, endpoint=QUICK).report
    assert (report.task, report.metric, report.n_items) == ("manners", "polite", 3)
    assert [arm.metrics["polite"].value for arm in report.arms] == [0.0, 1.0]
    assert report.arms[1].metrics["words"].value == 2.0
    sure = [body for body in models.bodies if body["messages"][-1]["content"] == "Sure?"]
    assert {body["messages"][-2]["content"] for body in sure} == {"no", "hm"}
    asked = sum(models.asked.values())
    evaluate(config, registry, home, transport=models.transport, endpoint=QUICK)
    assert sum(models.asked.values()) == asked, "what another package's solver asked is kept as well"


def test_a_scorer_and_a_solver_of_another_package_stand_in_a_task_file(workplace: Path) -> None:
    (workplace / "test.jsonl").write_text('{"prompt": "q", "completion": "a"}\n')
    path = workplace / "short.yaml"
    path.write_text("data: test.jsonl\nsolver: twice\nscorers: [politeness, exact]\n")
    _, solver, scorers = TaskFile.load(path)
    assert (solver.type, [scorer.type for scorer in scorers]) == ("twice", ["politeness", "exact"])


def test_a_scorer_that_fails_leaves_its_figures_unscored_and_nothing_is_decided(
    workplace, base_model, trained, registry, home, models
) -> None:
    models.speaks |= {"base": lambda _: "no", "adapter": lambda q: "boom" if q == "Sure?" else "hm"}
    config = evaluation(workplace, base_model, task="manners", metric="polite")
    data = workplace / "rows.jsonl"
    rows = [f'{{"prompt": "q {n}", "completion": "please"}}' for n in range(30)]
    data.write_text("\n".join(rows))
    (workplace / "short.yaml").write_text("data: rows.jsonl\nscorers: [politeness, exact]\nmetric: polite\n")
    models.speaks |= {"base": lambda _: "no", "adapter": lambda q: "boom" if q == "q 3" else "please"}
    config = evaluation(workplace, base_model, task="short.yaml")
    made = evaluate(config, registry, home, transport=models.transport, endpoint=QUICK)
    arm = made.report.arms[1]
    reason = "politeness failed: RuntimeError: out of politeness"
    assert arm.unscored == {"polite": {reason: 1}, "words": {reason: 1}}
    assert (arm.metrics["polite"].n, arm.metrics["polite"].value, arm.metrics["exact"].n) == (29, 1.0, 30)
    (verdict,) = made.verdicts
    (check,) = [check for check in verdict.checks if check.rule == "unscored"]
    assert (check.ruling, verdict.ruling) == ("undecided", "undecided")
    assert "1 of 30 answers have no polite" in check.detail


def test_the_release_and_the_source_of_a_foreign_part_are_in_the_digest_of_an_evaluation(
    workplace: Path, base_model: Path, trained: str, home: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workplace / "rows.jsonl").write_text('{"prompt": "q", "completion": "please"}\n')

    def digests(scorers: str) -> tuple[str, str]:
        (workplace / "short.yaml").write_text(f"data: rows.jsonl\nscorers: {scorers}\n")
        suite = load_suite(evaluation(workplace, base_model, task="short.yaml"), home.cache)
        assert suite.scoring is not None
        return suite.digest, suite.scoring

    foreign, own = digests("[politeness]"), digests("[exact]")
    *_, code = described(SCORERS.named("politeness", "")())
    assert code["packages"] == ["our-parts 1.0"]
    assert described(Exact()) == ["exact", "evals.scorers.texts:Exact", Exact().described()]
    assert digests("[politeness]") == foreign

    edited = tmp_path / "our_parts.py"
    edited.write_text((PLUGIN / "our_parts.py").read_text().replace("float(self.word in", "1 - float(self.word in"))
    monkeypatch.setattr(sys.modules["our_parts"], "__file__", str(edited))
    changed = digests("[politeness]")
    assert not {*changed} & {*foreign}
    assert digests("[exact]") == own

    monkeypatch.setattr("lifecycle.plugins.release", lambda _: "our-parts 1.1")
    assert not {*digests("[politeness]")} & {*changed}


def test_a_suite_brings_its_own_samples(workplace: Path, base_model: Path, trained: str, home: Any) -> None:
    (workplace / "rows.jsonl").write_text('{"prompt": "q", "completion": "a"}\n')
    with pytest.raises(InvalidConfig, match="brings its samples"):
        load_suite(evaluation(workplace, base_model, task="manners", metric="polite", data="rows.jsonl"), home.cache)
