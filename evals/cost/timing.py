"""Outcomes → an arm's times. Pure.

Throughput is measured where the answers are: arms take turns of `chunk` items at one concurrency, and an arm has the
seconds in which its requests are in flight; where two turns meet, its share of them. They follow from the requests'
spans, so an interrupted run that goes on has the same.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from lifecycle.costs import Percentiles, Timing

if TYPE_CHECKING:
    from evals.asking.measure import ItemResult


def spans_of(outcomes: Sequence[ItemResult]) -> Iterator[tuple[float, float]]:
    """Of every answer that is none of an error."""
    return (span for outcome in outcomes for answer in outcome.each if not answer.error for span in answer.spans)


def timing_of(outcomes: Sequence[ItemResult], concurrency: int, busy: float | None = None) -> Timing | None:
    """Of several answers to an item each counts. None where nothing was answered: a refusal is quick, and says nothing
    of how fast answers are. `busy` is the arm's share of the seconds; without it no other arm was asked."""
    latency, first, searched, written = array("d"), array("d"), 0.0, 0
    for answer in (answer for outcome in outcomes for answer in outcome.each if not answer.error):
        latency.append(answer.latency)
        first.extend(() if answer.first_token is None else (answer.first_token,))
        searched, written = searched + answer.searched, written + answer.completion_tokens
    if not latency:
        return None
    busy = busy_seconds({"": spans_of(outcomes)})[""] if busy is None else busy
    return Timing(
        concurrency=concurrency,
        latency=percentiles(latency),
        first_token=percentiles(first) if first else None,
        searched=searched / len(latency),
        busy=busy,
        items_per_second=len(latency) / busy if busy else 0.0,
        tokens_per_second=written / busy if busy else 0.0,
    )


def percentiles(seconds: Sequence[float]) -> Percentiles:
    import numpy as np

    p50, p95, p99 = np.percentile(seconds, [50, 95, 99])
    return Percentiles(p50=float(p50), p95=float(p95), p99=float(p99), n=len(seconds))


def busy_seconds(spans: Mapping[str, Iterable[tuple[float, float]]]) -> dict[str, float]:
    """Of each arm, the seconds in which its requests, (begin, end) each, were in flight. A moment in which several arms
    had some is shared out by how many each had: together the arms have no second twice."""
    import numpy as np

    told = ((begin, end, arm) for arm, own in enumerate(spans.values()) for begin, end in own)
    begins, ends, arms = np.fromiter(told, np.dtype((float, 3))).T
    times, arms = np.concatenate([begins, ends]), np.concatenate([arms, arms])
    steps = np.repeat([1, -1], len(begins))
    flying, busy, before = [0] * len(spans), [0.0] * len(spans), 0.0
    for place in np.lexsort((steps, times)):
        at, arm = float(times[place]), int(arms[place])
        if every := sum(flying):
            for other, own in enumerate(flying):
                busy[other] += (at - before) * own / every
        flying[arm] += int(steps[place])
        before = at
    return dict(zip(spans, busy, strict=True))
