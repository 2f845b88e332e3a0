"""What an arm takes: its times as they were measured, and what that comes to at a team's prices. Nouns of the report.

`evals/cost/` works them out.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lifecycle.version import Digest, Frozen


class Percentiles(Frozen):
    """Of seconds, over `n` items."""

    p50: float
    p95: float
    p99: float
    n: int = Field(ge=1)


class Timing(Frozen):
    """One arm's times at one number of requests in flight. Failed items are in none of them."""

    concurrency: int
    latency: Percentiles
    """From sending an item's requests to their last bytes, as the evaluation timed it."""
    first_token: Percentiles | None = None
    """From arrival of the item's first request to its first token, as the endpoint timed it; None where it does not."""
    searched: float = 0.0
    """Mean seconds of an item in the search for passages, as the endpoint timed it."""
    busy: float
    """Seconds in which the arm's requests were in flight; where another arm's were too, its share of them."""
    items_per_second: float
    """Over the busy seconds."""
    tokens_per_second: float
    """Of answers, likewise."""


class Cost(Frozen):
    """What an item of one arm costs, in the currency of the report's prices, with its 95 % interval over the items."""

    by: Literal["tokens", "machine"]
    item: float
    low: float
    high: float
    search: float = 0.0
    """Of `item`, what is asked for a search."""
    passages: float | None = None
    """Of `item`, the prompt tokens that passages take: against the arm that is the same version without an index. None
    where no such arm was measured, or tokens have no price."""
    once: dict[str, float] = Field(default_factory=dict)
    """What is paid however many requests come: training, labelling, index, retrieval's service, …"""
    unknown: tuple[str, ...] = ()
    """What is in no figure here, and why."""

    @property
    def fixed(self) -> float:
        return sum(self.once.values())

    def of_request(self, requests: int | None) -> float:
        """An item's cost with its share of what is paid once; without `requests` that share is not in it."""
        return self.item + (self.fixed / requests if requests else 0.0)


class PricesUsed(Frozen):
    """By which prices the costs of a report are."""

    digest: Digest
    currency: str
    requests: int | None = None
    """Expected in all; None where the prices do not say."""
    unused: tuple[str, ...] = ()
    """Labels that the prices name and that are no arms of this evaluation."""
