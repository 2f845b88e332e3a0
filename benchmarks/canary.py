"""How often a canary at its bounds is removed, and how soon one beyond them: the service's own judge, simulated.

    python -m benchmarks.canary            # some minutes
    python -m benchmarks.canary --quick    # fewer runs

Prints the tables of docs/guides/traffic.md, and ends with 1 when a promise does not hold. `canary_worlds.py` makes the
traffic.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.canary_worlds import (
    BOUND,
    BOUNDS,
    INCUMBENTS,
    RATIO,
    WORLDS,
    Behaviour,
    Run,
    World,
    at_its_bounds,
    simulate,
)

SHARES = (0.05, 0.1, 0.5)
REQUESTS = 3_000
MOST = 3_000
"""Requests of the canary within which a bad one is looked for."""
SURE = 3.1
"""Standard errors: a true chance of 1 % fails the bar by chance once in 1,000."""
WRONG = {
    "errors, twice the bound": replace(INCUMBENTS, errors=2 * BOUND),
    "empty answers, twice": replace(INCUMBENTS, empty=2 * BOUND),
    "first token, twice": replace(INCUMBENTS, ttft=2 * RATIO),
    "whole answer, twice": replace(INCUMBENTS, total=2 * RATIO),
    "errors, 4 times the bound": replace(INCUMBENTS, errors=4 * BOUND),
    "fails always": replace(INCUMBENTS, errors=1.0),
}
"""What is wrong with a canary. The incumbent fails 0.5 %."""
_POWERS = (("calm", 0.1), ("calm", 0.5), ("bursts", 0.1), ("mixed lengths", 0.5))


@dataclass(frozen=True)
class Removals:
    """How many of so many runs ended with the canary's removal, and by how many of its requests."""

    runs: int
    took: tuple[int, ...]

    @classmethod
    def of(cls, runs: Iterable[Run]) -> Removals:
        all_runs = list(runs)
        return cls(len(all_runs), tuple(sorted(run.canaries for run in all_runs if run.figure is not None)))

    @property
    def count(self) -> int:
        return len(self.took)

    def within(self, chance: float) -> bool:
        """Whether there are no more of them than such a chance makes."""
        mean = chance * self.runs
        return self.count <= mean + SURE * math.sqrt(mean * (1 - chance))

    def __str__(self) -> str:
        if not self.took:
            return f"{self.count} of {self.runs}"
        most = self.took[math.ceil(0.9 * self.count) - 1]
        missed = "" if self.count == self.runs else f" ({self.count} of {self.runs})"
        return f"{statistics.median(self.took):.0f} / {most}{missed}"


def kept(world: World, share: float, seeds: Sequence[int], requests: int, arrived: bool = True) -> Removals:
    """Of a canary that is exactly as bad as each of its four bounds allows."""
    canary = at_its_bounds(world)
    return Removals.of(simulate(world, canary, share, requests, seed, arrived=arrived) for seed in seeds)


def broken(world: World, canary: Behaviour, share: float, seeds: Sequence[int], most: int) -> Removals:
    requests = math.ceil(1.2 * most / share)
    return Removals.of(simulate(world, canary, share, requests, seed, most=most) for seed in seeds)


def main(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer runs.")] = False,
    processes: Annotated[int, typer.Option(help="At once.")] = 2,
) -> None:
    """Print both tables; end with 1 when a canary at its bounds is removed too often."""
    runs, powers = (10, 10) if quick else (100, 40)
    console = Console(width=80)
    with ProcessPoolExecutor(processes) as pool:
        table, held = _removed(pool, range(runs))
        console.print(table)
        console.print()
        console.print(_found(pool, range(powers)))
    console.print(f"\nNo more removals than a chance of {BOUNDS.false_removals:.0%} makes: {'yes' if held else 'NO'}")
    sys.exit(0 if held else 1)


def _removed(pool: ProcessPoolExecutor, seeds: Sequence[int]) -> tuple[Table, bool]:
    title = (
        f"Removed, of {len(seeds)} canaries exactly at all four bounds, within {REQUESTS:,} requests of the alias; "
        "in brackets, of the same when judged in the order of ending"
    )
    table = _table(title, "canary's share", *(f"{share:.0%}" for share in SHARES))
    jobs = {
        (world.name, share, arrived): pool.submit(_kept, world.name, share, seeds, arrived)
        for world in WORLDS
        for share in SHARES
        for arrived in (True, False)
    }
    for world in WORLDS:
        pairs = [[jobs[world.name, share, arrived].result() for arrived in (True, False)] for share in SHARES]
        table.add_row(world.name, *(f"{by_arrival.count} ({by_end.count})" for by_arrival, by_end in pairs))
    judged = [job.result() for (_, _, arrived), job in jobs.items() if arrived]
    return table, all(removals.within(BOUNDS.false_removals) for removals in judged)


def _found(pool: ProcessPoolExecutor, seeds: Sequence[int]) -> Table:
    title = (
        f"The canary's requests until it is removed, median / nine of ten, of {len(seeds)} runs; in brackets, how many "
        f"were removed within {MOST:,} where that is not all"
    )
    table = _table(title, "what is wrong", *(f"{name.split()[0]} {share:.0%}" for name, share in _POWERS))
    jobs = {
        (what, world, share): pool.submit(_broken, world, what, share, seeds)
        for what in WRONG
        for world, share in _POWERS
    }
    for what in WRONG:
        table.add_row(what, *(str(jobs[what, world, share].result()) for world, share in _POWERS))
    return table


def _kept(world: str, share: float, seeds: Sequence[int], arrived: bool) -> Removals:
    """By name: a world's functions do not go to another process."""
    return kept(_named(world), share, seeds, REQUESTS, arrived)


def _broken(world: str, what: str, share: float, seeds: Sequence[int]) -> Removals:
    return broken(_named(world), WRONG[what], share, seeds, MOST)


def _named(name: str) -> World:
    return next(world for world in WORLDS if world.name == name)


def _table(title: str, *columns: str) -> Table:
    return Table(*columns, box=box.MARKDOWN, title=title, title_justify="left", title_style="")


if __name__ == "__main__":
    typer.run(main)
