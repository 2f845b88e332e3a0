"""The gate's own error rates and power, simulated with the gate's own functions, beside what two other tools document.

    python -m benchmarks.gate            # some minutes
    python -m benchmarks.gate --quick    # a quarter of the draws

Prints the tables of docs/guides/gate.md, and ends with 1 when a bar does not hold. `gate_draws.py` makes
the candidates.
"""

from __future__ import annotations

import itertools
import math
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.gate_draws import CANDIDATES, Cell, Draws, cluster_p, equal, go, knows, sizes_of
from evals.gate.policy import Policy
from evals.gate.rules import Beats
from evals.statistics.clusters import spread
from evals.statistics.evidence import holm_levels, mcnemar_power, spent
from evals.statistics.tango import exact_p

ALPHA = Policy(rules=(Beats(rule="beats"),)).alpha
ITEMS = (50, 100, 200, 626, 1_000, 2_000)
BASES = (0.05, 0.3, 0.5, 0.7, 0.95)
CLUSTERS = (None, 5, 8, 20, 73, 200)
TRIED = (1, 5, 20)
ARMS = (2, 5)
SURE = 3.1
"""Standard errors: a true rate of 1 % fails a bar by chance once in 1,000."""


@dataclass(frozen=True)
class Rate:
    """A share, estimated from draws that are independent of each other."""

    value: float
    error: float

    @classmethod
    def of(cls, per_draw: NDArray[np.float64]) -> Rate:
        return cls(float(per_draw.mean()), float(per_draw.std(ddof=1) / math.sqrt(len(per_draw))))

    @property
    def low(self) -> float:
        return self.value - SURE * self.error

    @property
    def high(self) -> float:
        return self.value + SURE * self.error


@dataclass(frozen=True)
class Bar:
    """One promise and whether it held."""

    what: str
    held: bool


def promoted(p: NDArray[np.float64], arms: int, tries: int) -> NDArray[np.float64]:
    """How many runs of a series of `tries` promote somebody, one number a draw.

    Every try of the draw, and every candidate where a run has one, stands for what the next one could have been: its
    mean is the expected number, and so at least the chance, of a false promotion in the series.
    """
    size = arms - 1
    runs = p.reshape(len(p), -1, size)
    found = np.zeros(len(p))
    for number in range(1, tries + 1):
        passes = runs <= holm_levels(runs, spent(ALPHA, number))
        found += passes.any(axis=-1).mean(axis=-1)
    return found


def false_promotions(cell: Cell, draws: int, seed: tuple[int, ...]) -> dict[tuple[int, int], tuple[Rate, float]]:
    """By arms and tries: the gate's rate for candidates that are no better, and MLflow's share of such series."""
    found = equal(cell, draws, np.random.default_rng(seed))
    return {
        (arms, tries): (
            Rate.of(promoted(found.p, arms, tries) if cell.judged else np.zeros(draws)),
            float(found.improved[:, :tries, : arms - 1].any(axis=(1, 2)).mean()),
        )
        for arms, tries in itertools.product(ARMS, TRIED)
    }


def cells() -> Iterator[Cell]:
    for n, base, clusters in itertools.product(ITEMS, BASES, CLUSTERS):
        if clusters is None or clusters < n:
            yield Cell(n, base, clusters)


