"""An arm that is named by an alias is what the alias serves when the run begins, and the report says which that was."""

from __future__ import annotations

from pathlib import Path

import pytest

from evals.alias_arms import served_arms
from evals.arms import resolve_arms
from evals.asking.endpoint import Endpoint
from evals.config import EvalConfig
from evals.report.markdown import render_markdown
from evals.run import evaluate
from lifecycle.aliases import Target
from lifecycle.errors import InvalidConfig
from lifecycle.registry import Registry
from lifecycle.verdict import Ruling
from lifecycle.version import Prompt, Shot, Version

QUICK = Endpoint(url="http://models.test/v1", retries=0, patience=0.0)
POLICY = "name: p\nalpha: 0.05\nrules:\n  - {rule: not_worse, arms: [prod], margin: 0.1}\n"


@pytest.fixture
def plan(workplace: Path, base_model: Path):
    """An evaluation of rows with these arms; the policy asks for no loss against prod."""
    (workplace / "policy.yaml").write_text(POLICY)

    def load(arms: str, baseline: str = "base") -> EvalConfig:
        text = f"name: toy\ndata: tasks/test.jsonl\nbase: {base_model}\npolicy: policy.yaml\nbaseline: {baseline}\n"
        (workplace / "rows.yaml").write_text(f"{text}noise_items: 0\narms:\n{arms}")
        return EvalConfig.load(workplace / "rows.yaml")

    return load


@pytest.fixture
def older(registry: Registry, trained: str) -> Version:
    """A version of shots over the same base."""
    spec = registry.version(trained).spec.model_copy(
        update={"adapter": None, "prompt": Prompt(shots=(Shot(user="u", assistant="a"),))}
    )
    return registry.create_version("toy", spec, actor="test")


def served(registry: Registry, *refs: str) -> None:
    numbers = [int(ref.split(":")[1]) for ref in refs]
    targets = [Target(number=number, weight=weight) for number, weight in zip(numbers, (0.9, 0.1), strict=False)]
    registry.set_alias("toy", "prod", targets, actor="test", reason="for the test", force=True)


ARMS = "  base: {}\n  prod: {}\n  new: {version: toy:newest}\n"


def test_a_candidate_is_compared_with_what_prod_serves_which_is_not_judged(
    plan, older, trained, registry, home, models
) -> None:
    served(registry, older.ref)
    made = evaluate(plan(ARMS), registry, home, transport=models.transport, endpoint=QUICK)
    report = made.report
    assert [(arm.arm, arm.ref) for arm in report.arms] == [("base", "toy:3"), ("prod", older.ref), ("new", trained)]
    assert report.prod == "prod"
    now = report.served["prod"]
    assert (now.alias, now.ref, now.version_digest, now.shares) == ("toy:prod", older.ref, older.digest, "")
    assert [verdict.ref for verdict in made.verdicts] == [trained]
    (check, *_) = made.verdicts[0].checks
    assert (check.rule, check.ruling) == ("does not lose to prod", Ruling.PASSED)
    assert f"toy:prod is {older.ref}." in render_markdown(made)
    assert made.baseline.arm == "base"
    assert registry.report(report.digest) == report


def test_of_a_split_alias_the_arm_is_the_incumbent_and_the_shares_are_told(plan, older, trained, registry) -> None:
    served(registry, older.ref)
    served(registry, older.ref, trained)
    config = plan("  base: {}\n  prod: {}\n  rag: {prompt: {system: system.txt}}\n")
    now = served_arms(config, registry)
    assert str(now["prod"]) == f"toy:prod is {older.ref}, of {trained} (10%), {older.ref} (90%)"
    assert [arm.version.ref for arm in resolve_arms(config, registry, actor="test", served=now)][1] == older.ref


def test_the_alias_may_move_while_the_run_lasts(plan, older, trained, registry) -> None:
    served(registry, older.ref)
    config = plan(ARMS)
    now = served_arms(config, registry)
    served(registry, trained)
    arms = resolve_arms(config, registry, actor="test", served=now)
    assert [arm.version.ref for arm in arms][1:] == [older.ref, trained]


def test_an_alias_that_serves_nothing_is_an_error_and_a_first_deploy_is_said(
    plan, trained, registry, home, models
) -> None:
    config = plan(ARMS)
    with pytest.raises(InvalidConfig) as error:
        evaluate(config, registry, home, transport=models.transport, endpoint=QUICK)
    assert error.value.problems[0].place == "arms.prod"
    assert "toy:prod serves nothing yet" in error.value.problems[0].fault
    assert not models.asked
    made = evaluate(config, registry, home, transport=models.transport, endpoint=QUICK, first_deploy=True)
    assert [arm.arm for arm in made.report.arms] == ["base", "new"]
    assert str(made.report.served["prod"]).startswith("toy:prod serves nothing yet: a first deploy")
    assert made.verdicts[0].ruling is Ruling.PASSED


def test_a_first_deploy_has_no_baseline_in_prod(plan, trained, registry) -> None:
    with pytest.raises(InvalidConfig, match="take another baseline"):
        served_arms(plan("  prod: {}\n  new: {version: toy:newest}\n", "prod"), registry, first_deploy=True)


def test_a_candidate_that_is_served_already_is_asked_once(plan, trained, registry) -> None:
    served(registry, trained)
    config = plan(ARMS)
    assert [arm.label for arm in resolve_arms(config, registry, actor="test")] == ["base", "new"]
    with pytest.raises(InvalidConfig, match="nothing to compare"):
        resolve_arms(plan("  prod: {}\n  new: {version: toy:newest}\n", "prod"), registry, actor="test")


def test_other_aliases_are_arms_too_and_an_adapter_of_a_split_one_is_told_with_its_place(
    plan, older, trained, registry
) -> None:
    served(registry, older.ref)
    arms = resolve_arms(plan("  base: {}\n  now: {version: 'toy:prod'}\n"), registry, actor="test")
    assert arms[1].version == registry.version(older.ref)
    served(registry, older.ref, trained)
    with pytest.raises(InvalidConfig, match=r"arms\.x\.adapter: toy:prod is split over"):
        resolve_arms(plan("  base: {}\n  x: {adapter: 'toy:prod'}\n"), registry, actor="test")


def test_prod_among_arms_of_one_name_is_that_names(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "a", "label": "b"}\n')
    config = EvalConfig.of_rows(str(rows), "prod,triage:5")
    assert config.arms["prod"].version == "triage:prod"
    assert config.baseline == "prod"
    with pytest.raises(InvalidConfig, match="prod of which name"):
        EvalConfig.of_rows(str(rows), "base,prod")
