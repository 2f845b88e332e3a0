"""Our service beside llama.cpp's server: SmolLM2 in 16 bits, the base alone, and four adapters and the base by turns.

    python -m benchmarks.serving --size smollm2 --only llama.cpp --llama-server /path/to/llama-server

Neither keeps prompts that it has seen. llama.cpp gets as many threads as there are cores, and 64 slots.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial

from benchmarks import llama_cpp, load
from benchmarks.answers import NoAnswer
from benchmarks.beside import CONCURRENT
from benchmarks.figures import Bar, Figure, ratio
from benchmarks.homes import stocked
from benchmarks.load import Ask, Run
from benchmarks.plan import Plan, asks, by_turns
from benchmarks.servers import BASE, Server, ours

NAME = "llama.cpp"
_ADAPTERS, _SLOTS, _TOKENS, _MESSAGES = 4, 64, 96, 16
_BARS = {("base", 1): 0.75, ("mixed", 1): 0.75, ("base", 64): 1.3, ("mixed", 64): 3.0}
"""Of its tokens a second."""
_TURNS = {1: 4}
"""Requests in flight at a time → turns of a round, otherwise one: a single stream is as slow as the machine is at that
moment, so the servers change places often."""
_ALIKE = 8
"""Tokens at an answer's beginning that are held against each other: in 16 bits later ones part by rounding alone."""


def measure(plan: Plan) -> list[Figure]:
    server = llama_cpp.binary(plan.llama_server)
    house = stocked(plan.base, 8, plan.work)
    names = house.first(_ADAPTERS)
    config = plan.config(slots=_ADAPTERS).model_copy(update={"engine_options": ("--no-enable-prefix-caching",)})
    cores = len(os.sched_getaffinity(0))
    peer = llama_cpp.recipe(server, plan.base, range(_ADAPTERS), plan.work, cores, _SLOTS)
    figures = []
    with Server(ours(config, house.home.root), plan.logs) as dabt, Server(peer, plan.logs) as other:
        figures.append(_alike(plan, dabt, other, names))
        for concurrent, requests in CONCURRENT.items():
            for kind, models in (("base", [BASE]), ("mixed", [BASE, *names])):
                work = asks(models, plan.count(requests), plan.tokens(_TOKENS), plan.messages(_MESSAGES))
                figures += _beside(
                    plan, kind, (dabt, other), (work, llama_cpp.asks(work, plan.base, names)), concurrent
                )
        pss = dabt.memory_gib(), other.memory_gib()
        figures.append(ratio(plan.label(NAME), "memory / llama.cpp", [pss[0]], [pss[1]]))
    return figures


def _beside(
    plan: Plan, kind: str, servers: tuple[Server, Server], work: tuple[Sequence[Ask], Sequence[Ask]], concurrent: int
) -> list[Figure]:
    turns = min(_TURNS.get(concurrent, 1), len(work[0]))
    mine: list[Run] = []
    theirs: list[Run] = []
    for turn in range(turns):
        sides = (
            partial(load.run, server.url, side[turn::turns], concurrent)
            for server, side in zip(servers, work, strict=True)
        )
        runs = by_turns(plan.rounds, *sides)
        mine, theirs = mine + runs[0], theirs + runs[1]
    scenario = plan.label(f"{NAME}, {kind}, {concurrent} concurrent")
    least = _BARS.get((kind, concurrent))
    bar = None if least is None else Bar(at_least=least)
    waits = [run.first_token(0.5) for run in mine], [run.first_token(0.5) for run in theirs]
    return [
        ratio(scenario, "throughput / llama.cpp", load.speeds(mine), load.speeds(theirs), bar),
        Figure(scenario, "ours", tuple(load.speeds(mine)), "tok/s"),
        Figure(scenario, "llama.cpp", tuple(load.speeds(theirs)), "tok/s"),
        ratio(scenario, "TTFT p50 / llama.cpp", *waits),
        Figure(scenario, "requests failed", load.failures(mine), bar=Bar(at_most=0)),
        Figure(scenario, "the same, llama.cpp", load.failures(theirs)),
    ]


def _alike(plan: Plan, dabt: Server, other: Server, names: Sequence[str]) -> Figure:
    """Whether both compute the same thing; it warms both up too. Raises `NoAnswer` where a model never agrees."""
    work = asks([BASE, *names], 4 * (1 + len(names)), _ALIKE, 4)
    mine, theirs = load.run(dabt.url, work, 16), load.run(other.url, llama_cpp.asks(work, plan.base, names), 16)
    if failed := [*mine.failed, *theirs.failed]:
        raise NoAnswer(f"{failed[0].ask.model}: {failed[0].error or 'too few tokens'}")
    right = {(told.ask.model, told.ask.text): told.tokens for told in mine.told}
    shares: dict[str, list[float]] = {model: [] for model in (BASE, *names)}
    for told in theirs.told:
        expected = right[told.ask.model, told.ask.text]
        same = next(
            (at for at, pair in enumerate(zip(told.tokens, expected, strict=True)) if pair[0] != pair[1]), _ALIKE
        )
        shares[told.ask.model].append(same / _ALIKE)
    for model, share in shares.items():
        if not any(share):
            raise NoAnswer(f"{model} answers nothing alike on both servers, so they do not compute the same")
    every = [one for share in shares.values() for one in share]
    note = f"of the first {_ALIKE} of {len(every)} answers"
    return Figure(plan.label(NAME), "tokens alike on both", (100 * sum(every) / len(every),), "%", note=note)
