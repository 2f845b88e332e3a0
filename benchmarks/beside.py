"""The same requests to two servers, by turns: what one gives for what the other does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks import load
from benchmarks.figures import Bar, Figure, ratio
from benchmarks.load import Ask, Run
from benchmarks.plan import Plan, by_turns
from benchmarks.servers import Server

CONCURRENT = {1: 32, 16: 96, 64: 256}
"""Requests in flight at a time → requests of a round."""
_TURNS = {1: 16}
"""Requests in flight at a time → turns of a round, otherwise one. A single stream is as slow as the machine is at that
moment, so the servers change places often, and each turn is short."""
TOKENS = 64


@dataclass(frozen=True, slots=True)
class Bars:
    """What the first server must reach: of the second's throughput at least, of its median TTFT at most."""

    throughput: float = 0.97
    first_token: float = 1.05


KEPT = Bars()
"""What a change must not cost."""


def beside(
    plan: Plan,
    scenario: str,
    servers: tuple[Server, Server],
    other: str,
    work: Sequence[Ask],
    concurrent: int,
    bars: Bars | None = KEPT,
) -> list[Figure]:
    """Throughput and first tokens of the first server over the second's, which the table calls `other`."""
    turns = min(_TURNS.get(concurrent, 1), len(work))
    mine: list[Run] = []
    theirs: list[Run] = []
    for turn in range(turns):
        part = work[turn::turns]
        runs = by_turns(plan.rounds, *(partial(load.run, server.url, part, concurrent) for server in servers))
        mine, theirs = mine + runs[0], theirs + runs[1]
    waits = [run.first_token(0.5) for run in mine], [run.first_token(0.5) for run in theirs]
    return [
        ratio(
            scenario,
            f"throughput / {other}",
            load.speeds(mine),
            load.speeds(theirs),
            None if bars is None else Bar(at_least=bars.throughput),
        ),
        ratio(scenario, f"TTFT p50 / {other}", *waits, None if bars is None else Bar(at_most=bars.first_token)),
        Figure(scenario, "requests failed", load.failures(mine), bar=Bar(at_most=0)),
        Figure(scenario, f"the same, {other}", load.failures(theirs)),
    ]
