"""Figures that only all items together have, such as macro-F1: one arm's, and two arms' gap. Pure.

Each answer adds counts, and the figure is a function of their sums. So an item's share in it is what changes when the
item is left out, and two arms can be paired by their items. `comparison.py` uses this, and `evidence.py` tests it.

- Standard errors leave out one cluster at a time (the jackknife: Efron & Stein 1981, Ann. Stat. 9:586; clusters as in
  Miller 2024, arXiv 2411.00640, section 2.2). For macro-F1 it agrees with the delta method's variance of Takahashi,
  Yamamoto, Kuchiba & Koyama (2022, Applied Intelligence 52:4961), and needs no formula of each figure.
- Intervals are Student's, by the effective number of clusters (`Summed.effective`): a few items of a rare label weigh
  as much as all items of a frequent one.
- The test of no difference exchanges the two arms' answers within clusters, whole clusters at a time (approximate
  randomisation: Noreen 1989; for F-scores Yeh 2000, COLING). Student's and it have to agree (`evidence.p_above`).

What they hold: `tests/evals/statistics/test_together.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evals.statistics.clusters import Spread
from evals.statistics.intervals import TAIL, t_bounds
from lifecycle.errors import InvalidInput
from lifecycle.intervals import score_bounds
from lifecycle.report import RANDOMISATION, Comparison, Interval

Floats = NDArray[np.float64]
DRAWS = 9_999
"""Exchanges that are drawn, with a fixed seed: no p is below 1 in 10,000."""
_AT_ONCE, _COINS = 500, 2_000_000
"""Exchanges, and coins of them, that are thrown together: some 20 MB, however many items there are."""
_TIE = 1e-9


@dataclass(frozen=True)
class Summed:
    """What answers add to a figure. A row of NaN is an answer that the figure does not bear on."""

    counts: Floats
    """Answers × counts."""
    value: Callable[[Floats], Floats]
    """Of sums of counts, along the last axis: the figure, from 0 to 1."""
    strata: Sequence[Hashable] | None = None
    """Of each answer: the group of items that it is in, where all groups weigh the same in the figure, however few
    items one has. Of macro-F1 the right label. It is the item's, the same for all arms."""

    weights: Floats | None = None
    """Of each answer: how much of the figure it can make, such as the words of its target for BLEU; without them each
    as much as another. They are the items', the same for all arms."""

    def mean_of(self, sizes: Sequence[int]) -> Summed:
        """Of items that have so many answers each, one behind the other: each item counts once, as their mean."""
        if all(size == 1 for size in sizes):
            return self
        ends = np.cumsum(sizes)
        means = np.stack([_mean(part) for part in np.split(self.counts, ends[:-1])])
        return self._at([int(end) - 1 for end in ends], means)

    def of(self, places: Sequence[int]) -> Summed:
        return self._at(places, self.counts[list(places)])

    def _at(self, places: Sequence[int], counts: Floats) -> Summed:
        strata = None if self.strata is None else [self.strata[at] for at in places]
        return Summed(counts, self.value, strata, None if self.weights is None else self.weights[list(places)])

    @property
    def known(self) -> NDArray[np.bool_]:
        return np.asarray(~np.isnan(self.counts).any(axis=-1))

    def effective(self, of_cluster: NDArray[np.int64]) -> float:
        """Clusters of one size that would tell as much (Carter, Schnepel & Steigerwald 2017): a few long texts can make
        a figure that counts words. Where groups of items weigh the same, at most as many as there would be if each had
        as few clusters as the rarest."""
        sizes = np.bincount(of_cluster, weights=self.weights)
        if not sizes.any():  # no item has any words
            return 1.0
        most = float(sizes.sum() ** 2 / (sizes**2).sum())
        if self.strata is None:
            return most
        clusters: dict[Hashable, set[int]] = {}
        for stratum, cluster in zip(self.strata, of_cluster, strict=True):
            clusters.setdefault(stratum, set()).add(int(cluster))
        return min(most, float(len(clusters) * min(map(len, clusters.values()))))


def interval(summed: Summed, clusters: Sequence[Hashable] | None = None) -> Interval:
    """One arm's figure with its 95 % interval: Wilson's for as many yes/no items as would have its standard error, with
    Student's t. `summed` has a row for each item. Raises `InvalidInput` for no items."""
    of_cluster = _places(clusters, len(summed.counts))
    whole, without = _left_out(summed, of_cluster)
    se, effective = _error(without), summed.effective(of_cluster)
    value = min(max(whole, 0.0), 1.0)
    # Where nothing varies, an item that counts is one item: more than that it cannot prove.
    like = value * (1 - value) / se**2 if se > 0 and 0 < value < 1 else effective
    alone = effective <= 1.0 + 1e-9  # it shows nothing of others
    low, high = (0.0, 1.0) if alone else score_bounds(value, like, _quantile(effective))
    return Interval(
        value=value,
        low=max(low, 0.0),
        high=min(high, 1.0),
        n=len(summed.counts),
        clusters=None if clusters is None else len(without),
    )


