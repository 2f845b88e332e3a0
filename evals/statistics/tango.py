"""Shares of the same items against a bound: Tango's score statistic, its interval, and an exact test ordered by it.

Of `n` items, `wins` are those that only the first arm got right, `losses` those that only the second did.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lifecycle.errors import InvalidInput
from lifecycle.intervals import Z_TWO_SIDED

Floats = NDArray[np.float64]
Counts: TypeAlias = "int | NDArray[np.float64]"
_TIE = 1e-9
"""Statistics that differ by less are one: floating point would part them."""
_COARSE, _FINE = 48, 24
"""Points at which the unknown share of losses is tried, and between the best one's neighbours."""


def statistic(wins: Counts, losses: Counts, n: int, bound: float | Floats) -> Floats:
    """Tango's score statistic for a difference of `bound`: standard normal under it (Tango 1998, Stat Med 17:891)."""
    b, c = np.asarray(wins, dtype=np.float64), np.asarray(losses, dtype=np.float64)
    # The share of losses that is most likely if the difference is `bound`: the root of a quadratic.
    half = (b + c - (2 * n - b + c) * bound) / (4 * n)
    share = half + np.sqrt(np.maximum(half**2 + c * bound * (1 - bound) / (2 * n), 0.0))
    variance = n * (2 * share + bound * (1 - bound))
    gap = b - c - n * bound
    with np.errstate(divide="ignore", invalid="ignore"):
        value = gap / np.sqrt(np.maximum(variance, 0.0))
    # Without variance only a gap of nothing is possible, but for floating point.
    return np.where(variance > 1e-12, value, np.where(np.abs(gap) < _TIE, 0.0, np.copysign(np.inf, gap)))


def _of_one(wins: int, losses: int, n: int, bound: float) -> float:
    """`statistic` of one table and one bound, without numpy: for single numbers a fortieth of the time."""
    half = (wins + losses - (2 * n - wins + losses) * bound) / (4 * n)
    share = half + math.sqrt(max(half * half + losses * bound * (1 - bound) / (2 * n), 0.0))
    variance = n * (2 * share + bound * (1 - bound))
    gap = wins - losses - n * bound
    if variance > 1e-12:
        return gap / math.sqrt(variance)
    return 0.0 if abs(gap) < _TIE else math.copysign(math.inf, gap)


@lru_cache(maxsize=4096)
def interval(wins: int, losses: int, n: int) -> tuple[float, float]:
    """Tango's 95 % score interval of the difference: all bounds that the statistic does not reject."""
    _check(wins, losses, n)
    estimate = (wins - losses) / n

    def edge(inside: float, outside: float) -> float:
        for _ in range(60):
            middle = (inside + outside) / 2
            if abs(_of_one(wins, losses, n, middle)) <= Z_TWO_SIDED:
                inside = middle
            else:
                outside = middle
        return inside

    return edge(estimate, -1.0), edge(estimate, 1.0)


@lru_cache(maxsize=4096)
def exact_p(wins: int, losses: int, n: int, bound: float) -> float:
    """One-sided p of a difference of at most `bound`: the largest chance, over all shares of losses, of a table whose
    statistic is as high as this one's.

    Exact and unconditional (Sidik 2003, Stat Med 22:265). The normal tail of the statistic itself passes too often at
    the levels that many tries leave, three times and more (`docs/decisions/0012-levels-of-the-gate.md`).
    """
    _check(wins, losses, n)
    if not -1 < bound < 1:
        raise InvalidInput(f"a difference cannot be bounded by {bound}")
    least = _least_wins(n, bound, float(statistic(wins, losses, n, bound)))
    low, high = max(0.0, -bound), (1.0 - bound) / 2
    tried = low + (high - low) * np.linspace(0.0, 1.0, _COARSE) ** 2  # denser where losses are rare
    chances = [_chance(n, bound, share, least) for share in tried]
    best = int(np.argmax(chances))
    between = np.linspace(tried[max(best - 1, 0)], tried[min(best + 1, _COARSE - 1)], _FINE)
    return min(1.0, max(*chances, *(_chance(n, bound, share, least) for share in between)))


def _least_wins(n: int, bound: float, observed: float) -> Floats:
    """For each number of losses from 0 to n: the fewest wins with a statistic of at least `observed`.

    More wins never lower the statistic, so it is found by halving; beyond what is possible when there is none.
    """
    losses = np.arange(n + 1, dtype=np.float64)
    low, high = np.zeros(n + 1), n - losses + 1.0
    for _ in range(int(n).bit_length() + 1):
        middle = np.floor((low + high) / 2)
        enough = statistic(middle, losses, n, bound) >= observed - _TIE
        high = np.where(enough, middle, high)
        low = np.where(enough, low, np.minimum(middle + 1, high))
    return high


def _chance(n: int, bound: float, share: float, least: Floats) -> float:
    """The chance of a table in the region, when losses have this share and wins `bound` more."""
    from scipy.stats import binom

    losses = np.arange(n + 1)
    weights = binom.pmf(losses, n, share)
    likely = weights > 1e-16
    rest = 1.0 - share
    wins = min(1.0, max(0.0, (share + bound) / rest)) if rest > 0 else 0.0
    return float((weights[likely] * binom.sf(least[likely] - 1, n - losses[likely], wins)).sum())


def _check(wins: int, losses: int, n: int) -> None:
    if n < 1 or wins < 0 or losses < 0 or wins + losses > n:
        raise InvalidInput(f"there are no {wins} wins and {losses} losses in {n} items")
