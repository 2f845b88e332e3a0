"""Requests to the base alone: our service must not cost what the stock server does not."""

from __future__ import annotations

from benchmarks import load
from benchmarks.beside import CONCURRENT, TOKENS, Bars, beside
from benchmarks.figures import Figure, ratio
from benchmarks.plan import Plan, asks
from benchmarks.servers import BASE, Server, ours, stock

NAME = "base-only"
_BARS = {1: Bars(0.97, 1.0), 16: Bars(0.97, 1.05), 64: Bars(1.1, 0.8)}
"""Requests in flight at a time → what must hold."""


def measure(plan: Plan) -> list[Figure]:
    config = plan.config()
    home = plan.work / "homes" / "empty"
    figures = []
    with Server(ours(config, home), plan.logs) as dabt, Server(stock(config, {}), plan.logs) as vllm:
        for server in (dabt, vllm):
            load.run(server.url, asks([BASE], plan.count(128), TOKENS), 64)
        for concurrent, count in CONCURRENT.items():
            work = asks([BASE], plan.count(count), TOKENS)
            scenario = plan.label(f"{NAME}, {concurrent} concurrent")
            figures += beside(plan, scenario, (dabt, vllm), "stock", work, concurrent, _BARS[concurrent])
        pss = dabt.memory_gib(), vllm.memory_gib()
        figures.append(ratio(plan.label(NAME), "memory / stock", [pss[0]], [pss[1]]))
    return figures
