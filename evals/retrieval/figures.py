"""How good one ranking is against the passages that are right. Pure functions, from 0 to 1, higher is better.

`ranked` are passage ids, best first; one that comes twice counts where it came first. `gold` are those that are right;
every function raises `InvalidInput` when there are none, because then nothing could be found. The figures are those of
trec_eval (`recall`, `P`, `recip_rank`, `ndcg_cut`): a test holds them equal to `pytrec-eval-terrier`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from lifecycle.errors import InvalidInput


def recall(ranked: Sequence[str], gold: Collection[str], k: int) -> float:
    """The share of the right passages that are among the first `k`."""
    right = _right(gold)
    return len(right & set(_first(ranked, k))) / len(right)


def precision(ranked: Sequence[str], gold: Collection[str], k: int) -> float:
    """The share of `k` places that hold a right passage; a place that nothing was found for holds none."""
    right = _right(gold)
    return len(right & set(_first(ranked, k))) / k


def reciprocal_rank(ranked: Sequence[str], gold: Collection[str], k: int | None = None) -> float:
    """1 / the place of the first right passage, of all or of the first `k`; 0 where there is none. Its mean is MRR."""
    right = _right(gold)
    first = _first(ranked, len(ranked) if k is None else k) if ranked else []
    return next((1 / place for place, name in enumerate(first, start=1) if name in right), 0.0)


def ndcg(ranked: Sequence[str], gold: Collection[str] | Mapping[str, float], k: int) -> float:
    """Normalised discounted cumulative gain of the first `k` (Järvelin & Kekäläinen 2002), with the gain as it stands
    and the discount log2(place + 1).

    `gold` may say how right each passage is, as a mapping to numbers above 0; else every one is worth 1.
    """
    right = _right(gold)
    worth = dict(gold) if isinstance(gold, Mapping) else dict.fromkeys(right, 1.0)
    if not all(math.isfinite(gain) and gain > 0 for gain in worth.values()):
        raise InvalidInput("the worth of a right passage is a number above 0; leave out those that are worth nothing")
    best = sorted(worth.values(), reverse=True)[:k]
    return _discounted([worth.get(name, 0.0) for name in _first(ranked, k)]) / _discounted(best)


def _discounted(gains: Sequence[float]) -> float:
    return math.fsum(gain / math.log2(place + 1) for place, gain in enumerate(gains, start=1))


def _first(ranked: Sequence[str], k: int) -> list[str]:
    if k < 1:
        raise InvalidInput(f"there are no first {k} passages: k is 1 or more")
    return list(dict.fromkeys(ranked))[:k]


def _right(gold: Collection[str]) -> set[str]:
    if not gold:
        raise InvalidInput("no passage is right, so nothing can be found: such a question has no recall")
    return set(gold)
