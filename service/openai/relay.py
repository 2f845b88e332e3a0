"""Between the engine and a reader who may be slow: the engine's work is given back when it ends, not when it is read.

A stream is passed through, item by item. Once its reader has stayed away for a while, the rest is taken from the engine
as it comes and kept for him, so that a reader who stops reading holds up no slot in the batch and no place in memory.
What is kept is at most one answer.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from contextvars import Context, copy_context
from typing import Generic, TypeVar

PATIENCE = 1.0
"""Seconds that a reader may be away before the rest of his answer is kept for him."""

T = TypeVar("T")


class Relays:
    """All streams under way; looks after them while there are any. Belongs to one event loop."""

    def __init__(self, patience: float = PATIENCE, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience = patience
        self._clock = clock
        self._open: set[Relay[object]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def through(
        self, items: AsyncGenerator[T, None], given_back: Callable[[], Awaitable[object]]
    ) -> AsyncGenerator[T, None]:
        """The items, in order. `given_back` is awaited when the engine has given the last of them, or failed.

        Closing this early closes `items`.
        """
        relay = Relay(items, given_back, self._clock)
        self._open.add(relay)  # type: ignore[arg-type]
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._patience, self._look)
        try:
            while (item := await relay.next()) is not None:
                yield item
        finally:
            self._open.discard(relay)
            await relay.close()

    def _look(self) -> None:
        now = self._clock()
        for relay in self._open:
            if relay.away_since is not None and now - relay.away_since >= self._patience:
                relay.take_the_rest()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._patience, self._look) if self._open else None


class Relay(Generic[T]):
    """One stream. No item may be None."""

    def __init__(
        self, items: AsyncGenerator[T, None], given_back: Callable[[], Awaitable[object]], clock: Callable[[], float]
    ) -> None:
        self._items = items
        self._given_back = given_back
        self._clock = clock
        self._kept: deque[T] = deque()
        self._taking: asyncio.Task[None] | None = None
        self._came = asyncio.Event()
        self._context: Context | None = None
        self.away_since: float | None = None
        """Since when the reader has had an item and not asked for the next."""

    async def next(self) -> T | None:
        """None at the end. Raises what the engine raised, after all items before it."""
        self.away_since = None
        item = await (self._from_engine() if self._taking is None else self._from_kept(self._taking))
        if item is not None:
            self.away_since = self._clock()
        return item

    def take_the_rest(self) -> None:
        if self._taking is None and self.away_since is not None:
            # In the request's own context, where the engine's generator has begun.
            self._taking = asyncio.get_running_loop().create_task(self._take(), context=self._context)

    async def close(self) -> None:
        if self._taking is not None and not self._taking.done():
            self._taking.cancel()
            with suppress(asyncio.CancelledError):
                await self._taking
        await self._items.aclose()

    async def _from_engine(self) -> T | None:
        try:
            item = await anext(self._items, None)
        except Exception:
            await self._given_back()
            raise
        if item is None:
            await self._given_back()
        elif self._context is None:
            self._context = copy_context()
        return item

    async def _from_kept(self, taking: asyncio.Task[None]) -> T | None:
        while not self._kept and not taking.done():
            self._came.clear()
            await self._came.wait()
        if self._kept:
            # Others get their turn between two items, the news among them that he has left.
            await asyncio.sleep(0)
            return self._kept.popleft()
        taking.result()
        return None

    async def _take(self) -> None:
        try:
            async for item in self._items:
                self._kept.append(item)
                self._came.set()
        finally:
            await self._given_back()
            # The reader looks once this task is done.
            asyncio.get_running_loop().call_soon(self._came.set)
