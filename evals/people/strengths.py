"""Bradley–Terry: one strength for each arm, so that the chance of a win follows from the difference of two.

Bradley & Terry 1952 (Biometrika 39); fitted as Newman 2023 (JMLR 24) does. Ties and `both bad` are half a win
for each side, as in Chatbot Arena (Chiang et al. 2024, arXiv 2403.04132). Each pair of arms that was compared starts
with half a win for each side, which keeps strengths finite where one arm never lost; for two arms that is Jeffreys'
prior (Firth 1993, Biometrika 80). Intervals are of a bootstrap over clusters of items (Efron & Tibshirani 1993).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evals.people.tally import Said
from evals.statistics.intervals import TAIL
from lifecycle.errors import InvalidInput
from lifecycle.interval import Interval

DRAWS = 1000
_NEAR, _MOST = 1e-9, 10_000
_AT_ONCE = 2_000_000
"""Of clusters and draws: 16 MB, however many items there are."""
_Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Strength:
    """Of one arm, beside the others of the campaign."""

    arm: str
    log_odds: Interval
    """Mean 0 over the arms; a difference of two is the log-odds of a win."""
    beats: Interval
    """The chance of a win over the first arm; one half for that itself."""


def strengths(said: Sequence[Said], arms: Sequence[str], *, seed: int, draws: int = DRAWS) -> tuple[Strength, ...]:
    """In the order of `arms`, the baseline first. Raises `InvalidInput` where some were never compared, so that nothing
    says which is the stronger."""
    wins, clusters = _wins(said, arms)
    whole = wins.sum(axis=0)
    met = (whole + whole.T) > 0
    if apart := _apart(met, arms):
        raise InvalidInput(f"nothing that is said of {', '.join(apart)} compares them with {arms[0]}; ask for more")
    start = np.where(met, 0.5, 0.0)
    rng = np.random.default_rng(seed)
    step = max(1, _AT_ONCE // clusters)
    parts = [
        np.tensordot(rng.multinomial(clusters, np.full(clusters, 1 / clusters), size=size), wins, axes=1)
        for size in (min(step, draws - at) for at in range(0, draws, step))
    ]
    drawn = _fit(np.concatenate(parts) + start)
    value = _fit((whole + start)[None])[0]
    items = len({word.item.key for word in said if word.preferred is not None})
    return tuple(
        Strength(
            arm,
            _interval(value[at], drawn[:, at], items, clusters),
            _interval(_chance(value[at] - value[0]), _chance(drawn[:, at] - drawn[:, 0]), items, clusters),
        )
        for at, arm in enumerate(arms)
    )


def _wins(said: Sequence[Said], arms: Sequence[str]) -> tuple[_Matrix, int]:
    """Cluster × winner × loser: each item gives each of its pairs one win, shared as its words share it."""
    places = {arm: at for at, arm in enumerate(arms)}
    words = [word for word in said if word.preferred is not None]
    if not words:
        raise InvalidInput("nobody has voted: there is nothing to fit")
    each = Counter((word.item.key, frozenset((word.arm, word.against))) for word in words)
    clusters: dict[str, int] = defaultdict(lambda: len(clusters))
    wins = np.zeros((len({word.cluster for word in words}), len(arms), len(arms)))
    for word in words:
        assert word.preferred is not None
        own, other, at = places[word.arm], places[word.against], clusters[word.cluster]
        share = 1 / each[word.item.key, frozenset((word.arm, word.against))]
        wins[at, own, other] += share * word.preferred.points
        wins[at, other, own] += share * (1 - word.preferred.points)
    return wins, len(wins)


def _fit(wins: _Matrix) -> _Matrix:
    """Log-strengths of mean 0 from matrices of winner × loser, one for each draw: Newman's iteration, arm by arm."""
    draws, arms, _ = wins.shape
    strength = np.ones((draws, arms))
    for _ in range(_MOST):
        before = strength.copy()
        for at in range(arms):
            own = strength[:, at, None]
            won = (wins[:, at] * strength / (own + strength)).sum(axis=1)
            strength[:, at] = won / (wins[:, :, at] / (own + strength)).sum(axis=1)
        strength /= np.exp(np.log(strength).mean(axis=1, keepdims=True))
        if np.abs(np.log(strength / before)).max() < _NEAR:
            break
    return np.asarray(np.log(strength), dtype=np.float64)


def _apart(met: NDArray[np.bool_], arms: Sequence[str]) -> list[str]:
    from scipy.sparse.csgraph import connected_components

    _, group = connected_components(met, directed=False)
    return [arm for arm, of in zip(arms, group, strict=True) if of != group[0]]


def _chance(gap: _Matrix) -> _Matrix:
    return np.asarray(1 / (1 + np.exp(-gap)), dtype=np.float64)


def _interval(value: float | _Matrix, drawn: _Matrix, items: int, clusters: int) -> Interval:
    low, high = np.quantile(drawn, [TAIL, 1 - TAIL])
    counted = clusters if clusters < items else None
    at = float(value)
    return Interval(value=at, low=min(float(low), at), high=max(float(high), at), n=items, clusters=counted)
