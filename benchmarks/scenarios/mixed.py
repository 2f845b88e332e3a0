"""Four adapters and the base in one batch: faster than the stock server, and every token the one given alone."""

from __future__ import annotations

from functools import partial

from benchmarks import load
from benchmarks.answers import alone, check_apart, percent_wrong
from benchmarks.figures import Bar, Figure, ratio
from benchmarks.homes import stocked
from benchmarks.plan import Plan, asks, by_turns
from benchmarks.servers import BASE, Server, pair

NAME = "mixed"
_ADAPTERS, _CONCURRENT, _TOKENS = 4, 64, 64
_MESSAGES = 8


def measure(plan: Plan) -> list[Figure]:
    house = stocked(plan.base, 8, plan.work)
    names = house.first(_ADAPTERS)
    # As many slots as adapters: stock gives base rows what is in the last slot, and an empty one would hide it.
    mine, theirs = pair(plan.config(slots=_ADAPTERS), house, names)
    tokens, messages = plan.tokens(_TOKENS), plan.messages(_MESSAGES)
    work = asks([BASE, *names], plan.count(320), tokens, messages)
    base_work = asks([BASE], plan.count(320), tokens, messages)
    single = plan.count(16)
    with Server(mine, plan.logs) as dabt, Server(theirs, plan.logs) as vllm:
        right = {server: alone(server.url, work) for server in (dabt, vllm)}
        check_apart(right[dabt], BASE)
        for server in (dabt, vllm):
            load.run(server.url, work, _CONCURRENT)
        mixed, stock_mixed, base = by_turns(
            plan.rounds,
            partial(load.run, dabt.url, work, _CONCURRENT),
            partial(load.run, vllm.url, work, _CONCURRENT),
            partial(load.run, dabt.url, base_work, _CONCURRENT),
        )
        one_adapter, one_base = by_turns(
            plan.rounds,
            partial(load.run, dabt.url, asks(names[:1], single, tokens), 1),
            partial(load.run, dabt.url, asks([BASE], single, tokens), 1),
        )
    scenario, streams = plan.label(f"{NAME}, {_CONCURRENT} concurrent"), plan.label(f"{NAME}, one stream")
    return [
        ratio(scenario, "throughput / stock", load.speeds(mixed), load.speeds(stock_mixed), Bar(at_least=1.9)),
        ratio(scenario, "throughput / own base only", load.speeds(mixed), load.speeds(base), Bar(at_least=0.92)),
        Figure(scenario, "requests failed", load.failures(mixed), bar=Bar(at_most=0)),
        Figure(scenario, "answers unlike alone", percent_wrong(mixed, right[dabt]), "%", Bar(at_most=0)),
        Figure(scenario, "the same, own base only", percent_wrong(base, right[dabt]), "%"),
        Figure(scenario, "the same, stock", percent_wrong(stock_mixed, right[vllm]), "%"),
        ratio(streams, "adapter / base throughput", load.speeds(one_adapter), load.speeds(one_base), Bar(at_least=0.8)),
    ]
