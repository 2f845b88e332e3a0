"""Items that belong together (one article, one patient, one fact): a cluster counts once, not each of its items.

Everything works on the totals of clusters, along the last axis, so that a benchmark can pass many samples at once. An
item that stands for itself is a cluster of one. Why these methods: `docs/decisions/0012-levels-of-the-gate.md`.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lifecycle.errors import InvalidInput

Floats = NDArray[np.float64]
_GRID = 2**12
"""Steps into which the sum of graded totals is rounded for the sign-flip test."""


@dataclass(frozen=True)
class Spread:
    """The mean of items in clusters and how sure it is. Fields are arrays over samples, or single numbers."""

    mean: Floats
    se: Floats
    """By the jackknife over clusters; 0 where nothing varies, and for a single cluster."""
    clusters: int
    effective: float
    """Clusters of one size that would tell as much: (sum of sizes)² / sum of squared sizes."""
    least: Floats
    most: Floats


def totals(values: Sequence[float], labels: Sequence[Hashable] | None) -> tuple[Floats, Floats]:
    """Sum and size of each cluster, in order of first appearance; every value is its own cluster without labels."""
    sample = np.asarray(values, dtype=np.float64)
    if sample.size == 0:
        raise InvalidInput("no items: a figure needs at least one")
    if not np.isfinite(sample).all():
        raise InvalidInput("a score is not a finite number")
    if labels is None:
        return sample, np.ones_like(sample)
    if len(labels) != len(sample):
        raise InvalidInput(f"{len(labels)} cluster labels for {len(sample)} items")
    places = {label: place for place, label in enumerate(dict.fromkeys(labels))}
    index = [places[label] for label in labels]
    sums = np.asarray(np.bincount(index, weights=sample), dtype=np.float64)
    return sums, np.asarray(np.bincount(index), dtype=np.float64)


def spread(sums: Floats, sizes: Floats) -> Spread:
    """Of clusters with these `sums` (samples × clusters, or clusters) and `sizes` (clusters).

    The standard error leaves out one cluster at a time (Bell & McCaffrey 2002, Survey Methodology 28: CR3). The
    effective number of clusters is Carter, Schnepel & Steigerwald's (2017, Rev. Econ. Stat. 99) for equal variances.
    """
    count, total = sizes.shape[-1], float(sizes.sum())
    mean = sums.sum(axis=-1) / total
    if count > 1:
        left_out = (sums - mean[..., None] * sizes) / (total - sizes)
        se = np.sqrt((count - 1) / count * (left_out**2).sum(axis=-1))
        se = np.where(se < 1e-12, 0.0, se)  # what floating point leaves of clusters that are all alike
    else:
        se = np.zeros_like(mean)
    means = sums / sizes
    effective = total**2 / float((sizes**2).sum())
    return Spread(mean, se, count, effective, means.min(axis=-1), means.max(axis=-1))


def t_tail(clustered: Spread, bound: float, floor: float = -1.0) -> Floats:
    """One-sided p of a mean of at most `bound`, for items that are never below `floor`.

    Student's t with the effective number of clusters less one. Where every cluster lies above `bound`, the mean can
    still be `bound` if some kind of cluster was never drawn: at `floor`, it would need a share of (least - bound) /
    (least - floor), and p is at least the chance of drawing none of it. So a sample in which nothing varies proves
    only what its number of clusters does.
    """
    from scipy.stats import t

    if clustered.effective <= 1.0 + 1e-9:
        return np.ones_like(clustered.mean)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (clustered.mean - bound) / clustered.se
        tail = np.where(
            clustered.se > 0, t.sf(ratio, clustered.effective - 1), np.where(clustered.mean > bound, 0.0, 1.0)
        )
        unseen = np.where(clustered.least > bound, (clustered.least - bound) / (clustered.least - floor), 1.0)
    return np.asarray(np.maximum(tail, (1.0 - unseen) ** clustered.clusters), dtype=np.float64)


def sign_flip(sums: Floats) -> float:
    """Two-sided p of no difference: in how many of all assignments of signs to the clusters' totals is their sum as
    far from 0. Exact, for one sample; graded totals are rounded to a grid first, which keeps it so.

    When both arms are equally good, exchanging them within a cluster changes nothing but the sign of its total
    (Fisher 1935, The Design of Experiments, §21). Yes/no items that stand for themselves give McNemar's exact test.
    """
    from scipy.stats import binom

    sizes = np.abs(sums)
    unit = 1.0 if np.array_equal(sizes, np.round(sizes)) else float(sizes.sum()) / _GRID
    steps = np.round(sums / unit).astype(np.int64) if unit else np.zeros(len(sums), dtype=np.int64)
    observed, most = abs(int(steps.sum())), int(np.abs(steps).sum())
    if not most:
        return 1.0
    kinds, counts = np.unique(np.abs(steps[steps != 0]), return_counts=True)
    # How many totals of one size are positive is binomial: of the most frequent size at the end, of the next at first.
    order = np.argsort(-counts, kind="stable")
    (size, times), *others = zip(kinds[order].tolist(), counts[order].tolist(), strict=True)
    chances = np.zeros(most - size * times + 1)
    chances[0], top = 1.0, 0
    for step, count in others:
        if not top:
            top = step * count
            chances[: top + 1 : step] = binom.pmf(np.arange(count + 1), count, 0.5)
            continue
        for _ in range(count):
            top += step
            half = chances[: top + 1] * 0.5
            chances[: top + 1] = half
            chances[step : top + 1] += half[:-step]
    # The sum of the signed totals is twice what is positive, less all of it.
    lacking = (most + observed) // 2 - np.arange(len(chances))
    return min(1.0, 2.0 * float(chances @ binom.sf(-(-lacking // size) - 1, times, 0.5)))
