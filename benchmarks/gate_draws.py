"""Made-up candidates for the gate: their items' results, and what the gate's own tests and two others make of them.

A draw is one test set, one base's answers on it, and `TRIES` runs of `CANDIDATES` candidates each. Everything is kept
as counts or totals, which is all that the tests need. `gate.py` holds the shares of what passes against its bars.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from evals.gate.rules import Clusters
from evals.statistics.clusters import Spread, sign_flip, spread, t_tail
from evals.statistics.evidence import mcnemar

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

TRIES, CANDIDATES = 20, 4
DISCORDANT = 0.22
ALIKE = 0.2
"""Correlation of the items of one cluster."""
FEWEST = int(Clusters.model_fields["at_least"].default)


@dataclass(frozen=True)
class Cell:
    """One condition: items, the base's share of right answers, and into how many clusters the items fall."""

    n: int
    base: float
    clusters: int | None = None
    lead: float = 0.0
    """By which the first candidate of each run is better than the base; only without clusters."""
    discordant: float = DISCORDANT
    """Share of the items on which a candidate and the base differ, as far as the base leaves room for it."""

    @property
    def differing(self) -> float:
        return min(self.discordant, 2 * self.base * (1 - self.base))

    @property
    def judged(self) -> bool:
        """Whether the gate decides at all, or asks for more clusters."""
        return self.clusters is None or self.clusters >= FEWEST


@dataclass(frozen=True)
class Draws:
    """`p` that a candidate is no better than the base, draws × tries × candidates, and whether MLflow's rule calls it
    improved."""

    p: Floats
    improved: Bools


def equal(cell: Cell, draws: int, rng: np.random.Generator, tries: int = TRIES) -> Draws:
    """Candidates that are as good as the base, but for the first one's lead where the cell has one."""
    if cell.clusters is not None:
        return _clustered(cell, draws, rng)
    right = rng.binomial(cell.n, cell.base, (draws, 1, 1))
    leads = np.array([cell.lead] + [0.0] * (CANDIDATES - 1))
    shape = (draws, tries, CANDIDATES)
    wins = rng.binomial(cell.n - right, (cell.differing + leads) / 2 / (1 - cell.base), shape)
    losses = rng.binomial(right, (cell.differing - leads) / 2 / cell.base, shape)
    return Draws(by_pair(mcnemar, wins, losses), improved(wins, losses))


def improved(wins: Ints, losses: Ints) -> Bools:
    """MLflow 3.18 `genai.compare_evaluations` on yes/no scores: McNemar's exact test, two-sided p below 0.05, of each
    comparison alone; clusters are not known to it."""
    return np.asarray((wins > losses) & (by_pair(mcnemar, wins, losses) * 2 < 0.05))


def go(deltas: Floats, errors: Floats, n: int, max_drop: float) -> Bools:
    """NeMo Evaluator 0.3 `nel gate`: the 95 % t-interval of the paired differences lies above -max_drop."""
    from scipy.stats import t

    return np.asarray(deltas - t.isf(0.025, n - 1) * errors >= -max_drop - 1e-12)


def by_pair(function: Callable[[int, int], float], first: Ints, second: Ints) -> Floats:
    """`function` of every pair, called once for each pair that there is."""
    pairs, places = np.unique(np.stack([first.ravel(), second.ravel()], axis=1), axis=0, return_inverse=True)
    values = np.array([function(int(a), int(b)) for a, b in pairs])
    return np.asarray(values[places.ravel()].reshape(first.shape), dtype=np.float64)


@lru_cache
def sizes_of(n: int, clusters: int) -> Ints:
    """Unequal sizes that add up to `n`: the largest cluster has some ten times the smallest."""
    weights = np.linspace(1.0, 4.0, clusters) ** 2
    sizes = np.maximum(1, np.floor(weights / weights.sum() * n)).astype(np.int64)
    sizes[-1] += n - sizes.sum()
    while sizes[-1] < 1:  # few items for many clusters: the large ones give
        sizes[int(np.argmax(sizes))] -= 1
        sizes[-1] += 1
    return np.asarray(sizes)


def cluster_p(sums: Ints, found: Spread, above: float = 0.0, worth_knowing: float = 0.05) -> Floats:
    """What `evidence.p_above` says of many samples at once. p above `worth_knowing` is by Student's t alone: the
    sign-flip test could only raise it."""
    p = t_tail(found, above)
    if above == 0:
        flat, totals = p.reshape(-1), sums.reshape(-1, sums.shape[-1])
        for at in np.flatnonzero(flat <= worth_knowing):
            flat[at] = max(flat[at], sign_flip(totals[at].astype(np.float64)) / 2)
    return p


def knows(cell_base: float, shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Shares of right answers, one a cluster, around `cell_base`."""
    spread_by = (1 - ALIKE) / ALIKE
    return np.asarray(rng.beta(cell_base * spread_by, (1 - cell_base) * spread_by, shape), dtype=np.float64)


def _clustered(cell: Cell, draws: int, rng: np.random.Generator) -> Draws:
    assert cell.clusters is not None
    sizes = sizes_of(cell.n, cell.clusters)
    right = rng.binomial(sizes, knows(cell.base, (draws, 1, cell.clusters), rng))
    p, better = np.ones((draws, TRIES, CANDIDATES)), np.zeros((draws, TRIES, CANDIDATES), dtype=bool)
    for number in range(TRIES):
        share = knows(cell.base, (draws, CANDIDATES, cell.clusters), rng)
        wins, losses = rng.binomial(sizes - right, share), rng.binomial(right, 1 - share)
        better[:, number] = improved(wins.sum(axis=-1), losses.sum(axis=-1))
        sums = wins - losses
        p[:, number] = cluster_p(sums, spread(sums.astype(np.float64), sizes.astype(np.float64)), worth_knowing=0.006)
    return Draws(p, better)
