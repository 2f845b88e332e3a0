"""Ways to choose an engine replica, side by side: a simulated fleet of 100 replicas and 10,000 adapters.

    python -m benchmarks.routing                # some minutes
    python -m benchmarks.routing --quick        # a tenth of the fleet
    python -m benchmarks.routing --slack 1.1 --slack 1.5

Prints the table of docs/decisions/0019-which-replica-answers.md, and ends with 1 when the router of the service misses
a bar: at least twice round robin's share of requests that find their adapter in a slot, and no replica with more than
1.3 of the mean work.
"""

from __future__ import annotations

import bisect
import random
import sys
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Annotated

import typer

from benchmarks.fleet import Machine, Outcome, Policy, Simulation, Traffic, View
from benchmarks.tables import markdown
from service.cluster.routing import SLACK, Replica, Router, weight

TIMES_ROUND_ROBIN = 2.0
IMBALANCE = 1.3
ZIPF = (0.7, 0.9, 1.1)


@dataclass(slots=True)
class Ours:
    """`service/cluster/routing.py`."""

    router: Router = field(default_factory=Router)

    def ranked(self, adapter: int, replicas: Sequence[Replica]) -> Sequence[Replica]:
        return self.router.ranked(str(adapter), replicas)

    def asked(self, adapter: int, replica: Replica) -> None: ...


@dataclass(slots=True)
class RoundRobin:
    turn: count[int] = field(default_factory=count)

    def ranked(self, adapter: int, replicas: Sequence[Replica]) -> Sequence[Replica]:
        at = next(self.turn) % len(replicas)
        return [*replicas[at:], *replicas[:at]]

    def asked(self, adapter: int, replica: Replica) -> None: ...


@dataclass(slots=True)
class LeastLoaded:
    draw: random.Random = field(default_factory=lambda: random.Random(0))

    def ranked(self, adapter: int, replicas: Sequence[Replica]) -> Sequence[Replica]:
        return sorted(replicas, key=lambda each: (each.busy, self.draw.random()))

    def asked(self, adapter: int, replica: Replica) -> None: ...


@dataclass(slots=True)
class RayConsistentHash:
    """ray.serve.experimental.consistent_hash_router of Ray 2.60: 100 virtual nodes, two fallbacks, no bound on load."""

    ring: list[tuple[bytes, int]] = field(default_factory=list)
    members: tuple[str, ...] = ()
    kept: dict[int, list[int]] = field(default_factory=dict)

    def ranked(self, adapter: int, replicas: Sequence[Replica]) -> Sequence[Replica]:
        members = tuple(each.id for each in replicas)
        if members != self.members:
            nodes = ((place, node) for place in range(len(members)) for node in range(100))
            self.ring = sorted((weight(f"{members[place]}:{node}", "ring"), place) for place, node in nodes)
            self.members, self.kept = members, {}
        if adapter not in self.kept:
            at, found = bisect.bisect_left(self.ring, (weight(str(adapter), "ring"), -1)), dict[int, None]()
            while len(found) < min(3, len(members)):
                found[self.ring[at % len(self.ring)][1]] = None
                at += 1
            self.kept[adapter] = list(found)
        return [replicas[place] for place in self.kept[adapter]]

    def asked(self, adapter: int, replica: Replica) -> None: ...


@dataclass(slots=True)
class Scores:
    """The endpoint pickers of the Gateway API Inference Extension: weighted scores, the highest first, ties by chance.

    `prefix`, `queue`, `cache`, `adapter` and `load` are the weights of prefix-cache-scorer, queue-scorer,
    kv-cache-utilization-scorer, lora-affinity-scorer and llm-d's load-aware-scorer.
    """

    prefix: float = 0.0
    queue: float = 0.0
    cache: float = 0.0
    adapter: float = 0.0
    load: float = 0.0
    shared: float = 0.5
    """Part of a prompt that all requests for an adapter begin with."""
    remembered: int = 1000
    """Prompts that the picker knows of each replica: 31,250 blocks of 64 characters over prompts of 2,000."""
    seen: dict[str, OrderedDict[int, None]] = field(default_factory=dict)
    draw: random.Random = field(default_factory=lambda: random.Random(0))

    def ranked(self, adapter: int, replicas: Sequence[Replica]) -> Sequence[Replica]:
        views = [each for each in replicas if isinstance(each, View)]
        waiting = [each.waiting for each in views]
        least, most = min(waiting), max(waiting)
        name = str(adapter)

        def score(view: View) -> float:
            total = self.queue * ((most - view.waiting) / (most - least) if most > least else 1.0)
            total += self.cache * max(0.0, 1 - view.running / view.streams)
            total += self.load * 0.5 * (1 - min(view.waiting, 128) / 128)
            if self.prefix:
                total += self.prefix * (self.shared if adapter in self.seen.get(view.id, ()) else 0.0)
            if self.adapter:
                total += self.adapter * (1.0 if name in view.active else 0.8 if len(view.active) < view.slots else 0.0)
            return total

        return sorted(views, key=lambda each: (-score(each), self.draw.random()))

    def asked(self, adapter: int, replica: Replica) -> None:
        seen = self.seen.setdefault(replica.id, OrderedDict())
        seen[adapter] = None
        seen.move_to_end(adapter)
        if len(seen) > self.remembered:
            seen.popitem(last=False)


