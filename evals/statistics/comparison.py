"""Outcomes → figures: each arm's metrics with intervals, and every pair of arms on the metric that decides.

Read `statistics.py` and `evidence.py` for the methods, `advice.py` for what the figures mean.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import combinations

import numpy as np

from evals.asking.measure import ItemResult, MeasuredArm
from evals.asking.spilled import Picked
from evals.scorers.scorer import Figure, Kind
from evals.statistics import intervals as statistics
from evals.statistics import tango
from evals.statistics.arms_together import compared_together, each, figures_together, known_together
from evals.statistics.clusters import sign_flip, spread, totals
from evals.statistics.evidence import mcnemar
from evals.statistics.exact import failures_in
from evals.statistics.repeats import differences, figures_of, repeats
from evals.tasks.suite import Suite
from lifecycle.errors import InvalidInput
from lifecycle.report import ArmResult, Comparison, Failures, Interval


def arm_result(measured: MeasuredArm, suite: Suite) -> ArmResult:
    """The arm's figures. Raises `InvalidInput` when the deciding or the safety metric leaves [0, 1]."""
    columns = measured.columns
    latency, prompt, completion = columns.took.T
    # A refusal is quick: it must not make an arm look fast. Where all failed there is nothing else to show.
    answered = latency if columns.failed.all() else latency[~columns.failed]
    metrics = {of.name: figure for of in suite.figures if (figure := _figure(of, measured, suite))}
    p50, p95 = np.percentile(answered, [50, 95])
    return ArmResult(
        arm=measured.arm.label,
        ref=measured.arm.version.ref,
        version_digest=measured.arm.version.digest,
        metrics=metrics | _of_several(measured, suite) | _over_all(measured, suite),
        latency_p50=float(p50),
        latency_p95=float(p95),
        prompt_tokens=float(prompt.mean()),
        completion_tokens=float(completion.mean()),
        errors=int(columns.failed.sum()),
        cut=int(columns.cut.sum()),
        deployment=measured.deployment,
        unscored=columns.reasons(),
        tables={} if suite.part else _tables(measured),
        failures=_failures(measured, suite),
    )


def require_decided(arms: Sequence[ArmResult], metric: str) -> None:
    """Raises `InvalidInput` for an arm of which no answer has the deciding figure, and says why none has."""
    for arm in arms:
        if metric not in arm.metrics:
            reasons = "; ".join(arm.unscored.get(metric, {})) or "no item bears on it"
            raise InvalidInput(f"no answer of {arm.arm} has the deciding figure {metric}: {reasons}")


def comparisons(measured: Sequence[MeasuredArm], suite: Suite) -> tuple[Comparison, ...]:
    """Every pair of arms on the deciding metric, the later against the earlier one.

    Their p values stand alone: which of them count together is the policy's to say (`gate.py`).
    """
    return tuple(compared(second, first, suite) for first, second in combinations(measured, 2))


def in_common(arm: MeasuredArm, against: MeasuredArm, suite: Suite) -> list[int]:
    """The places of the items that both have the deciding figure of, or that bear on it in both."""
    if suite.together:
        return sorted(known_together(arm, suite) & known_together(against, suite))
    both = np.intersect1d(arm.columns.having(suite.metric), against.columns.having(suite.metric), assume_unique=True)
    places: list[int] = both.astype(np.int64).tolist()
    return places


def compared(arm: MeasuredArm, against: MeasuredArm, suite: Suite) -> Comparison:
    """On the deciding metric. Raises `InvalidInput` for two that have no item in common."""
    places = in_common(arm, against, suite)
    if suite.together:
        return compared_together(arm, against, suite, places)
    first, second = (_values(side, suite.metric, places) for side in (arm, against))
    names = {"arm": arm.arm.label, "against": against.arm.label, "metric": suite.metric}
    gap = paired(first, second, suite.clusters_of(places), **names)
    if not (arm.columns.several or against.columns.several):
        return gap
    within = [differences(arm.outcomes[place], against.outcomes[place], suite.metric) for place in places]
    clustered = spread(*totals([a - b for a, b in zip(first, second, strict=True)], suite.clusters_of(places)))
    count = sum(int(side.columns.sizes[places].sum()) for side in (arm, against))
    return gap.model_copy(update={"repeats": repeats(within, float(clustered.se), count)})


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


