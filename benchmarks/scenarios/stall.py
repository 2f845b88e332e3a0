"""How long a stream of the base pauses while an adapter is loaded beside it, in its usual steps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from itertools import pairwise
from statistics import median

import aiohttp

from benchmarks import load
from benchmarks.figures import Bar, Figure
from benchmarks.homes import stocked
from benchmarks.load import Ask
from benchmarks.plan import Plan, asks
from benchmarks.servers import BASE, Server, ours

NAME = "stall"
_STREAMS = (1, 16)
_LOADS, _TOKENS = 16, 512
_APART = 0.1
"""Seconds between two loads: the time to compare with."""

Window = tuple[float, float]
"""From when to when."""


def measure(plan: Plan) -> list[Figure]:
    """A round is one load, first of adapters without golden prompts, and then of such as have one.

    A golden prompt is computed in a step of its own, as the prompt of any request is.
    """
    loads = plan.count(_LOADS)
    figures = []
    for golden in (False, True):
        house = stocked(plan.base, loads * len(_STREAMS), plan.work, golden=golden)
        names = list(house.adapters)
        with Server(ours(plan.config(), house.home.root), plan.logs) as dabt:
            for at, streams in enumerate(_STREAMS):
                work = asks([BASE], streams, plan.tokens(_TOKENS))
                load.run(dabt.url, work, streams)
                told = asyncio.run(_loaded_beside(dabt.url, work, names[at * loads : (at + 1) * loads]))
                scenario = plan.label(f"{NAME}: {streams} streams" + (", golden prompts" if golden else ""))
                figures += _figures(scenario, *told, None if golden else Bar(at_most=1))
    return figures


def _figures(
    scenario: str, steps: Sequence[Window], loading: Sequence[Window], quiet: Sequence[Window], bar: Bar | None
) -> list[Figure]:
    usual = median(end - begin for begin, end in steps)
    during, between = ([_longest(steps, window) / usual for window in windows] for windows in (loading, quiet))
    added = tuple(one - other for one, other in zip(during, between, strict=True))
    return [
        Figure(scenario, "usual step", (1000 * usual,), "ms"),
        Figure(scenario, "longest pause between loads, in steps", tuple(between)),
        Figure(scenario, "more than that during a load, in steps", added, bar=bar),
    ]


async def _loaded_beside(
    url: str, work: Sequence[Ask], names: Sequence[str]
) -> tuple[list[Window], list[Window], list[Window]]:
    """From each token to the next of the first stream; then when an adapter was loaded, and when none was."""
    loading, quiet = [], []
    began = asyncio.Event()

    async def loads() -> None:
        async with aiohttp.ClientSession(url) as session:
            await began.wait()
            await asyncio.sleep(5 * _APART)  # all streams are past their prompts
            for name in names:
                start = time.perf_counter()
                await asyncio.sleep(_APART)
                middle = time.perf_counter()
                async with session.post("/admin/preload", json={"ref": f"{name}:1"}) as answer:
                    answer.raise_for_status()
                quiet.append((start, middle))
                loading.append((middle, time.perf_counter()))

    run, _ = await asyncio.gather(load.drive(url, work, len(work), began.set), loads())
    if run.failed:
        raise RuntimeError(f"a stream of the base failed: {run.failed[0].error}")
    first = run.told[0]
    ended = first.arrivals[-1]
    both = [(one, other) for one, other in zip(loading, quiet, strict=True) if one[1] < ended]
    if not both:
        raise RuntimeError("the streams ended before an adapter was loaded")
    return list(pairwise(first.arrivals)), [one for one, _ in both], [other for _, other in both]


def _longest(steps: Sequence[Window], window: Window) -> float:
    """Of the steps that lie in the window at least in part."""
    return max(end - begin for begin, end in steps if end > window[0] and begin < window[1])
