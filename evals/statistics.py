"""Intervals and tests for figures over the same items. Pure functions of numbers and a seed.

Everything here raises `InvalidInput` for an empty sample: a mean of nothing is a mistake upstream, never 0.0.
Read `comparison.py` next: it applies these to the arms.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from lifecycle.errors import InvalidInput
from lifecycle.intervals import Z_TWO_SIDED, wilson
from lifecycle.report import Interval

LEVEL = 0.95
RESAMPLES = 9_999
_Z_POWER = 0.8416212335729143  # 80 % point: the usual power

Floats = NDArray[np.float64]


def is_binary(values: Sequence[float]) -> bool:
    """Whether every value is 0 or 1, so that a share's interval and McNemar's test apply."""
    return all(value in (0.0, 1.0) for value in values)


def rule_of_three(n: int) -> float:
    """Upper 95 % bound of a rate after no event in `n` trials, about 3/n (Hanley & Lippman-Hand 1983)."""
    if n < 1:
        raise InvalidInput("the rule of three needs at least one trial")
    return min(1.0, 3 / n)


def mean_interval(values: Sequence[float], *, seed: int, clusters: Sequence[Hashable] | None = None) -> Interval:
    """The mean of scores in [0, 1] with its 95 % interval: Wilson's for yes/no scores, else bootstrapped.

    With `clusters` (one label per value) whole clusters are resampled, because items that share a passage or a
    conversation are not independent.
    """
    sample = _sample(values)
    if clusters is None and is_binary(values):
        return wilson(int(sample.sum()), len(sample))
    low, high = _bootstrap(sample, clusters, seed, floor=0.0)
    return Interval(value=float(sample.mean()), low=low, high=high, n=len(sample))


def paired_interval(differences: Sequence[float], *, seed: int, clusters: Sequence[Hashable] | None = None) -> Interval:
    """The mean of paired differences, each in [-1, 1], with a BCa bootstrap interval (Efron 1987, JASA 82).

    Resampling differences is resampling pairs. Where all differences are equal the bootstrap has nothing to say, and
    [d, d] would claim certainty: then up to a share of 3/n of unseen items may lie at the far ends.
    """
    sample = _sample(differences)
    low, high = _bootstrap(sample, clusters, seed, floor=-1.0)
    return Interval(value=float(sample.mean()), low=low, high=high, n=len(sample))


def mcnemar(first: Sequence[float], second: Sequence[float]) -> float:
    """Two-sided p of the exact McNemar test on yes/no scores of the same items: binomial on the discordant pairs."""
    from scipy.stats import binomtest

    a, b = _sample(first), _sample(second)
    if len(a) != len(b):
        raise InvalidInput(f"paired samples differ in length: {len(a)} and {len(b)}")
    only_first, only_second = int(((a == 1) & (b == 0)).sum()), int(((a == 0) & (b == 1)).sum())
    if only_first + only_second == 0:
        return 1.0
    return float(binomtest(only_first, only_first + only_second).pvalue)


def bootstrap_p(differences: Sequence[float], *, seed: int, clusters: Sequence[Hashable] | None = None) -> float:
    """Two-sided p for a mean difference of zero: how often a resample of the centred differences is as far from 0.

    Efron & Tibshirani, *An Introduction to the Bootstrap*, §16.4; (1 + hits) / (1 + resamples), so never 0.
    """
    sums, counts = _clustered(_sample(differences), clusters)
    mean = sums.sum() / counts.sum()
    if not np.any(sums - mean * counts):
        return 1.0 if mean == 0 else 1 / (RESAMPLES + 1)
    picks = np.random.default_rng(seed).integers(0, len(sums), size=(RESAMPLES, len(sums)))
    centred = (sums - mean * counts)[picks].sum(axis=1) / counts[picks].sum(axis=1)
    # The tolerance keeps ties, which floating point would split at random.
    return float((1 + int((np.abs(centred) >= abs(mean) - 1e-12).sum())) / (RESAMPLES + 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (1979), in the order given; none is adjusted when there is none."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, running = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def items_for_power(difference: float, discordant: float) -> int:
    """Items that a McNemar test needs to find `difference` with 80 % power at alpha 0.05, two-sided.

    `discordant` is the share of items on which the two disagree (Connor 1987, Biometrics 43).
    """
    if not 0 < abs(difference) <= discordant <= 1:
        raise InvalidInput(f"a difference of {difference} cannot come from a discordant share of {discordant}")
    root = Z_TWO_SIDED * math.sqrt(discordant) + _Z_POWER * math.sqrt(discordant - difference**2)
    return math.ceil((root / difference) ** 2)


def items_from_interval(width: float, n: int, difference: float) -> int:
    """Items needed for `difference` at 80 % power, when `n` items gave an interval of full `width`.

    The interval gives the spread of one item's difference, for metrics of any kind (normal approximation).
    """
    if difference == 0 or width <= 0 or n < 1:
        raise InvalidInput("needs a difference that is not 0, and an interval with a width")
    spread = width / (2 * Z_TWO_SIDED) * math.sqrt(n)
    return math.ceil(((Z_TWO_SIDED + _Z_POWER) * spread / difference) ** 2)


def _sample(values: Sequence[float]) -> Floats:
    sample = np.asarray(values, dtype=np.float64)
    if sample.size == 0:
        raise InvalidInput("no items: a figure needs at least one")
    if not np.isfinite(sample).all():
        raise InvalidInput("a score is not a finite number")
    return sample


def _clustered(sample: Floats, clusters: Sequence[Hashable] | None) -> tuple[Floats, Floats]:
    """Sum and size of each cluster, in order of first appearance; every value is its own cluster without labels."""
    if clusters is None:
        return sample, np.ones_like(sample)
    if len(clusters) != len(sample):
        raise InvalidInput(f"{len(clusters)} cluster labels for {len(sample)} items")
    places = {label: place for place, label in enumerate(dict.fromkeys(clusters))}
    index = [places[label] for label in clusters]
    sums = np.asarray(np.bincount(index, weights=sample), dtype=np.float64)
    return sums, np.asarray(np.bincount(index), dtype=np.float64)


def _bootstrap(sample: Floats, clusters: Sequence[Hashable] | None, seed: int, floor: float) -> tuple[float, float]:
    """95 % bounds of the mean: BCa, the percentile method where BCa has no answer, 3/n where nothing varies."""
    from scipy.stats import bootstrap

    sums, counts = _clustered(sample, clusters)
    if np.ptp(sums / counts) == 0:
        mean, unseen = float(sample.mean()), rule_of_three(len(sums))
        return mean - unseen * (mean - floor), mean + unseen * (1.0 - mean)

    def ratio(totals: Floats, sizes: Floats, axis: int = -1) -> Floats:
        return np.asarray(totals.sum(axis=axis) / sizes.sum(axis=axis), dtype=np.float64)

    for method in ("BCa", "percentile"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "degenerate distribution": handled by the next method
            found = bootstrap(
                (sums, counts), ratio, paired=True, vectorized=True, n_resamples=RESAMPLES, confidence_level=LEVEL,
                method=method, rng=np.random.default_rng(seed),
            ).confidence_interval  # fmt: skip
        low, high = float(found.low), float(found.high)
        if math.isfinite(low) and math.isfinite(high):
            return low, high
    raise InvalidInput("the bootstrap found no interval")
