"""What a run may spend: each request is reserved at its worst case before it is sent, and settled by what it took."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from pydantic import Field

from lifecycle.errors import NotAllowed
from lifecycle.version import Frozen

_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Tokens:
    """Of one request or of many."""

    prompt: int = 0
    completion: int = 0

    @property
    def total(self) -> int:
        return self.prompt + self.completion

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(self.prompt + other.prompt, self.completion + other.completion)

    def __sub__(self, other: Tokens) -> Tokens:
        return Tokens(self.prompt - other.prompt, self.completion - other.completion)


class Prices(Frozen, allow_inf_nan=False):
    """For a million tokens, in the currency that the endpoint asks for."""

    prompt: float = Field(default=0.0, ge=0.0)
    completion: float = Field(default=0.0, ge=0.0)

    def of(self, tokens: Tokens) -> float:
        return (tokens.prompt * self.prompt + tokens.completion * self.completion) / _MILLION


class Caps(Frozen, allow_inf_nan=False):
    """The most that all runs over one journal may take together. None: no cap."""

    cost: float | None = Field(default=None, ge=0.0)
    tokens: int | None = Field(default=None, ge=0)
    requests: int | None = Field(default=None, ge=0)


class CapReached(NotAllowed):
    """The next request could go over a cap, so it was not sent. Never leaves this package: the run ends and reports."""


class Budget:
    """What was spent and what requests under way may still take. For one event loop."""

    def __init__(self, caps: Caps, prices: Prices, spent: Tokens = Tokens(), requests: int = 0) -> None:
        self.caps, self.prices = caps, prices
        self.spent, self.requests = spent, requests
        self._reserved = Tokens()
        self._under_way = 0
        self._settled = asyncio.Condition()

    @property
    def cost(self) -> float:
        return self.prices.of(self.spent)

    async def reserve(self, worst: Tokens) -> None:
        """Waits while requests under way may leave enough, which they do as a rule: they take less than their worst.

        Raises `CapReached` when nothing that is under way could help.
        """
        async with self._settled:
            while reason := self._over(worst):
                if not self._under_way or self._no_more_requests():
                    raise CapReached(reason)
                await self._settled.wait()
            self.requests += 1
            self._under_way += 1
            self._reserved += worst

    async def settle(self, worst: Tokens, took: Tokens) -> None:
        """The request that reserved `worst` has ended and took `took`."""
        async with self._settled:
            self._under_way -= 1
            self._reserved -= worst
            self.spent += took
            self._settled.notify_all()

    def _no_more_requests(self) -> bool:
        return self.caps.requests is not None and self.requests >= self.caps.requests

    def _over(self, worst: Tokens) -> str:
        """Why a request that takes `worst` may not be sent now; empty when it may."""
        if self._no_more_requests():
            return f"the cap of {self.caps.requests:,} requests"
        then = self.spent + self._reserved + worst
        if self.caps.tokens is not None and then.total > self.caps.tokens:
            return f"the cap of {self.caps.tokens:,} tokens"
        if self.caps.cost is not None and self.prices.of(then) > self.caps.cost:
            return f"the cap of {self.caps.cost:g} in cost"
        return ""