def gap(first: Summed, second: Summed, clusters: Sequence[Hashable] | None, **names: str) -> Comparison:
    """`first` against `second`, of the same items in the same order; `names` are the arms and the metric. `clusters`
    has a label for each item. Raises `InvalidInput` where there is none, or not as many of both."""
    if len(first.counts) != len(second.counts):
        raise InvalidInput(f"paired samples differ in length: {len(first.counts)} and {len(second.counts)}")
    of_cluster = _places(clusters, len(first.counts))
    (mine, mine_without), (theirs, theirs_without) = (_left_out(side, of_cluster) for side in (first, second))
    delta, without = mine - theirs, mine_without - theirs_without
    count, effective, se = len(without), first.effective(of_cluster), _error(without)
    shares = np.clip(count * delta - (count - 1) * without, -1.0, 1.0)
    least, most = float(shares.min()), float(shares.max())
    clustered = Spread(
        np.asarray(delta), np.asarray(se), max(1, int(effective)), effective, np.asarray(least), np.asarray(most)
    )
    low, high = t_bounds(clustered)
    return Comparison(
        **names,
        delta=delta,
        low=low,
        high=high,
        p_value=_exchanged(first, second, of_cluster),
        test=RANDOMISATION,
        n=len(first.counts),
        se=se,
        clusters=None if clusters is None else count,
        effective_clusters=effective,
        least=least,
        most=most,
    )


def error(summed: Summed, clusters: Sequence[Hashable] | None) -> float:
    """The standard error of one arm's figure; 0 where nothing varies, and for a single cluster."""
    return _error(_left_out(summed, _places(clusters, len(summed.counts)))[1])


def moves(answers: Summed, sizes: Sequence[int]) -> list[list[float]]:
    """Of items with so many answers each: how far each answer, in the place of its item's mean, moves the figure, times
    the number of items. So it is on the scale of one item's score in a mean over items."""
    items = answers.mean_of(sizes)
    total, ends = items.counts.sum(axis=0), np.cumsum(sizes)
    whole = float(items.value(total))
    alone = [_known(part) for part in np.split(answers.counts, ends[:-1])]
    return [
        [len(sizes) * (float(value) - whole) for value in items.value(total - mean + part)]
        for mean, part in zip(items.counts, alone, strict=True)
    ]


def _known(part: Floats) -> Floats:
    return part[~np.isnan(part).any(axis=-1)]


def _mean(part: Floats) -> Floats:
    kept = _known(part)
    return np.asarray(kept.mean(axis=0) if len(kept) else part[0])


def _places(clusters: Sequence[Hashable] | None, n: int) -> NDArray[np.int64]:
    if n == 0:
        raise InvalidInput("no items: a figure needs at least one")
    if clusters is None:
        return np.arange(n)
    if len(clusters) != n:
        raise InvalidInput(f"{len(clusters)} cluster labels for {n} items")
    places = {label: place for place, label in enumerate(dict.fromkeys(clusters))}
    return np.asarray([places[label] for label in clusters])


def _of_clusters(counts: Floats, of_cluster: NDArray[np.int64]) -> Floats:
    sums = np.zeros((int(of_cluster.max()) + 1, counts.shape[-1]))
    np.add.at(sums, of_cluster, counts)
    return sums


def _left_out(summed: Summed, of_cluster: NDArray[np.int64]) -> tuple[float, Floats]:
    """The figure of all, and without each cluster."""
    sums = _of_clusters(summed.counts, of_cluster)
    total = sums.sum(axis=0)
    return float(summed.value(total)), np.asarray(summed.value(total - sums))


def _error(without: Floats) -> float:
    count = len(without)
    se = math.sqrt((count - 1) / count * float(((without - without.mean()) ** 2).sum()))
    return se if se > 1e-12 else 0.0  # what floating point leaves of clusters that are all alike


def _quantile(effective: float) -> float:
    from scipy.stats import t

    return float(t.isf(TAIL, effective - 1))


def _exchanged(first: Summed, second: Summed, of_cluster: NDArray[np.int64]) -> float:
    """Two-sided p: in how many of all exchanges drawn, and this one, the figures are as far apart as they were."""
    mine, theirs = (_of_clusters(side.counts, of_cluster) for side in (first, second))
    apart = mine - theirs
    apart = apart[np.abs(apart).sum(axis=-1) > 0]  # exchanging answers that are alike changes nothing
    ours, others = mine.sum(axis=0), theirs.sum(axis=0)
    observed = abs(float(first.value(ours)) - float(second.value(others)))
    draw, as_far = np.random.default_rng(0), 0
    # By fours, the generator gives the same coins in parts as at once.
    step = min(_AT_ONCE, max(4, _COINS // max(len(apart), 1) // 4 * 4))
    for start in range(0, DRAWS, step):
        coins = draw.integers(0, 2, (min(step, DRAWS - start), len(apart)), dtype=np.int8)
        moved = coins.astype(np.float64) @ apart
        gaps = np.abs(first.value(ours - moved) - second.value(others + moved))
        as_far += int((gaps >= observed - _TIE).sum())
    return (as_far + 1) / (DRAWS + 1)