POLICIES: dict[str, Callable[[], Policy]] = {
    "round robin": RoundRobin,
    "least loaded": LeastLoaded,
    "Ray's consistent hash": RayConsistentHash,
    "KServe (prefix 2, load 1)": lambda: Scores(prefix=2, load=1),
    "llm-d (prefix 3, queue 2, cache 2)": lambda: Scores(prefix=3, queue=2, cache=2),
    "llm-d with adapters (queue 2, cache 2, adapter 3)": lambda: Scores(queue=2, cache=2, adapter=3),
}


@dataclass(frozen=True)
class Case:
    name: str
    traffic: Traffic


def cases(traffic: Traffic) -> list[Case]:
    steady = [Case(f"Zipf {zipf}", replace(traffic, zipf=zipf)) for zipf in ZIPF]
    harder = (
        Case("Zipf 0.9, bursts", replace(traffic, bursts=True)),
        Case("Zipf 0.9, a tenth dies and comes", replace(traffic, changing=True)),
    )
    return [*steady, *harder]


def outcome(case: Case, name: str, slack: float) -> Outcome:
    """`name` is one of `POLICIES`, or that of the service with its slack."""
    make = POLICIES.get(name, lambda: Ours(Router(slack=slack)))
    return Simulation(case.traffic, Machine(), [make() for _ in range(case.traffic.gateways)]).run()


def main(
    slack: Annotated[list[float] | None, typer.Option(help="Of the service's router; several to compare.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="10 replicas and 1,000 adapters.")] = False,
    seconds: Annotated[float, typer.Option(help="Simulated, of which half warms up.")] = 60.0,
    processes: Annotated[int, typer.Option(help="At a time.")] = 2,
) -> None:
    """Compare ways to choose an engine replica."""
    traffic = Traffic(seconds=seconds, warming=seconds / 2)
    if quick:
        traffic = replace(traffic, replicas=10, adapters=1_000)
    ours = {f"this service (slack {each})": each for each in slack or [SLACK]}
    asked = [(case, name) for case in cases(traffic) for name in (*POLICIES, *ours)]
    with ProcessPoolExecutor(processes) as pool:
        found = dict(
            zip(
                asked,
                pool.map(outcome, *zip(*((case, name, ours.get(name, SLACK)) for case, name in asked), strict=True)),
                strict=True,
            )
        )
    header = ("Traffic", "Chosen by", "In a slot", "Fetches", "Imbalance", "p50 s", "p99 s", "Asked again")
    rows = [
        (
            case.name,
            name,
            f"{each.resident:.3f}",
            f"{each.fetches:,}",
            f"{each.imbalance:.2f}",
            f"{each.p50:.2f}",
            f"{each.p99:.2f}",
            f"{each.retried:.3f}",
        )
        for (case, name), each in found.items()
    ]
    print(markdown(header, rows))
    missed = [
        f"{case.name}, {name}: {each.resident / found[case, 'round robin'].resident:.2f} of round robin's share in a "
        f"slot, imbalance {each.imbalance:.2f}"
        for (case, name), each in found.items()
        if name in ours
        and (each.resident < TIMES_ROUND_ROBIN * found[case, "round robin"].resident or each.imbalance > IMBALANCE)
    ]
    print("\n".join(("", *missed)) if missed else f"\nBoth bars hold: ≥ {TIMES_ROUND_ROBIN:g} times, ≤ {IMBALANCE}.")
    sys.exit(bool(missed))


if __name__ == "__main__":
    typer.run(main)
