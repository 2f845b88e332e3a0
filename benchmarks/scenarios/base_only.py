"""Requests to the base alone: our service must not cost what the stock server does not."""

from __future__ import annotations

from functools import partial

from benchmarks import load
from benchmarks.figures import Bar, Figure, ratio
from benchmarks.plan import Plan, asks, by_turns
from benchmarks.servers import BASE, Server, ours, stock

NAME = "base-only"
_CONCURRENT = {1: 16, 16: 96, 64: 256}
"""Requests in flight at a time → requests of a round."""
_TOKENS = 64


def measure(plan: Plan) -> list[Figure]:
    config = plan.config()
    home = plan.work / "homes" / "empty"
    figures = []
    with Server(ours(config, home), plan.logs) as dabt, Server(stock(config, {}), plan.logs) as vllm:
        for server in (dabt, vllm):
            load.run(server.url, asks([BASE], plan.count(128), _TOKENS), 64)
        for concurrent, count in _CONCURRENT.items():
            work = asks([BASE], plan.count(count), _TOKENS)
            mine, theirs = by_turns(
                plan.rounds,
                partial(load.run, dabt.url, work, concurrent),
                partial(load.run, vllm.url, work, concurrent),
            )
            scenario = plan.label(f"{NAME}, {concurrent} concurrent")
            waits = [run.first_token(0.5) for run in mine], [run.first_token(0.5) for run in theirs]
            figures += [
                ratio(scenario, "throughput / stock", load.speeds(mine), load.speeds(theirs), Bar(at_least=0.97)),
                ratio(scenario, "TTFT p50 / stock", *waits, Bar(at_most=1.05)),
                Figure(scenario, "requests failed", load.failures(mine), bar=Bar(at_most=0)),
                Figure(scenario, "the same, stock", load.failures(theirs)),
            ]
        pss = dabt.memory_gib(), vllm.memory_gib()
        figures.append(ratio(plan.label(NAME), "memory / stock", [pss[0]], [pss[1]]))
    return figures
