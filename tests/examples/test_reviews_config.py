"""The configurations of the example load, over the rows that its set-up writes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from evals.config import EvalConfig, load_policy
from evals.lmeval_task import load
from examples.reviews import data
from training.config import TrainJob

REVIEWS = Path(data.__file__).parent


@pytest.fixture
def example(tmp_path: Path, whole: Path) -> Path:
    """The example as it stands after set-up, with an empty folder for a base."""
    kept = shutil.ignore_patterns("data", "downloads", "bases", "__pycache__")
    folder = Path(shutil.copytree(REVIEWS, tmp_path / "reviews", ignore=kept))
    data.prepare(folder / "data" / data.TASK, whole)
    (folder / "bases" / "SmolLM2-135M-Instruct.Q4_1").mkdir(parents=True)
    return folder


def test_the_training_configuration_loads(example: Path) -> None:
    job = TrainJob.load(example / "training/sentiment.yaml")
    assert job.config.name == data.TASK
    assert "positive or negative" in job.prompt.system
    assert Path(job.base).name == "SmolLM2-135M-Instruct.Q4_1"


def test_the_evaluation_asks_every_arm_for_one_of_the_labels(example: Path, tmp_path: Path) -> None:
    config = EvalConfig.load(example / "evals/sentiment.yaml")
    assert list(config.arms) == ["base", "few-shot", "adapter"]
    task = load(config, tmp_path / "cache")
    assert len(task.items) == data.SHARES["test"] * len(data.SITES)
    assert task.metrics == ("accuracy", "labelled")
    rule = task.label_rule()
    assert rule is not None
    assert rule[0] == data.LABELS


def test_the_policy_asks_for_figures_that_the_report_has(example: Path) -> None:
    policy = load_policy(example / "evals/policy.yaml")
    assert {rule.metric for rule in policy.rules if getattr(rule, "metric", None)} == {"macro_f1", "labelled"}  # type: ignore[union-attr]
    assert set(policy.names) <= set(EvalConfig.load(example / "evals/sentiment.yaml").arms)


def test_a_base_elsewhere_takes_the_place_of_the_packaged_one(example: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    assert TrainJob.load(example / "training/sentiment.yaml", base=str(tmp_path / "other")).base == str(
        tmp_path / "other"
    )
