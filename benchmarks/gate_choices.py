"""Why the gate uses the tests that it uses: how often each option passes a candidate that must not, over its level.

    python -m benchmarks.gate_choices

1 is what a test promises, more is too often. Prints the tables of docs/decisions/0012-levels-of-the-gate.md.
"""

from __future__ import annotations

import itertools
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from scipy.stats import binom, norm, t

from benchmarks.gate import ALPHA, table_of
from benchmarks.gate_draws import knows, sizes_of
from evals.statistics import tango
from evals.statistics.clusters import Spread, sign_flip, spread, t_tail
from evals.statistics.evidence import spent

LEVELS = (0.025, spent(ALPHA, 1), spent(ALPHA, 1) / 4, spent(ALPHA, 5))

Floats = NDArray[np.float64]


def over_clusters(draws: int, seed: int, console: Console) -> None:
    """Equal candidates over clusters of unequal sizes, and candidates that lose exactly 2 points."""
    for margin, title in ((0.0, "Equal candidates"), (0.02, "Candidates that lose exactly the 2 points allowed")):
        table = table_of(f"{title}, clusters of unequal sizes, n=1000: passes over the level of each test")
        for name in ("clusters", "base", "test", *(f"{level:.2g}" for level in LEVELS)):
            table.add_column(name, justify="left" if name == "test" else "right")
        for clusters, base in itertools.product((8, 20, 73, 200), (0.3, 0.95)):
            rng = np.random.default_rng((seed, clusters, int(100 * base)))
            sizes, shape = sizes_of(1_000, clusters), (draws, clusters)
            better, worse = (rng.binomial(sizes, knows(share, shape, rng)) for share in (base, base - margin))
            sums = (worse - better).astype(np.float64)
            for name, p in _tests(sums, spread(sums, sizes.astype(np.float64)), -margin).items():
                rates = (f"{(p <= level).mean() / level:.2f}" for level in LEVELS)
                table.add_row(str(clusters), f"{base:g}", name, *rates)
        console.print(table)


def _tests(sums: Floats, found: Spread, bound: float) -> dict[str, Floats]:
    with np.errstate(divide="ignore", invalid="ignore"):
        naive = t.sf((found.mean - bound) / found.se, found.clusters - 1)
    careful = t_tail(found, bound)
    if bound != 0:
        return {"t, clusters less one": naive, "t, effective": careful}
    flips = np.ones_like(careful)
    for at in np.flatnonzero(np.minimum(naive, careful) <= 4 * max(LEVELS)):
        flips[at] = sign_flip(sums[at]) / 2
    return {
        "t, clusters less one": naive,
        "t, effective": careful,
        "sign-flip": flips,
        "both": np.maximum(careful, flips),
    }


def against_a_bound(console: Console) -> None:
    """Shares against a bound: the normal tail of Tango's statistic, and the exact test ordered by it. No draws."""
    table = table_of("Shares of independent items against a bound: largest chance to pass, over the level")
    for name in ("bound", "n", "test", *(f"{level:.2g}" for level in LEVELS)):
        table.add_column(name, justify="left" if name == "test" else "right")
    for bound, n in itertools.product((-0.02, 0.02, 0.05), (50, 200, 626)):
        edges = {
            "normal tail": [float(norm.isf(level)) for level in LEVELS],
            "exact": [_critical(n, bound, level) for level in LEVELS],
        }
        largest = _largest(n, bound, np.array([*edges["normal tail"], *edges["exact"]])).reshape(2, -1)
        for name, chances in zip(edges, largest, strict=True):
            rates = (f"{chance / level:.2f}" for chance, level in zip(chances, LEVELS, strict=True))
            table.add_row(f"{bound:+.2f}", str(n), name, *rates)
    console.print(table)


def _largest(n: int, bound: float, critical: Floats) -> Floats:
    """For each critical value: the largest chance, over the shares of losses, of a statistic that reaches it."""
    wins, losses = (axis.ravel() for axis in np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij"))
    possible = wins + losses <= n
    wins, losses = wins[possible], losses[possible]
    passes = tango.statistic(wins, losses, n, bound)[:, None] >= critical
    shares = np.concatenate([[0.0], np.geomspace(0.0005, 0.45, 30)])
    found = np.zeros(len(critical))
    for share in shares[(shares >= -bound) & (2 * shares + bound <= 1)]:
        # The chance of a table is that of its losses, and of its wins among the rest.
        rows = binom.pmf(np.arange(n + 1), n, share)
        chances = rows[losses] * binom.pmf(wins, n - losses, (share + bound) / (1 - share))
        found = np.maximum(found, chances @ passes)
    return found


def _critical(n: int, bound: float, level: float) -> float:
    """The least statistic of a table whose exact p is at most `level`."""
    wins, losses = (axis.ravel() for axis in np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij"))
    possible = wins + losses <= n
    values = tango.statistic(wins[possible], losses[possible], n, bound)
    order = np.argsort(values)
    low, high = 0, len(order) - 1
    while low < high:  # the exact p falls as the statistic rises
        middle = (low + high) // 2
        at = order[middle]
        p = tango.exact_p(int(wins[possible][at]), int(losses[possible][at]), n, bound)
        low, high = (low, middle) if p <= level else (middle + 1, high)
    return float(values[order[low]]) - 1e-9


def main(
    draws: Annotated[int, typer.Option(help="Samples a cell.")] = 60_000,
    seed: Annotated[int, typer.Option(help="Of all draws.")] = 17,
) -> None:
    """Print the tables."""
    console = Console(width=120)
    console.print(f"seed {seed}, {draws:,} draws a cell of clusters", highlight=False)
    against_a_bound(console)
    over_clusters(draws, seed, console)


if __name__ == "__main__":
    typer.run(main)
