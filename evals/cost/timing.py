"""Outcomes → an arm's times. Pure.

Throughput is measured where the answers are: arms take turns of `chunk` items at one concurrency, and an arm has the
seconds in which its requests are in flight; where two turns meet, its share of them. They follow from the requests'
spans, so an interrupted run that goes on has the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from lifecycle.costs import Percentiles, Timing

if TYPE_CHECKING:
    from evals.asking.measure import ItemResult


def spans_of(outcomes: Sequence[ItemResult]) -> list[tuple[float, float]]:
    """Of every answer that is none of an error."""
    return [span for outcome in outcomes for answer in outcome.each if not answer.error for span in answer.spans]


def timing_of(outcomes: Sequence[ItemResult], concurrency: int, busy: float | None = None) -> Timing | None:
    """Of several answers to an item each counts. None where nothing was answered: a refusal is quick, and says nothing
    of how fast answers are. `busy` is the arm's share of the seconds; without it no other arm was asked."""
    answered = [answer for outcome in outcomes for answer in outcome.each if not answer.error]
    if not answered:
        return None
    busy = busy_seconds({"": spans_of(outcomes)})[""] if busy is None else busy
    first = [outcome.first_token for outcome in answered if outcome.first_token is not None]
    written = sum(outcome.completion_tokens for outcome in answered)
    return Timing(
        concurrency=concurrency,
        latency=percentiles([outcome.latency for outcome in answered]),
        first_token=percentiles(first) if first else None,
        searched=sum(outcome.searched for outcome in answered) / len(answered),
        busy=busy,
        items_per_second=len(answered) / busy if busy else 0.0,
        tokens_per_second=written / busy if busy else 0.0,
    )


def percentiles(seconds: Sequence[float]) -> Percentiles:
    import numpy as np

    p50, p95, p99 = np.percentile(seconds, [50, 95, 99])
    return Percentiles(p50=float(p50), p95=float(p95), p99=float(p99), n=len(seconds))


def busy_seconds(spans: Mapping[str, Iterable[tuple[float, float]]]) -> dict[str, float]:
    """Of each arm, the seconds in which its requests, (begin, end) each, were in flight. A moment in which several arms
    had some is shared out by how many each had: together the arms have no second twice."""
    ends = ((arm, begin, end) for arm, own in spans.items() for begin, end in own)
    edges = sorted(edge for arm, begin, end in ends for edge in ((begin, 1, arm), (end, -1, arm)))
    flying, busy, before = dict.fromkeys(spans, 0), dict.fromkeys(spans, 0.0), 0.0
    for at, step, arm in edges:
        if every := sum(flying.values()):
            for name, own in flying.items():
                busy[name] += (at - before) * own / every
        flying[arm] += step
        before = at
    return busy
