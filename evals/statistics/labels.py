"""Answers that are one label of a few: macro-F1 over all items with its interval. Pure.

`lmeval_metrics.label` scores each item; what only all items together have is here, and `comparison.py` adds it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from evals.statistics.together import Summed, interval
from lifecycle.errors import InvalidInput
from lifecycle.report import Interval


def macro_f1(
    given: Sequence[str | None],
    right: Sequence[str],
    labels: Sequence[str],
    clusters: Sequence[Hashable] | None = None,
) -> Interval:
    """The mean over `labels` of the F1 of each (Yang & Liu 1999), with its 95 % interval (`together.interval`).

    An answer that is no label (None) is missed by the right one and counts against no other; a label that is neither
    given nor right has an F1 of 0. Raises `InvalidInput` for no items, and for a right label that is none of `labels`.
    """
    return interval(summed_f1(given, right, labels), clusters)


def summed_f1(given: Sequence[str | None], right: Sequence[str], labels: Sequence[str]) -> Summed:
    """What each answer adds to macro-F1: of each label, whether it was given rightly, given, and right."""
    if not right:
        raise InvalidInput("there is no F1 of no items")
    if unknown := sorted(set(right) - set(labels)):
        raise InvalidInput(f"{', '.join(unknown)} is right, and none of the labels {', '.join(labels)}")
    place = {label: number for number, label in enumerate(labels)}
    rows = np.vstack([np.eye(len(labels)), np.zeros(len(labels))])  # the last one: no label
    said = rows[[len(labels) if label is None else place.get(label, len(labels)) for label in given]]
    want = rows[[place[label] for label in right]]
    return Summed(np.hstack([said * want, said, want]), _f1, tuple(right))


def _f1(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean F1 of `sums` [..., hits of each label, then given, then right]."""
    hits, given, right = np.moveaxis(sums.reshape(*sums.shape[:-1], 3, -1), -2, 0)
    both = given + right
    return np.asarray((2 * hits / np.where(both > 0, both, 1)).mean(axis=-1))
