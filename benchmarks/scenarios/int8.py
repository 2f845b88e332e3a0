"""Weights in 8 bits beside 16, on our own service: what one gains in speed and memory, and how often answers change."""

from __future__ import annotations

from benchmarks import load
from benchmarks.answers import alone, share_wrong
from benchmarks.beside import beside
from benchmarks.figures import Figure, ratio
from benchmarks.homes import stocked
from benchmarks.plan import Plan, asks
from benchmarks.servers import BASE, Server, ours

NAME = "int8"
_ADAPTERS, _MESSAGES, _WORDS, _TOKENS = 4, 8, 8, 32
_CONCURRENT = {1: 32, 64: 256}
"""Requests in flight at a time → requests of a round. One waits for the memory, many wait for products."""


def measure(plan: Plan) -> list[Figure]:
    house = stocked(plan.base, 8, plan.work)
    models = [BASE, *house.first(_ADAPTERS)]
    wide = plan.config(slots=_ADAPTERS).model_copy(update={"dtype": "bfloat16"})
    narrow = wide.model_copy(update={"quantization": "int8"})
    figures = []
    with (
        Server(ours(narrow, house.home.root), plan.logs) as eight,
        Server(ours(wide, house.home.root), plan.logs) as sixteen,
    ):
        few = asks(models, _MESSAGES * len(models), _WORDS, _MESSAGES)
        wrong = 100 * share_wrong(load.run(eight.url, few, 1), alone(sixteen.url, few))
        figures.append(Figure(plan.label(NAME), f"answers of {_WORDS} tokens unlike bfloat16's", (wrong,), "%"))
        for server in (eight, sixteen):
            load.run(server.url, asks(models, plan.count(128), _TOKENS), 64)
        for concurrent, count in _CONCURRENT.items():
            for kind, asked in (("base", [BASE]), ("mixed", models)):
                work = asks(asked, plan.count(count), plan.tokens(_TOKENS))
                scenario = plan.label(f"{NAME}, {kind}, {concurrent} concurrent")
                figures += beside(plan, scenario, (eight, sixteen), "bfloat16", work, concurrent, None)
        pss = eight.memory_gib(), sixteen.memory_gib()
        figures.append(ratio(plan.label(NAME), "memory / bfloat16", [pss[0]], [pss[1]]))
    return figures
