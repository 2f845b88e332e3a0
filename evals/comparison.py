"""Outcomes → figures: each arm's metrics with intervals, and every pair of arms on the metric that decides.

Read `statistics.py` and `evidence.py` for the methods, `advice.py` for what the figures mean.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import combinations

import numpy as np

from evals import statistics, tango
from evals.clusters import sign_flip, spread, totals
from evals.config import EvalConfig
from evals.evidence import mcnemar
from evals.labels import macro_f1
from evals.lmeval_task import EvalTask
from evals.measure import ItemResult, MeasuredArm
from lifecycle.errors import InvalidInput
from lifecycle.report import ArmResult, Comparison, Interval
from lifecycle.text.scores import label_of


def arm_result(measured: MeasuredArm, task: EvalTask, config: EvalConfig) -> ArmResult:
    """The arm's figures. Raises `InvalidInput` when the deciding or the safety metric leaves [0, 1]."""
    outcomes = measured.outcomes
    # A refusal is quick: it must not make an arm look fast. Where all failed there is nothing else to show.
    answered = [outcome.latency for outcome in outcomes if not outcome.error] or [
        outcome.latency for outcome in outcomes
    ]
    p50, p95 = np.percentile(answered, [50, 95])
    return ArmResult(
        arm=measured.arm.label,
        ref=measured.arm.version.ref,
        version_digest=measured.arm.version.digest,
        metrics={name: figure for name in task.metrics if (figure := _figure(name, measured, task, config))}
        | _over_all(measured, task),
        latency_p50=float(p50),
        latency_p95=float(p95),
        prompt_tokens=float(np.mean([outcome.prompt_tokens for outcome in outcomes])),
        completion_tokens=float(np.mean([outcome.completion_tokens for outcome in outcomes])),
        errors=sum(bool(outcome.error) for outcome in outcomes),
        cut=sum(outcome.cut for outcome in outcomes),
        deployment=measured.deployment,
    )


def comparisons(measured: Sequence[MeasuredArm], task: EvalTask, config: EvalConfig) -> tuple[Comparison, ...]:
    """Every pair of arms on the deciding metric, the later against the earlier one.

    Their p values stand alone: which of them count together is the policy's to say (`gate.py`).
    """
    return tuple(_pair(second, first, task, config) for first, second in combinations(measured, 2))


def _pair(arm: MeasuredArm, against: MeasuredArm, task: EvalTask, config: EvalConfig) -> Comparison:
    places = [
        place
        for place in range(len(task.items))
        if all(config.metric in side.outcomes[place].scores for side in (arm, against))
    ]
    first, second = ([side.outcomes[place].scores[config.metric] for place in places] for side in (arm, against))
    names = {"arm": arm.arm.label, "against": against.arm.label, "metric": config.metric}
    return paired(first, second, _clusters(task, places), **names)


def paired(
    first: Sequence[float], second: Sequence[float], clusters: Sequence[Hashable] | None, **names: str
) -> Comparison:
    """`first` against `second`, scores in [0, 1] of the same items. `names` are the arms and the metric.

    Yes/no scores of independent items are counted; of all others the totals of clusters are kept in brief, each item
    being its own without `clusters`.
    """
    if len(first) != len(second):
        raise InvalidInput(f"paired samples differ in length: {len(first)} and {len(second)}")
    sums, sizes = totals([a - b for a, b in zip(first, second, strict=True)], clusters)
    if clusters is None and statistics.is_binary([*first, *second]):
        wins, losses = int((sums > 0).sum()), int((sums < 0).sum())
        low, high = tango.interval(wins, losses, len(first))
        # Both sides of a symmetric test, so twice the smaller one.
        p_value = min(1.0, 2 * mcnemar(max(wins, losses), min(wins, losses)))
        return Comparison(
            **names, delta=(wins - losses) / len(first), low=low, high=high, p_value=p_value, test="mcnemar-exact",
            n=len(first), wins=wins, losses=losses,
        )  # fmt: skip
    clustered = spread(sums, sizes)
    low, high = statistics.t_bounds(clustered)
    return Comparison(
        **names,
        delta=float(clustered.mean),
        low=low,
        high=high,
        p_value=sign_flip(sums),
        test="sign-flip",
        n=len(first),
        se=float(clustered.se),
        clusters=None if clusters is None else clustered.clusters,
        effective_clusters=None if clusters is None else clustered.effective,
        least=float(clustered.least),
        most=float(clustered.most),
    )


def _figure(name: str, measured: MeasuredArm, task: EvalTask, config: EvalConfig) -> Interval | None:
    """The metric's mean over the items that bear on it; None when none does."""
    places = [place for place, outcome in enumerate(measured.outcomes) if name in outcome.scores]
    if not places:
        return None
    values = [measured.outcomes[place].scores[name] for place in places]
    if name in (config.metric, config.safety) and not all(0.0 <= value <= 1.0 for value in values):
        raise InvalidInput(f"'{name}' goes from {min(values):g} to {max(values):g}; what decides must lie in [0, 1]")
    return statistics.mean_interval(values, clusters=_clusters(task, places))


def _over_all(measured: MeasuredArm, task: EvalTask) -> dict[str, Interval]:
    """Figures that only all items together have."""
    if (rule := task.label_rule()) is None:
        return {}
    labels, normaliser = rule
    # A failed request has no answer, and is no label.
    given = [None if outcome.error else label_of(outcome.answer, labels, normaliser) for outcome in measured.outcomes]
    right = [label_of(item.target, labels, normaliser) or item.target for item in task.items]
    return {"macro_f1": macro_f1(given, right, labels, _clusters(task, range(len(task.items))))}


def _clusters(task: EvalTask, places: Sequence[int]) -> list[Hashable] | None:
    labels: list[Hashable] = [task.items[place].cluster for place in places]
    return None if any(label is None for label in labels) else labels


def agreement(outcomes: Sequence[ItemResult], metric: str) -> float:
    """How far apart the arms' scores on one item are: 0 when all are alike. For choosing examples worth reading."""
    scores = [outcome.scores.get(metric, 0.0) for outcome in outcomes]
    if not scores:
        raise InvalidInput("no outcomes to look at")
    return max(scores) - min(scores)
