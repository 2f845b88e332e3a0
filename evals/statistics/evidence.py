"""What a comparison proves: p for a bound, the smallest difference it could have seen, and the level it is held to.

Pure, and by the comparison's own counts alone: no answer is looked at again, and nothing is drawn. `rules.py` asks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from evals.statistics import tango
from evals.statistics.clusters import Spread, t_tail
from lifecycle.errors import InvalidInput
from lifecycle.report import RANDOMISATION, Comparison

POWER = 0.8


def p_above(comparison: Comparison, bound: float = 0.0) -> float:
    """One-sided p of a true difference of at most `bound`; small when the arm is shown to be better than that.

    Yes/no metrics of independent items: the exact McNemar test against 0, the exact score test against other bounds.
    All others: Student's t over clusters; against 0 the exact sign-flip test (of figures of all items together, the
    randomisation test) has to agree, because Student's is too sure of few clusters and of rare events. 1 for a
    comparison of a report from before that kept neither count.
    """
    if comparison.wins is not None and comparison.losses is not None:
        return (
            mcnemar(comparison.wins, comparison.losses)
            if bound == 0
            else tango.exact_p(comparison.wins, comparison.losses, comparison.n, bound)
        )
    clustered = _spread(comparison)
    if clustered is None:
        return 1.0
    by_t = float(t_tail(clustered, bound))
    if bound != 0:
        return by_t
    return max(by_t, comparison.p_value / 2 if comparison.delta > 0 else 1 - comparison.p_value / 2)


def p_below(comparison: Comparison, bound: float = 0.0) -> float:
    """One-sided p of a true difference of at least `bound`; small when the arm is shown to be worse than that."""
    return p_above(comparison.turned, -bound)


@lru_cache(maxsize=65_536)
def mcnemar(wins: int, losses: int) -> float:
    """One-sided p of the exact McNemar test: at least so many wins among the discordant items, when each is a coin."""
    from scipy.stats import binom

    return float(binom.sf(wins - 1, wins + losses, 0.5)) if wins else 1.0


def smallest_seen(comparison: Comparison, bound: float, level: float) -> float:
    """The smallest true difference that passes against `bound` at `level` in 4 of 5 runs like this; `inf` for none.

    Exact for McNemar's test, for which the share of discordant items is taken as it was; else by the normal or
    Student's approximation.
    """
    if comparison.wins is not None and comparison.losses is not None:
        discordant = (comparison.wins + comparison.losses) / comparison.n
        if bound == 0:
            return _mcnemar_sees(comparison.n, discordant, level)
        return _score_sees(comparison.n, discordant, bound, level)
    clustered = _spread(comparison)
    if clustered is None or clustered.effective <= 1 + 1e-9:
        return math.inf
    from scipy.stats import t

    freedom = clustered.effective - 1
    by_t = bound + float(clustered.se) * float(t.isf(level, freedom) + t.isf(1 - POWER, freedom))
    unseen = 1 - level ** (1 / clustered.clusters)  # nothing that was never drawn can be told from `bound` below this
    sees = max(by_t, bound + unseen) if clustered.se == 0 else by_t
    return sees if sees <= 1 else math.inf


def mcnemar_power(n: int, difference: float, discordant: float, level: float) -> float:
    """The chance that `n` items pass the exact one-sided McNemar test at `level`: exact, over all discordant counts."""
    from scipy.stats import binom

    if n < 1 or not 0 <= abs(difference) <= discordant <= 1:
        raise InvalidInput(f"a difference of {difference} cannot come from a discordant share of {discordant}")
    if discordant == 0:
        return 0.0
    counts = np.arange(n + 1)
    weights = binom.pmf(counts, n, discordant)
    counts, weights = counts[weights > 1e-12], weights[weights > 1e-12]
    fewest = binom.isf(level, counts, 0.5)  # one more than this is the fewest wins that pass
    return float((weights * binom.sf(fewest, counts, (1 + difference / discordant) / 2)).sum())


@lru_cache(maxsize=1024)
def _mcnemar_sees(n: int, discordant: float, level: float) -> float:
    if mcnemar_power(n, 1.0, 1.0, level) < POWER:
        return math.inf
    low, high = 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        # A difference larger than what was discordant here needs as many discordant items.
        if mcnemar_power(n, middle, max(discordant, middle), level) < POWER:
            low = middle
        else:
            high = middle
    return high


def _score_sees(n: int, discordant: float, bound: float, level: float) -> float:
    from scipy.stats import norm

    z_level, z_power = float(norm.isf(level)), float(norm.isf(1 - POWER))
    least = math.sqrt(max(discordant, abs(bound)) - bound**2)
    sees = bound
    for _ in range(50):  # the spread under the truth depends on the truth; this settles within a few rounds
        spread = math.sqrt(max(max(discordant, abs(sees)) - sees**2, 0.0))
        sees = min(1.0, bound + (z_level * least + z_power * spread) / math.sqrt(n))
    return sees if sees < 1 else math.inf


def spent(alpha: float, number: int) -> float:
    """What try `number` on the same items may use of `alpha`: over all tries, however many, it adds up to `alpha`."""
    if number < 1:
        raise InvalidInput(f"there is no try {number}")
    return alpha / (number * (number + 1))


def holm_levels(p_values: Sequence[float] | NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
    """The level that each candidate is held to, so that one equal candidate of all passes with at most `alpha` (Holm
    1979): alpha over the number of those that have not passed before it, in the order of their p.

    Along the last axis. A candidate passes when its p is at most its level.
    """
    p = np.asarray(p_values, dtype=np.float64)
    count = p.shape[-1]
    if count == 0:
        return p
    order = np.argsort(p, axis=-1, kind="stable")
    steps = alpha / (count - np.arange(count))
    passes = np.cumprod(np.take_along_axis(p, order, axis=-1) <= steps, axis=-1).sum(axis=-1, keepdims=True)
    rank = np.argsort(order, axis=-1, kind="stable")
    return np.asarray(steps[np.minimum(rank, np.minimum(passes, count - 1))], dtype=np.float64)


def _spread(comparison: Comparison) -> Spread | None:
    if comparison.se is None or comparison.least is None or comparison.most is None:
        return None
    count = comparison.clusters or comparison.n
    if comparison.test == RANDOMISATION and comparison.effective_clusters is not None:
        count = max(1, int(comparison.effective_clusters))  # one that was never drawn may be of the rarest label
    return Spread(
        mean=np.asarray(comparison.delta),
        se=np.asarray(comparison.se),
        clusters=count,
        effective=comparison.effective_clusters if comparison.effective_clusters is not None else float(count),
        least=np.asarray(comparison.least),
        most=np.asarray(comparison.most),
    )
