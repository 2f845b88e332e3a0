"""Answers that are one label of a few: macro-F1 over all items with its interval. Pure.

`lmeval_metrics.label` scores each item; what only all items together have is here, and `comparison.py` adds it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from lifecycle.errors import InvalidInput
from lifecycle.intervals import Z_TWO_SIDED, score_bounds
from lifecycle.report import Interval


def macro_f1(
    given: Sequence[str | None],
    right: Sequence[str],
    labels: Sequence[str],
    clusters: Sequence[Hashable] | None = None,
) -> Interval:
    """The mean over `labels` of the F1 of each (Yang & Liu 1999), with its 95 % interval.

    An answer that is no label (None) is missed by the right one and counts against no other; a label that is neither
    given nor right has an F1 of 0. The standard error is the jackknife's, over `clusters` or single items (Efron 1982,
    section 3.2), and the interval Wilson's for as many yes/no items as would have it. Raises `InvalidInput` for no
    items, and for a right label that is none of `labels`.
    """
    if not right:
        raise InvalidInput("there is no F1 of no items")
    if unknown := sorted(set(right) - set(labels)):
        raise InvalidInput(f"{', '.join(unknown)} is right, and none of the labels {', '.join(labels)}")
    place = {label: number for number, label in enumerate(labels)}
    groups: dict[Hashable, int] = {}
    names = range(len(right)) if clusters is None else clusters
    of_group = [groups.setdefault(name, len(groups)) for name in names]
    # Of each group: how often each label was given rightly, was given, and was right.
    counts = np.zeros((len(groups), 3, len(labels)))
    for group, said, want in zip(of_group, given, right, strict=True):
        counts[group, 2, place[want]] += 1
        if said in place:
            counts[group, 1, place[said]] += 1
            counts[group, 0, place[said]] += said == want
    total = counts.sum(axis=0)
    value = float(_f1(total))
    number = len(groups)
    without = _f1(total - counts)
    variance = float((number - 1) / number * ((without - without.mean()) ** 2).sum())
    like = value * (1 - value) / variance if variance > 0 else float(number)
    low, high = score_bounds(value, like, Z_TWO_SIDED)
    return Interval(
        value=value, low=max(low, 0.0), high=min(high, 1.0), n=len(right), clusters=None if clusters is None else number
    )


def _f1(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean F1 over the last axis, of `counts` [..., (hits, given, right), labels]."""
    hits, given, right = counts[..., 0, :], counts[..., 1, :], counts[..., 2, :]
    both = given + right
    return np.asarray((2 * hits / np.where(both > 0, both, 1)).mean(axis=-1))
