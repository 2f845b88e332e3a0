"""Outcomes → an arm's times. Pure.

Throughput is measured where the answers are: arms take turns of `chunk` items at one concurrency, so the time in which
an arm has a request in flight is its own. It is the union of its requests' spans, so an interrupted run that goes on
has the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from lifecycle.costs import Percentiles, Timing

if TYPE_CHECKING:
    from evals.asking.measure import ItemResult


def timing_of(outcomes: Sequence[ItemResult], concurrency: int) -> Timing | None:
    """Of several answers to an item each counts. None where nothing was answered: a refusal is quick, and says nothing
    of how fast answers are."""
    answered = [answer for outcome in outcomes for answer in outcome.each if not answer.error]
    if not answered:
        return None
    busy = busy_seconds(span for outcome in answered for span in outcome.spans)
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


def busy_seconds(spans: Iterable[tuple[float, float]]) -> float:
    """The length of the union of `spans`, (begin, end) each."""
    total, until = 0.0, float("-inf")
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total
