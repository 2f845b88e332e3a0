"""How many replicas and slots, and how much memory, so many adapters under so much load want: from the simulated fleet.

    python -m benchmarks.capacity --base examples/clinic/base_model --adapters 1000 --requests 40

The answer's seconds and the requests that run at a time are your engine's: `benchmarks.serving` measures them. All else
is `benchmarks/fleet.py`, with the service's router (`service/cluster/routing.py`).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from benchmarks.fleet import Machine, Outcome, Simulation, Traffic
from benchmarks.routing import Ours
from benchmarks.tables import markdown
from lifecycle.models.preflight import SERVED_RANKS
from service.engine.memory import GIB, adapter_bytes

BUSIEST = 0.85
"""Share of all streams that run on the mean, above which no fleet is tried."""
ASKED_AGAIN = 0.01
MOST = 3.0
"""Times the least replicas, where the search ends: slots that are too few are not made up for by more of them."""


@dataclass(frozen=True)
class Demand:
    """What is asked of the fleet."""

    adapters: int
    requests: float
    """A second."""
    answer: float
    """Seconds of one, alone on its stream."""
    zipf: float
    p99: float
    """Seconds until an answer begins, that 99 of 100 may wait."""
    seconds: float = 40.0

    def traffic(self, machine: Machine, replicas: int) -> Traffic:
        load = self.requests * self.answer / (replicas * machine.streams)
        return Traffic(
            replicas=replicas,
            adapters=self.adapters,
            zipf=self.zipf,
            load=load,
            seconds=self.seconds,
            warming=self.seconds / 2,
            answer=self.answer,
        )


@dataclass(frozen=True)
class Fleet:
    """The smallest that does, for one number of slots."""

    slots: int
    replicas: int
    outcome: Outcome


def least_replicas(demand: Demand, machine: Machine) -> int:
    """By the load alone (Little's law), whatever adapters cost."""
    return max(1, math.ceil(demand.requests * demand.answer / (machine.streams * BUSIEST)))


def smallest(demand: Demand, machine: Machine) -> Fleet | None:
    """None where three times what the load needs does not keep the wait."""
    least = least_replicas(demand, machine)
    tried = least
    while tried <= max(least + 1, math.ceil(MOST * least)):
        outcome = Simulation(demand.traffic(machine, tried), machine, [Ours() for _ in range(Traffic().gateways)]).run()
        if outcome.p99 <= demand.p99 and outcome.retried <= ASKED_AGAIN:
            return Fleet(machine.slots, tried, outcome)
        tried += max(1, tried // 8)
    return None


def rows(demand: Demand, machine: Machine, slots: Sequence[int], each: int) -> list[tuple[str, ...]]:
    """One for each number of slots; `each` is an adapter's bytes."""
    told: list[tuple[str, ...]] = []
    for number in slots:
        fleet = smallest(demand, replace(machine, slots=number))
        memory = f"{number * each / GIB:.2f}", f"{machine.nearby * each / GIB:.2f}"
        if fleet is None:
            told.append((f"{number}", "none does", *memory, "", "", "", ""))
            continue
        of = fleet.outcome
        per_second = of.fetches / (demand.seconds / 2)  # those of the second half count
        figures = f"{of.resident:.2f}", f"{per_second:.1f}", f"{of.p50:.2f}", f"{of.p99:.2f}"
        told.append((f"{number}", f"{fleet.replicas}", *memory, *figures))
    return told


def main(  # noqa: PLR0913, PLR0917  (one parameter is one option of the command)
    base: Annotated[Path, typer.Option(help="The base's folder, for the size of an adapter.")],
    adapters: Annotated[int, typer.Option(min=1, help="That are asked for.")] = 1000,
    requests: Annotated[float, typer.Option(help="A second, of all adapters together.")] = 40.0,
    rank: Annotated[int, typer.Option(help="Of the slots: --max-lora-rank.")] = 16,
    dtype: Annotated[Literal["bfloat16", "float16", "float32"], typer.Option(help="Of their numbers.")] = "bfloat16",
    zipf: Annotated[float, typer.Option(help="How uneven: 0 is even, 1.1 has a few that most ask for.")] = 0.9,
    answer: Annotated[float, typer.Option(help="Seconds of one answer.")] = 1.5,
    streams: Annotated[int, typer.Option(min=1, help="Requests that one replica runs at a time.")] = 32,
    nearby: Annotated[int, typer.Option(min=1, help="Adapters in a replica's memory: --max-cpu-loras.")] = 256,
    fetch: Annotated[float, typer.Option(help="Seconds from the store into memory, verified.")] = 0.4,
    p99: Annotated[float, typer.Option(help="Seconds until an answer begins, that 99 of 100 may wait.")] = 1.0,
    slots: Annotated[list[int] | None, typer.Option(help="Numbers of slots to try: --max-loras.")] = None,
) -> None:
    """Print the smallest fleet for each number of slots."""
    if rank not in SERVED_RANKS:
        raise typer.BadParameter(f"one of {', '.join(map(str, SERVED_RANKS))}", param_hint="--rank")
    demand = Demand(adapters, requests, answer, zipf, p99)
    machine = Machine(streams=streams, queue=2 * streams, nearby=nearby, fetch=fetch)
    each = adapter_bytes(base, rank, dtype)
    header = ("Slots", "Replicas", "Slots, GiB", "Nearby, GiB", "In a slot", "Fetches/s", "p50 s", "p99 s")
    least = least_replicas(demand, machine)
    print(
        f"{adapters:,} adapters of rank {rank} ({each / 2**20:.2f} MiB), {requests:g} requests a second of {answer:g} s"
    )
    print(f"the load alone: {least} replicas of {streams} streams; 99 of 100 wait {p99:g} s at most\n")
    found = rows(demand, machine, slots or [4, 8, 16, 32], each)
    print(markdown(header, found))
    sys.exit(all(row[1] == "none does" for row in found))


if __name__ == "__main__":
    typer.run(main)
