"""The figures of each slice: those of the whole, taken over the items that lie in it. `comparison.py` makes them."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

from evals.asking.measure import MeasuredArm
from evals.slices import lies_in
from evals.statistics.arms_together import within
from evals.statistics.comparison import arm_result, compared, in_common
from evals.statistics.thin import THIN
from evals.tasks.suite import Suite
from lifecycle.report import Slice, Where

MOST_VALUES = 20
"""A field with more values than this parts items into names, not into slices. Only a rule brings one into a report."""


def slices(measured: Sequence[MeasuredArm], suite: Suite, baseline: str, asked: Sequence[Where]) -> tuple[Slice, ...]:
    """Every slice of the suite's items with the baseline's pairs, and those that rules ask for with all pairs of arms.

    One that no item lies in is left out, and so is a field of one value: that slice would be the whole.
    """
    kinds: dict[tuple[tuple[str, str], ...], int] = {}
    of_sample = array("L", (kinds.setdefault(tuple(sample.slices.items()), len(kinds)) for sample in suite.samples))
    wanted = [*asked, *(where for where in _ways(map(dict, kinds)) if where not in asked)]
    parts = ((where, _places(where, kinds, of_sample)) for where in wanted)
    return tuple(_slice(where, places, measured, suite, None if where in asked else baseline)
                 for where, places in parts if places)  # fmt: skip


def _ways(kinds: Iterable[Mapping[str, str]]) -> list[Where]:
    """By single fields, the values in their order."""
    values: dict[str, set[str]] = {}
    for kind in kinds:
        for field, value in kind.items():
            values.setdefault(field, set()).add(value)
    return [
        {field: value} for field, few in values.items() if 1 < len(few) <= MOST_VALUES for value in sorted(few)
    ]  # fmt: skip


def _places(where: Where, kinds: Mapping[tuple[tuple[str, str], ...], int], of_sample: Sequence[int]) -> list[int]:
    """Of the samples that lie there."""
    there = {code for kind, code in kinds.items() if lies_in(dict(kind), where)}
    return [at for at, code in enumerate(of_sample) if code in there]


def _slice(
    where: Where, places: Sequence[int], measured: Sequence[MeasuredArm], suite: Suite, against: str | None
) -> Slice:
    part = suite.at(places, part=True)
    arms = [within(arm, places) for arm in measured]
    labels = set(part.clusters)
    clusters = None if None in labels else len(labels)
    made = tuple(
        compared(second, first, part)
        for first, second in combinations(arms, 2)
        if (against is None or against in (first.arm.label, second.arm.label)) and in_common(second, first, part)
    )
    enough = [float(len(places) if clusters is None else clusters)]
    # A figure of all items together may weigh a few of them as much as all others.
    enough += [gap.effective_clusters for gap in made if part.together and gap.effective_clusters is not None]
    return Slice(
        where=where,
        n=len(places),
        clusters=clusters,
        thin=min(enough) < THIN,
        arms=tuple(arm_result(arm, part) for arm in arms),
        comparisons=made,
    )
