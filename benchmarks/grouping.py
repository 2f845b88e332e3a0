"""What rows of like length in one step save in time: `group_by_length` beside an order by chance, in one run by turns.

    python -m benchmarks.grouping
    python -m benchmarks.grouping --busy    # on a machine with other work

Each line of the table is one epoch of `dabt train` by both orders, each in a process of its own; every second round has
them the other way round. Tokens are the same, so a ratio of seconds is one of tokens a second. What it costs in loss is
the other question: `benchmarks.orders`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer

from benchmarks import machine
from benchmarks.figures import ratio
from benchmarks.orders_of_methods import configuration
from benchmarks.our_run import run
from benchmarks.plan import by_turns
from benchmarks.tables import markdown

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "`lora`, packed (the default)": ("lora", {}),
    "`lora`, `packing: false`": ("lora", {"packing": False}),
    "`dpo`": ("dpo", {}),
    "`classification`": ("classification", {}),
}
"""The method, and what it is told besides."""


def main(
    rows: Annotated[int, typer.Option(min=8, help="To learn from, in one epoch.")] = 320,
    rounds: Annotated[int, typer.Option(min=1, help="How often each trains, by turns.")] = 3,
    busy: Annotated[bool, typer.Option("--busy", help="One thread, and its processor time counts.")] = False,
) -> None:
    """Train, and print the table."""
    print(machine.facts())
    lines = []
    with tempfile.TemporaryDirectory() as place:
        for name, (method, more) in CASES.items():
            raw = configuration(method, rows, 8, Path(place))
            orders = [partial(_seconds, Path(place), raw, more, together, busy) for together in (False, True)]
            chance, length = by_turns(rounds, *orders)
            lines.append(line(name, chance, length))
            print(lines[-1], flush=True)
    print(f"\n{rows} rows, batches of {raw['optimisation']['batch_size']}, {rounds} rounds\n")
    print(markdown(["", "By chance", "By length", "Tokens a second, by length / by chance"], lines))


def line(name: str, chance: Sequence[float], length: Sequence[float]) -> list[str]:
    """Medians of the seconds, and the ratio of the speeds with its lowest and highest. Pure."""
    faster = ratio(name, "", chance, length)
    low, high = faster.spread
    seconds = (f"{median(each):.1f} s" for each in (chance, length))
    return [name, *seconds, f"{faster.middle:.2f} [{low:.2f}, {high:.2f}]"]


def _seconds(place: Path, raw: dict[str, Any], more: dict[str, Any], together: bool, busy: bool) -> float:
    folder = place / f"run-{len(list(place.glob('run-*')))}"
    how = {**raw["optimisation"], **more, "epochs": 1, "group_by_length": together}
    return run(folder, {**raw, "optimisation": how}, busy=busy).seconds


if __name__ == "__main__":
    typer.run(main)
