"""A thousand adapters by Zipf's law, over the slots that `dabt serve` takes by itself: right, and none waits long."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

import numpy

from benchmarks import load
from benchmarks.answers import Expected, alone, percent_wrong
from benchmarks.figures import Bar, Figure, ratio
from benchmarks.homes import Stocked, stocked
from benchmarks.load import Ask, Run
from benchmarks.plan import Plan, asks, by_turns
from benchmarks.servers import Server, ServerFailed, pair

NAME = "many"
_ADAPTERS, _FEW, _TOKENS = 1000, 8, 32
_CONCURRENT = {64: 1000, 16: 400}
"""Requests in flight at a time → requests of a round."""
_BARS = {64: Bar(at_least=0.7), 16: Bar(at_least=0.85)}
"""Of the throughput of eight adapters."""
_MOST = max(_CONCURRENT)
"""At a time, and the only case that the stock server is given."""
_SAMPLE = 40
"""Requests that the stock server is given alone, to tell rounding from wrong answers."""


def measure(plan: Plan) -> list[Figure]:
    house = stocked(plan.base, _ADAPTERS, plan.work)
    config = plan.defaults()
    mine, theirs = pair(config, house, house.first(_ADAPTERS))
    # Each round has draws of its own, so that first requests to an adapter are among what is measured.
    draws = {
        concurrent: [_zipf(house, plan.count(count), concurrent + seed) for seed in range(plan.rounds)]
        for concurrent, count in _CONCURRENT.items()
    }
    runs: dict[int, tuple[list[Run], list[Run], list[Run]]] = {}
    with ExitStack() as servers:
        dabt = servers.enter_context(Server(mine, plan.logs))
        load.run(dabt.url, asks(house.first(_FEW), plan.count(256), _TOKENS), _MOST)
        for concurrent, count in _CONCURRENT.items():
            many, few, again = by_turns(
                plan.rounds,
                partial(_next, dabt.url, iter(draws[concurrent]), concurrent),
                partial(load.run, dabt.url, asks(house.first(_FEW), plan.count(count), _TOKENS), concurrent),
                # The first round's, whose adapters are loaded once it is over: the rest is what first requests cost.
                partial(load.run, dabt.url, draws[concurrent][0], concurrent),
            )
            runs[concurrent] = many, few, again
        memory = dabt.memory_gib()
        right = alone(dabt.url, [ask for rounds in draws.values() for work in rounds for ask in work])
    held = f"{config.max_loras} slots, {config.max_cpu_loras} adapters in memory, rank {config.max_lora_rank} allowed"
    figures = [Figure(plan.label(NAME), "memory of all processes", (memory,), "GiB", note=held)]
    for concurrent, (many, few, again) in runs.items():
        scenario = plan.label(f"{NAME}: {_ADAPTERS} adapters, {config.max_loras} slots, {concurrent} concurrent")
        waits = [run.first_token(0.99) for run in many], [run.first_token(0.5) for run in many]
        figures += [
            Figure(scenario, "requests failed", load.failures(many), bar=Bar(at_most=0)),
            Figure(scenario, "answers unlike alone", percent_wrong(many, right), "%", Bar(at_most=0)),
            ratio(scenario, "throughput / eight adapters", load.speeds(many), load.speeds(few), _BARS[concurrent]),
            ratio(scenario, "the same, every adapter loaded before", load.speeds(again), load.speeds(few)),
            ratio(scenario, "TTFT p99 / p50", *waits, Bar(at_most=5)),
        ]
    return [*figures, *_beside(plan, Server(theirs, plan.logs), draws[_MOST], runs[_MOST][0], right)]


def _beside(plan: Plan, vllm: Server, draws: list[list[Ask]], mine: list[Run], right: Expected) -> list[Figure]:
    """The same requests to the stock server, whatever happens to it."""
    scenario = plan.label(f"{NAME}, stock vLLM")
    try:
        with vllm:
            runs = [load.run(vllm.url, work, _MOST) for work in draws]
            alive = vllm.ready()
            sample = load.run(vllm.url, list(right)[:_SAMPLE], 1)
    except ServerFailed as error:
        return [Figure(scenario, "did not start", (1.0,), note=str(error).splitlines()[-1][:120])]
    failed = [one for run in runs for one in run.failed]
    note = "" if alive else "it does not answer any more"
    figures = [
        Figure(
            scenario,
            "requests failed",
            load.failures(runs),
            note=note or (failed[0].error[:120] if failed else ""),
        ),
        Figure(scenario, "answers unlike alone", percent_wrong(runs, right)),
        Figure(scenario, "the same, asked one by one", percent_wrong([sample], right), "%"),
        Figure(scenario, "TTFT p99 / p50", tuple(run.first_token(0.99) / run.first_token(0.5) for run in runs)),
    ]
    if all(load.speeds(runs)):
        figures.append(ratio(scenario, "our throughput / its", load.speeds(mine), load.speeds(runs)))
    return figures


def _next(url: str, draws: Iterator[list[Ask]], concurrent: int) -> Run:
    return load.run(url, next(draws), concurrent)


def _zipf(house: Stocked, count: int, seed: int) -> list[Ask]:
    """Adapter k is asked for in proportion to 1/k."""
    weights = 1 / numpy.arange(1, _ADAPTERS + 1)
    drawn = numpy.random.default_rng(seed).choice(_ADAPTERS, count, p=weights / weights.sum())
    names = house.first(_ADAPTERS)
    return [asks([names[at]], 1, _TOKENS)[0] for at in drawn]
