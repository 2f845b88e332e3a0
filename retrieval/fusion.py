"""Reciprocal-rank fusion: one ranking out of several, with no scores to calibrate."""

from __future__ import annotations

from collections.abc import Sequence


def reciprocal_rank_fusion(rankings: Sequence[Sequence[int]], k: int = 60) -> list[tuple[int, float]]:
    """Items with their fused score, best first; equal scores go to the lower item number.

    score(d) = Σ 1 / (k + rank of d) over the rankings that hold d, ranks from 1.
    Cormack, Clarke & Buettcher, "Reciprocal rank fusion outperforms Condorcet and individual rank learning
    methods", SIGIR 2009, p. 758, where k = 60.
    """
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, item in enumerate(ranking, start=1):
            scores[item] = scores.get(item, 0.0) + 1.0 / (k + rank)
    return sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))
