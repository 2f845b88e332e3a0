"""Intervals for figures over items, and how many items a difference takes. Pure functions of numbers.

Everything here raises `InvalidInput` for an empty sample: a mean of nothing is a mistake upstream, never 0.0.
Read `clusters.py` for items that belong together, `evidence.py` for tests, `comparison.py` for their use.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

from evals.statistics.clusters import Spread, spread, totals
from lifecycle.errors import InvalidInput
from lifecycle.intervals import Z_TWO_SIDED, score_bounds, wilson
from lifecycle.report import Interval

TAIL = 0.025
"""What a 95 % interval leaves out on each side."""
Z_POWER = 0.8416212335729143  # 80 % point: the usual power


def is_binary(values: Sequence[float]) -> bool:
    """Whether every value is 0 or 1, so that a share's interval and McNemar's test apply."""
    return all(value in (0.0, 1.0) for value in values)


def mean_interval(
    values: Sequence[float], *, clusters: Sequence[Hashable] | None = None, counts: bool = False
) -> Interval:
    """The mean of scores with its 95 % interval.

    Wilson's for yes/no scores of independent items. For other scores in [0, 1], and for items in `clusters` (one label
    per value): Wilson's with the number of yes/no items that would have this standard error, and Student's t (Franco,
    Little, Louis & Slud 2019, J. Surv. Stat. Methodol. 7: the modified Wilson interval). For scores beyond, and for
    `counts`, which have no upper end: Student's, and of a single cluster the mean alone.
    """
    sums, sizes = totals(values, clusters)
    n, count = len(values), len(sums) if clusters is not None else None
    if clusters is None and is_binary(values) and not counts:
        return wilson(int(sums.sum()), n)
    clustered = spread(sums, sizes)
    mean, se = float(clustered.mean), float(clustered.se)
    if counts or not all(0.0 <= value <= 1.0 for value in values):
        if clustered.clusters < 2:  # infinite bounds are no JSON
            return Interval(value=mean, low=mean, high=mean, n=n, clusters=count)
        low, high = t_bounds(clustered, -math.inf, math.inf)
        return Interval(value=mean, low=low, high=high, n=n, clusters=count)
    if clustered.clusters < 2:
        return Interval(value=mean, low=0.0, high=1.0, n=n, clusters=count)
    # Where nothing varies, each cluster is one item: more than that it cannot prove.
    like = mean * (1 - mean) / se**2 if se > 0 else float(clustered.clusters)
    if is_binary(values):
        like = min(like, float(n))
    low, high = score_bounds(min(max(mean, 0.0), 1.0), like, _quantile(clustered))
    return Interval(value=mean, low=low, high=high, n=n, clusters=count)


def difference_interval(values: Sequence[float], clusters: Sequence[Hashable] | None = None) -> Interval:
    """The mean of differences in [-1, 1] with its 95 % interval: `t_bounds`."""
    clustered = spread(*totals(values, clusters))
    low, high = t_bounds(clustered)
    count = clustered.clusters if clusters is not None else None
    return Interval(value=float(clustered.mean), low=low, high=high, n=len(values), clusters=count)


def t_bounds(clustered: Spread, floor: float = -1.0, ceiling: float = 1.0) -> tuple[float, float]:
    """Student's 95 % bounds of a mean of items within [floor, ceiling]; wider where nothing varies (`t_tail`)."""
    if clustered.clusters < 2:
        return floor, ceiling
    half = _quantile(clustered) * float(clustered.se)
    low, high = float(clustered.mean) - half, float(clustered.mean) + half
    unseen = TAIL ** (1 / clustered.clusters)  # the share that must have been seen, for all else to have been missed
    if low < clustered.least + 1e-9 and math.isfinite(floor):
        low = min(low, floor + (float(clustered.least) - floor) * unseen)
    if high > clustered.most - 1e-9 and math.isfinite(ceiling):
        high = max(high, ceiling - (ceiling - float(clustered.most)) * unseen)
    return max(low, floor), min(high, ceiling)


def items_for_power(difference: float, discordant: float) -> int:
    """Items that a McNemar test needs to find `difference` with 80 % power at alpha 0.05, two-sided.

    `discordant` is the share of items on which the two disagree (Connor 1987, Biometrics 43).
    """
    if not 0 < abs(difference) <= discordant <= 1:
        raise InvalidInput(f"a difference of {difference} cannot come from a discordant share of {discordant}")
    root = Z_TWO_SIDED * math.sqrt(discordant) + Z_POWER * math.sqrt(discordant - difference**2)
    return math.ceil((root / difference) ** 2)


def items_from_interval(width: float, n: int, difference: float) -> int:
    """Items needed for `difference` at 80 % power, when `n` items gave an interval of full `width`.

    The interval gives the spread of one item's difference, for metrics of any kind (normal approximation).
    """
    if difference == 0 or width <= 0 or n < 1:
        raise InvalidInput("needs a difference that is not 0, and an interval with a width")
    half = width / (2 * Z_TWO_SIDED) * math.sqrt(n)
    return math.ceil(((Z_TWO_SIDED + Z_POWER) * half / difference) ** 2)


def _quantile(clustered: Spread) -> float:
    from scipy.stats import t

    return float(t.isf(TAIL, max(clustered.effective - 1, 1e-6)))