def equal_candidates(draws: int, seed: int, workers: int, console: Console) -> list[Bar]:
    """Candidates that are as good as the base: in every cell at most 1 % of the series may promote one."""
    plan = list(cells())
    jobs = [(cell, draws if cell.clusters is None else draws // 4, (seed, at)) for at, cell in enumerate(plan)]
    with ProcessPoolExecutor(workers) as pool:
        results = dict(zip(plan, pool.map(false_promotions, *zip(*jobs, strict=True)), strict=True))
    table = table_of("Candidates that are no better than the base: promoted in a series of tries on the same items")
    for name in ("clusters", "arms", "tries", "all cells", "worst cell", "where", "MLflow"):
        table.add_column(name, justify="left" if name == "where" else "right")
    bars: list[Bar] = []
    for clusters, arms, tries in itertools.product(CLUSTERS, ARMS, TRIED):
        rates = {cell: found[arms, tries] for cell, found in results.items() if cell.clusters == clusters}
        worst = max(rates, key=lambda cell: rates[cell][0].value)
        ours = [rate for rate, _ in rates.values()]
        pooled = Rate(
            sum(one.value for one in ours) / len(ours), math.sqrt(sum(one.error**2 for one in ours)) / len(ours)
        )
        top = rates[worst][0]
        undecided = not worst.judged
        table.add_row(
            "none" if clusters is None else str(clusters),
            str(arms),
            str(tries),
            "undecided" if undecided else f"{pooled.value:.2%}",
            "" if undecided else f"{top.value:.2%} ± {SURE * top.error:.2%}",
            "" if undecided else f"n={worst.n}, base {worst.base:g}",
            f"{sum(share for _, share in rates.values()) / len(rates):.1%}",
        )
        where = f"{clusters or 'no'} clusters, {arms} arms, {tries} tries"
        bars.append(Bar(f"equal candidates, {where}: no cell is above 1 %", all(one.low <= ALPHA for one in ours)))
        bars.append(Bar(f"equal candidates, {where}: all cells together are at most 1 %", pooled.high <= ALPHA))
    console.print(table)
    console.print(
        f"{len(plan)} cells: n {', '.join(map(str, ITEMS))}; base {', '.join(map(str, BASES))}. "
        f"{draws:,} test sets a cell without clusters, {draws // 4:,} with; 80 candidates on each.\n",
        highlight=False,
    )
    return bars


def power(draws: int, seed: int, console: Console) -> list[Bar]:
    """A candidate that is 5 points better, beside others that are not: found as often as theory says."""
    table = table_of("Power on a first try for a candidate that is 5 points better (0.70 → 0.75)")
    for name in ("discordant", "n", "2 arms", "theory", "5 arms", "theory", "MLflow"):
        table.add_column(name, justify="right")
    bars: list[Bar] = []
    for at, (discordant, n) in enumerate(itertools.product((0.22, 0.20), (200, 626, 1_000, 2_000))):
        found = equal(
            Cell(n, 0.7, lead=0.05, discordant=discordant), 5 * draws, np.random.default_rng((seed, 1, at)), 1
        )
        row = [f"{discordant:.0%}", str(n)]
        for arms in ARMS:
            theory = mcnemar_power(n, 0.05, discordant, spent(ALPHA, 1) / (arms - 1))
            seen = _finds(found, arms)
            row += [f"{seen:.2f}", f"{theory:.2f}"]
            what = f"power, {discordant:.0%} discordant, n={n}, {arms} arms: {seen:.3f} within 3 points of {theory:.3f}"
            bars.append(Bar(what, abs(seen - theory) <= 0.03))
        table.add_row(*row, f"{found.improved[:, :, 0].mean():.2f}")
    console.print(table)
    words = ", ".join(
        f"{_items_for(discordant, arms):,} with {arms} arms at {discordant:.0%} discordant"
        for discordant, arms in itertools.product((0.22, 0.20), ARMS)
    )
    console.print(f"Items for 80 % power on +5 points, first try: {words}.\n", highlight=False)
    return bars


def _finds(found: Draws, arms: int) -> float:
    runs = found.p[:, :, : arms - 1]
    return float((runs <= holm_levels(runs, spent(ALPHA, 1)))[:, :, 0].mean())


def _items_for(discordant: float, arms: int) -> int:
    """The fewest items from which on the power is 80 %, to the next 10."""
    level = spent(ALPHA, 1) / (arms - 1)
    low, high = 10, 20_000
    while high - low > 10:
        middle = (low + high) // 2
        enough = mcnemar_power(middle, 0.05, discordant, level) >= 0.8
        low, high = (low, middle) if enough else (middle, high)
    return -(-high // 10) * 10


def losses(draws: int, seed: int, console: Console) -> list[Bar]:
    """A candidate that loses 3 points where a loss of 1 or 2 is allowed, and one that loses exactly what is allowed."""
    table = table_of("A candidate that loses 3 points (every difference a loss): passes as no worse")
    for name in ("n", "allowed", "this gate", "nel gate: GO"):
        table.add_column(name, justify="right")
    bars: list[Bar] = []
    rng = np.random.default_rng((seed, 2))
    level = spent(ALPHA, 1)
    for n, margin in itertools.product((10, 20, 50, 200), (0.01, 0.02)):
        lost = rng.binomial(n, 0.03, draws)
        spread_of = np.sqrt(lost / n * (1 - lost / n) / (n - 1))
        passes = np.array([exact_p(0, int(one), n, -margin) <= level for one in range(n + 1)])
        ours = Rate.of(passes[lost].astype(float))
        table.add_row(str(n), f"{margin:.0%}", f"{ours.value:.2%}", f"{go(-lost / n, spread_of, n, margin).mean():.0%}")
        bars.append(Bar(f"loses 3 points, n={n}, {margin:.0%} allowed: passes at most 1 %", ours.low <= ALPHA))
    console.print(table)
    table = table_of("A candidate that loses exactly the 2 points that are allowed: passes as no worse on a first try")
    for name in ("clusters", "n", "base", "this gate"):
        table.add_column(name, justify="right")
    for clusters, n, base in itertools.product((None, 20, 73, 200), (200, 1_000), (0.3, 0.7, 0.95)):
        ours = Rate.of((_at_margin(Cell(n, base, clusters), 0.02, draws, rng) <= level).astype(np.float64))
        table.add_row(str(clusters or "none"), str(n), f"{base:g}", f"{ours.value:.2%} ± {SURE * ours.error:.2%}")
        what = f"loses exactly 2 points, {clusters or 'no'} clusters, n={n}, base {base:g}: passes at most 1 %"
        bars.append(Bar(what, ours.low <= ALPHA))
    console.print(table)
    return bars


def _at_margin(cell: Cell, margin: float, draws: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """p of candidates that lose exactly `margin`, against a loss of that much."""
    if cell.clusters is None:
        share = cell.differing
        counts = rng.multinomial(cell.n, [(share - margin) / 2, (share + margin) / 2, 1 - share], draws // 10)
        return np.array([exact_p(int(wins), int(lost), cell.n, -margin) for wins, lost, _ in counts])
    sizes, shape = sizes_of(cell.n, cell.clusters), (draws, cell.clusters)
    better, worse = (rng.binomial(sizes, knows(base, shape, rng)) for base in (cell.base, cell.base - margin))
    sums = (worse - better).astype(np.float64)
    return cluster_p(worse - better, spread(sums, sizes.astype(np.float64)), -margin)


def table_of(title: str) -> Table:
    """A table that a page of the documentation can take as it is."""
    return Table(title=title, box=box.MARKDOWN, title_justify="left")


def main(
    quick: Annotated[bool, typer.Option("--quick", help="A quarter of the draws.")] = False,
    seed: Annotated[int, typer.Option(help="Of all draws.")] = 17,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
) -> None:
    """Print the tables; end with 1 when a bar does not hold."""
    console = Console(width=120)
    draws = 4_000 if quick else 16_000
    began = time.monotonic()
    console.print(f"alpha {ALPHA:g}, seed {seed}, {draws:,} draws, {CANDIDATES} candidates a run", highlight=False)
    parts = (partial(equal_candidates, workers=workers), power, losses)
    bars = [bar for part in parts for bar in part(draws, seed, console=console)]
    for bar in bars:
        if not bar.held:
            console.print(f"BROKEN: {bar.what}", style="bold red", highlight=False)
    console.print(
        f"{sum(bar.held for bar in bars)} of {len(bars)} bars held, in {time.monotonic() - began:.0f} s. A rate breaks "
        f"its bar when all of its interval of {SURE:g} standard errors is above 1 %.",
        highlight=False,
    )
    if not all(bar.held for bar in bars):
        sys.exit(1)


if __name__ == "__main__":
    typer.run(main)
