"""How much each key may still use: its limits per minute, its quota of the day, and what every request cost.

A request is let in by `admitted` before its body is read, and charged by `settle` when its end is known: the real
tally, or an estimate when the caller left before there was one. `limiter.py` holds the minutes, `ledger.py` the days.
All of it costs the same for one key and for ten thousand.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal

from lifecycle.access.keys import ApiKey
from lifecycle.errors import LimitReached
from service.access.ledger import Ledger
from service.access.limiter import Limiter
from service.request_context import DISCONNECTED, RequestContext, RequestFigures

_BYTES_A_TOKEN = 4
"""Of a prompt that nobody counted. A guess that suits English; it is there so that leaving early is not free."""


class Accounts:
    """Belongs to one event loop."""

    def __init__(self, limiter: Limiter, ledger: Ledger, at_once: int) -> None:
        """`at_once` requests of a key that has no limit of its own are answered at the same time."""
        self._limiter = limiter
        self._ledger = ledger
        self.at_once = at_once
        self._under_way: dict[str, int] = {}
        """Key's id → its requests that are being answered; no key without one."""
        self._charging: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        await asyncio.to_thread(self._ledger.start)

    async def stop(self) -> None:
        """Write what was used, so that a clean end loses nothing."""
        await asyncio.gather(*self._charging, return_exceptions=True)
        await asyncio.to_thread(self._ledger.stop)
        await self._limiter.close()

    @property
    def counted_in(self) -> Literal["process", "redis", "away"]:
        """Where requests and tokens per minute are counted now."""
        return self._limiter.counted_in

    @asynccontextmanager
    async def admitted(self, key: ApiKey, context: RequestContext) -> AsyncIterator[None]:
        """The block is one request of the key, until the last byte of its answer. What is left of the key's limits goes
        on the answer.

        Raises `QuotaSpent`, `LimitReached`.
        """
        self._take_place(key)
        try:
            await self._admit(key, context)
            yield
        finally:
            self._give_place_back(key)

    def _take_place(self, key: ApiKey) -> None:
        under_way = self._under_way.get(key.id, 0)
        most = key.limits.requests_at_once or self.at_once
        if under_way >= most:
            raise LimitReached(
                f"the {key} has {under_way} requests under way, and may have {most} at once; wait until one has ended",
                retry_after=1.0,
            )
        self._under_way[key.id] = under_way + 1

    def _give_place_back(self, key: ApiKey) -> None:
        self._under_way[key.id] -= 1
        if not self._under_way[key.id]:
            del self._under_way[key.id]

    async def _admit(self, key: ApiKey, context: RequestContext) -> None:
        self._ledger.check(key)
        standing = await self._limiter.admit(key)
        context.tell(standing.headers)
        if standing.refusal is not None:
            raise standing.refusal

    def settle(self, key: ApiKey | None, version: str, body: Mapping[str, Any], figures: RequestFigures) -> None:
        """Charge a request whose answer is over, by how it went: call it once. Returns at once.

        Our own failures cost nothing. A caller that left did let the engine work, so it pays for the prompt by its
        size and for each piece of the answer that it has had.
        """
        if key is None:
            return
        if figures.tally is not None:
            self.charge(key, version, figures.tally.prompt_tokens, figures.tally.completion_tokens)
        elif figures.code == DISCONNECTED:
            self.charge(key, version, tokens_about(body), figures.sent)

    def charge(self, key: ApiKey, version: str, prompt_tokens: int, completion_tokens: int) -> None:
        """The minute's window is charged in the background, where Redis cannot hold up an answer."""
        self._ledger.add(key.id, version, prompt_tokens, completion_tokens)
        task = asyncio.ensure_future(self._limiter.charge(key, prompt_tokens + completion_tokens))
        self._charging.add(task)
        task.add_done_callback(self._charging.discard)


def tokens_about(body: Mapping[str, Any]) -> int:
    """About how many tokens a request has, by its texts; tokens in lists are counted one by one."""
    size, tokens = 0, 0
    rest: list[Any] = [body]
    while rest:
        value = rest.pop()
        if isinstance(value, str):
            size += len(value.encode())
        elif isinstance(value, dict):
            rest += value.values()
        elif isinstance(value, list) and value and isinstance(value[0], int):
            tokens += len(value)
        elif isinstance(value, list):
            rest += value
    return tokens + size // _BYTES_A_TOKEN
