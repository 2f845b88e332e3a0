"""A figure that only all items together have, made of counts that add up: its value and its 95 % interval. Pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from lifecycle.errors import InvalidInput
from lifecycle.intervals import Z_TWO_SIDED, score_bounds
from lifecycle.report import Interval

Floats = NDArray[np.float64]
_MOST_GROUPS = 1_000
"""Groups that are left out one at a time; more clusters are left out several at a time."""


def statistic(
    counts: Sequence[Sequence[float]], value: Callable[[Floats], float], clusters: Sequence[Hashable] | None = None
) -> Interval:
    """`value` of the sum of the items' counts, from 0 to 1.

    The standard error is the jackknife's over clusters or single items (Efron 1982, section 3.2), by groups of them
    where there are many, and the interval Wilson's for as many yes/no items as would have it. Raises `InvalidInput` for
    no items.
    """
    if not counts:
        raise InvalidInput("there is no figure of no items")
    places: dict[Hashable, int] = {}
    names: Sequence[Hashable] = range(len(counts)) if clusters is None else clusters
    of_cluster = [places.setdefault(name, len(places)) for name in names]
    number = len(places)
    groups = min(number, _MOST_GROUPS)
    sums = np.zeros((groups, len(counts[0])))
    for cluster, row in zip(of_cluster, counts, strict=True):
        sums[cluster % groups] += row
    total = sums.sum(axis=0)
    whole = value(total)
    without = np.asarray([value(total - group) for group in sums]) if groups > 1 else np.asarray([whole])
    variance = float((groups - 1) / groups * ((without - without.mean()) ** 2).sum())
    like = whole * (1 - whole) / variance if variance > 0 else float(number)
    low, high = score_bounds(whole, like, Z_TWO_SIDED)
    return Interval(
        value=whole,
        low=max(low, 0.0),
        high=min(high, 1.0),
        n=len(counts),
        clusters=None if clusters is None else number,
    )
