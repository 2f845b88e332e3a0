"""The clinic's policy on results like the clinic's: what is right passes it, with the handbook's facts as clusters."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Hashable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from evals.config import EvalConfig, load_policy
from evals.gate.policy import judge
from evals.statistics.comparison import paired
from evals.statistics.intervals import mean_interval
from lifecycle.report import ArmResult, Report
from lifecycle.verdict import Ruling
from lifecycle.version import digest_of

CLINIC = Path(__file__).parents[3] / "examples" / "clinic"
AT = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = load_policy(CLINIC / "evals" / "policy.yaml")
Scores = dict[str, list[float]]


def report(scores: Scores, clusters: Sequence[Hashable] | None = None) -> Report:
    def arm(number: int, label: str) -> ArmResult:
        figure = mean_interval(scores[label], clusters=clusters)
        return ArmResult(
            arm=label,
            ref=f"clinic:{number}",
            version_digest=digest_of(label),
            metrics={"score": figure, "valid_json": mean_interval([1.0] * figure.n)},
            latency_p50=1,
            latency_p95=1,
            prompt_tokens=1,
            completion_tokens=1,
        )

    return Report(
        task="clinic",
        task_digest=digest_of("clinic"),
        base="base",
        metric="score",
        arms=tuple(arm(number, label) for number, label in enumerate(scores, 1)),
        comparisons=tuple(
            paired(scores[second], scores[first], clusters, arm=second, against=first, metric="score")
            for first, second in itertools.combinations(scores, 2)
        ),
        n_items=len(scores["base"]),
        seed=1,
        created_at=AT,
    )


def rulings(scores: Scores, clusters: Sequence[Hashable] | None = None) -> dict[str, Ruling]:
    candidates = [label for label in scores if label != "base"]
    verdicts = judge(report(scores, clusters), POLICY, candidates, at=AT)
    return {label: one.ruling for label, one in zip(candidates, verdicts, strict=True)}


def knows(share: float, seed: int, n: int = 200) -> list[float]:
    right = [1.0] * round(share * n) + [0.0] * (n - round(share * n))
    return random.Random(seed).sample(right, n)


def handbook_facts() -> list[Hashable]:
    lines = (CLINIC / "data" / "handbook" / "test.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["meta"]["fact"] for line in lines]


def test_the_handbooks_test_declares_its_facts() -> None:
    config = EvalConfig.load(CLINIC / "evals" / "handbook.yaml", base=str(CLINIC / "base_model"))
    assert config.cluster == "fact"
    facts = handbook_facts()
    assert (len(facts), len(set(facts))) == (200, 73)


def test_a_good_triage_adapter_passes() -> None:
    scores = {"base": [0.0] * 200, "few-shot": knows(0.3, 1), "rag": knows(0.0, 2), "adapter": knows(0.95, 3)}
    assert rulings(scores) == {"few-shot": Ruling.FAILED, "rag": Ruling.FAILED, "adapter": Ruling.PASSED}


def test_good_reading_of_the_handbook_passes_though_facts_count_once() -> None:
    facts = handbook_facts()
    draw = random.Random(4)
    known = {fact: draw.random() < 0.86 for fact in sorted(set(facts))}  # who knows a fact answers all about it
    scores = {
        "base": [0.0] * 200,
        "few-shot": knows(0.08, 5),
        "rag": [float(known[fact]) for fact in facts],
        "adapter": knows(0.1, 6),
    }
    found = rulings(scores, facts)
    assert found["rag"] is Ruling.PASSED
    assert found["few-shot"] is found["adapter"] is Ruling.FAILED


def test_a_digest_adapter_that_is_right_throughout_passes_by_graded_scores() -> None:
    draw = random.Random(7)
    scores = {
        "base": [draw.uniform(0.0, 0.05) for _ in range(150)],
        "few-shot": [draw.uniform(0.1, 0.4) for _ in range(150)],
        "rag": [draw.uniform(0.0, 0.1) for _ in range(150)],
        "adapter": [1.0] * 150,
    }
    assert rulings(scores)["adapter"] is Ruling.PASSED


@pytest.mark.parametrize("clusters", [5, 19])
def test_too_few_clusters_decide_nothing_however_clear_the_answers(clusters: int) -> None:
    labels = [number % clusters for number in range(200)]
    scores = {"base": [0.0] * 200, "few-shot": knows(0.1, 1), "rag": knows(0.1, 2), "adapter": [1.0] * 200}
    assert rulings(scores, labels)["adapter"] is Ruling.UNDECIDED