def _figure(of: Figure, measured: MeasuredArm, suite: Suite) -> Interval | None:
    """The figure's mean over the items that bear on it; None when none does."""
    name = of.name
    places = measured.columns.having(name)
    if not places:
        return None
    values = _values(measured, name, places)
    if name in (suite.metric, suite.safety) and not all(0.0 <= value <= 1.0 for value in values):
        raise InvalidInput(f"'{name}' goes from {min(values):g} to {max(values):g}; what decides must lie in [0, 1]")
    clusters = suite.clusters_of(places)
    if of.kind is Kind.DIFFERENCE:
        figure = statistics.difference_interval(values, clusters)
    else:
        figure = statistics.mean_interval(values, clusters=clusters, counts=of.kind is Kind.COUNT)
    if not (measured.columns.sizes[places] > 1).any():
        return figure
    each = [[one.scores[name] for one in measured.outcomes[place].each if name in one.scores] for place in places]
    se = float(spread(*totals(values, clusters)).se)
    return figure.model_copy(update={"repeats": repeats(each, se)})


def _values(measured: MeasuredArm, figure: str, places: Sequence[int]) -> list[float]:
    """Of the items at these places, which have it."""
    values: list[float] = measured.columns.scores[figure][places].tolist() if places else []
    return values


def _of_several(measured: MeasuredArm, suite: Suite) -> dict[str, Interval]:
    """What several answers to an item have, of the figures that decide."""
    made: dict[str, Interval] = {}
    if not measured.columns.several:
        return made
    for name in dict.fromkeys(name for name in (suite.metric, suite.safety) if name):
        places = [at for at, outcome in enumerate(measured.outcomes) if outcome.repeats and name in outcome.scores]
        if places:
            clusters = suite.clusters_of(places)
            figures = figures_of([measured.outcomes[at].each for at in places], name)
            made |= {key: statistics.mean_interval(values, clusters=clusters) for key, values in figures.items()}
    return made


def _over_all(measured: MeasuredArm, suite: Suite) -> dict[str, Interval]:
    """Text statistics: figures that only all items together have. Of a slice those that pair."""
    pairing = figures_together(measured, suite)
    if suite.part:
        return pairing
    samples, clusters = suite.samples, suite.clusters_of(range(len(suite.samples)))
    size: dict[str, int | None] = {}
    if measured.columns.several:  # an item's answers belong together
        size = {"n": len(samples)} | ({"clusters": None} if clusters is None else {})
        clusters = [sample.key for sample in samples] if clusters is None else clusters
        counts = measured.columns.sizes.tolist()
        samples, clusters = Picked(samples, each(range(len(samples)), counts)), each(clusters, counts)
    others = {
        name: figure.model_copy(update=size)
        for scorer, parts in zip(suite.scorers, measured.parts, strict=False)
        for name, figure in scorer.overall(samples, parts, clusters).items()
    }
    return others | pairing


def _tables(measured: MeasuredArm) -> dict[str, dict[str, dict[str, int]]]:
    tables: dict[str, dict[str, dict[str, int]]] = {}
    for name, (row, column) in (cell for part in measured.parts for score in part for cell in score.cells.items()):
        columns = tables.setdefault(name, {}).setdefault(row, {})
        columns[column] = columns.get(column, 0) + 1
    return tables


def _failures(measured: MeasuredArm, suite: Suite) -> dict[str, Failures]:
    """Of the figures of harm and of the safety figure, where each answer has it as a yes or a no. Of several answers to
    an item one is enough: a mean of them would hide it."""
    told = {}
    for figure in suite.figures:
        if not figure.harm and figure.name != suite.safety:
            continue
        places = measured.columns.having(figure.name)
        values = _values(measured, figure.name, places)
        if measured.columns.several:
            answers = (measured.outcomes[place].each for place in places)
            values = [min(said.scores[figure.name] for said in of if figure.name in said.scores) for of in answers]
        if values and statistics.is_binary(values):
            told[figure.name] = failures_in(values, [suite.clusters[place] for place in places])
    return told


def agreement(outcomes: Sequence[ItemResult], metric: str) -> float:
    """How far apart the arms' scores on one item are: 0 when all are alike. For choosing examples worth reading."""
    scores = [outcome.scores.get(metric, 0.0) for outcome in outcomes]
    if not scores:
        raise InvalidInput("no outcomes to look at")
    return max(scores) - min(scores)
