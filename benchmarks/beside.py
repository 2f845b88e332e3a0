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


@dataclass(frozen=True, slots=True)
class _Turn:
    run: Run
    cost: float
    """Seconds of processor that the API's process took for a token."""


def beside(
    plan: Plan,
    scenario: str,
    servers: tuple[Server, Server],
    other: str,
    work: Sequence[Ask],
    concurrent: int,
    bars: Bars | None = KEPT,
) -> list[Figure]:
    """Throughput, first tokens and the API's processor time of the first server over those of the second, which the
    table calls `other`. The last says most where the machine has other work.
    """
    turns = min(_TURNS.get(concurrent, 1), len(work))
    mine: list[_Turn] = []
    theirs: list[_Turn] = []
    for turn in range(turns):
        part = work[turn::turns]
        taken = by_turns(plan.rounds, *(partial(_turn, server, part, concurrent) for server in servers))
        mine, theirs = mine + taken[0], theirs + taken[1]
    runs = [each.run for each in mine], [each.run for each in theirs]
    waits = [run.first_token(0.5) for run in runs[0]], [run.first_token(0.5) for run in runs[1]]
    costs = [each.cost for each in mine], [each.cost for each in theirs]
    return [
        ratio(
            scenario,
            f"throughput / {other}",
            load.speeds(runs[0]),
            load.speeds(runs[1]),
            None if bars is None else Bar(at_least=bars.throughput),
        ),
        ratio(scenario, f"TTFT p50 / {other}", *waits, None if bars is None else Bar(at_most=bars.first_token)),
        ratio(scenario, f"the API's processor time a token / {other}", *costs),
        Figure(scenario, "requests failed", load.failures(runs[0]), bar=Bar(at_most=0)),
        Figure(scenario, f"the same, {other}", load.failures(runs[1])),
    ]


def _turn(server: Server, work: Sequence[Ask], concurrent: int) -> _Turn:
    before = server.api_seconds()
    run = load.run(server.url, work, concurrent)
    tokens = sum(len(told.tokens) for told in run.told)
    return _Turn(run, (server.api_seconds() - before) / max(tokens, 1))
