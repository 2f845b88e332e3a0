"""Outcomes → figures: each arm's metrics with intervals, and every pair of arms on the metric that decides.

Read `statistics.py` for the methods, `advice.py` for what the figures mean.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import combinations

import numpy as np

from evals import statistics
from evals.config import EvalConfig
from evals.lmeval_task import EvalTask
from evals.measure import Measured, Outcome
from lifecycle.errors import InvalidInput
from lifecycle.report import ArmResult, Comparison, Interval


def arm_result(measured: Measured, task: EvalTask, config: EvalConfig) -> ArmResult:
    """The arm's figures. Raises `InvalidInput` when the deciding or the safety metric leaves [0, 1]."""
    outcomes = measured.outcomes
    # A refusal is quick: it must not make an arm look fast. Where all failed there is nothing else to show.
    answered = [one.latency for one in outcomes if not one.error] or [one.latency for one in outcomes]
    p50, p95 = np.percentile(answered, [50, 95])
    return ArmResult(
        arm=measured.arm.label,
        ref=measured.arm.version.ref,
        version_digest=measured.arm.version.digest,
        metrics={name: figure for name in task.metrics if (figure := _figure(name, measured, task, config))},
        latency_p50=float(p50),
        latency_p95=float(p95),
        prompt_tokens=float(np.mean([one.prompt_tokens for one in outcomes])),
        completion_tokens=float(np.mean([one.completion_tokens for one in outcomes])),
        errors=sum(bool(one.error) for one in outcomes),
    )


def comparisons(measured: Sequence[Measured], task: EvalTask, config: EvalConfig) -> tuple[Comparison, ...]:
    """Every pair of arms on the deciding metric, the later against the earlier one, with Holm's adjustment over all.

    Yes/no metrics are tested by the exact McNemar test, others by the paired bootstrap; the interval is the paired
    bootstrap's for both.
    """
    found = [_pair(second, first, task, config) for first, second in combinations(measured, 2)]
    adjusted = statistics.holm([one.p_value for one in found])
    return tuple(one.model_copy(update={"p_adjusted": p_value}) for one, p_value in zip(found, adjusted, strict=True))


def _pair(arm: Measured, against: Measured, task: EvalTask, config: EvalConfig) -> Comparison:
    places = [
        place
        for place in range(len(task.items))
        if all(config.metric in one.outcomes[place].scores for one in (arm, against))
    ]
    first = [arm.outcomes[place].scores[config.metric] for place in places]
    second = [against.outcomes[place].scores[config.metric] for place in places]
    clusters = _clusters(task, places)
    differences = [a - b for a, b in zip(first, second, strict=True)]
    interval = statistics.paired_interval(differences, seed=config.seed, clusters=clusters)
    # McNemar's test takes items for independent, which clustered ones are not.
    if clusters is None and statistics.is_binary([*first, *second]):
        test, p_value = "mcnemar-exact", statistics.mcnemar(first, second)
    else:
        p_value = statistics.bootstrap_p(differences, seed=config.seed, clusters=clusters)
        test = "paired-bootstrap"
    return Comparison(
        arm=arm.arm.label,
        against=against.arm.label,
        metric=config.metric,
        delta=interval.value,
        low=interval.low,
        high=interval.high,
        p_value=p_value,
        p_adjusted=p_value,
        test=test,
        n=len(places),
    )


def _figure(name: str, measured: Measured, task: EvalTask, config: EvalConfig) -> Interval | None:
    """The metric's mean over the items that bear on it; None when none does."""
    places = [place for place, one in enumerate(measured.outcomes) if name in one.scores]
    if not places:
        return None
    values = [measured.outcomes[place].scores[name] for place in places]
    if name in (config.metric, config.safety) and not all(0.0 <= value <= 1.0 for value in values):
        raise InvalidInput(f"'{name}' goes from {min(values):g} to {max(values):g}; what decides must lie in [0, 1]")
    return statistics.mean_interval(values, seed=config.seed, clusters=_clusters(task, places))


def _clusters(task: EvalTask, places: Sequence[int]) -> list[Hashable] | None:
    labels: list[Hashable] = [task.items[place].cluster for place in places]
    return None if any(label is None for label in labels) else labels


def agreement(outcomes: Sequence[Outcome], metric: str) -> float:
    """How far apart the arms' scores on one item are: 0 when all are alike. For choosing examples worth reading."""
    scores = [one.scores.get(metric, 0.0) for one in outcomes]
    if not scores:
        raise InvalidInput("no outcomes to look at")
    return max(scores) - min(scores)
