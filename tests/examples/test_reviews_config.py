"""The configurations of the example load, over the rows that its set-up writes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from evals.config import EvalConfig, load_policy
from evals.tasks.lmeval.task import load
from examples.loop import judged
from examples.reviews import data
from examples.reviews.demo import CLASSIFIERS
from lifecycle.rows.files import read_kinds
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


def test_the_classifiers_learn_the_labels_of_the_sentences_that_the_adapter_learns(example: Path) -> None:
    adapter = TrainJob.load(example / "training/sentiment.yaml")
    learnt = read_kinds(adapter.config.method.rows, *adapter.train_paths, adapter.validation_path)
    for name in CLASSIFIERS:
        job = TrainJob.load(example / f"training/{name}.yaml")
        assert (job.config.name, job.config.method.type, Path(job.base).name) == (
            name,
            "classification",
            "all-MiniLM-L6-v2",
        )
        rows = read_kinds(job.config.method.rows, *job.train_paths, job.validation_path)
        for asked, labelled in zip(learnt, rows, strict=True):
            assert [(row.question, row.messages[-1].content) for row in asked] == [
                (row.text, row.label) for row in labelled
            ]
    assert [TrainJob.load(example / f"training/{name}.yaml").config.method.lora is None for name in CLASSIFIERS] == [
        True,
        False,
    ]


def test_every_name_that_an_arm_brings_has_the_gate_of_the_task(example: Path) -> None:
    assert judged(data.TASK, example / "evals/sentiment.yaml") == [data.TASK, *CLASSIFIERS]


def test_the_evaluation_asks_every_arm_for_one_of_the_labels(example: Path, tmp_path: Path) -> None:
    config = EvalConfig.load(example / "evals/sentiment.yaml")
    assert list(config.arms) == ["base", "few-shot", "adapter", "classifier", "classifier-lora"]
    task = load(config, tmp_path / "cache")
    assert len(task.samples) == data.SHARES["test"] * len(data.SITES)
    assert [figure.name for figure in task.figures] == ["accuracy", "labelled"]
    rule = task.scorers[0].labels
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
