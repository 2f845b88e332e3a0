"""Rows of many requests computed together: as many as fit into a batch, without waiting long for company.

Requests take turns row by row, so that a list of thousands holds up a single text for a batch and no longer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from lifecycle.errors import Overloaded
from service.concurrency import Bulkhead

Row = Sequence[int]
"""Token ids of one text."""
Compute = Callable[[Sequence[Row]], list[list[float]]]


@dataclass(frozen=True, slots=True)
class BatchLimits:
    rows: int = 32
    tokens: int = 8192
    """Of a batch, its padding included. A row that is longer stands alone."""
    company: float = 0.002
    """Seconds that the first row waits for others while nothing is computed."""
    waiting: int = 8192
    """Rows; beyond it callers get 503."""
    seconds: float = 60.0
    """For a request, from its first row to its last."""


class _Ask:
    """One request's rows, and what has come of them."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.waiting = deque(enumerate(rows))
        self.results: list[list[float]] = [[] for _ in rows]
        self.left = len(rows)
        self.done: asyncio.Future[list[list[float]]] = asyncio.get_running_loop().create_future()

    def take(self, at: int, result: list[float]) -> None:
        self.results[at] = result
        self.left -= 1
        if self.left == 0 and not self.done.done():
            self.done.set_result(self.results)


class Batches:
    """Of one classifier. Belongs to one event loop. Classifiers share `turn`: one batch is computed at a time."""

    def __init__(self, compute: Compute, computing: Bulkhead, turn: asyncio.Lock, limits: BatchLimits) -> None:
        self._compute = compute
        self._computing = computing
        self._turn = turn
        self._limits = limits
        self._asks: deque[_Ask] = deque()
        self._full = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None

    async def rows(self, rows: Sequence[Row]) -> list[list[float]]:
        """What `compute` gives for each row, in order.

        Raises `Overloaded` when too many rows wait, or these for too long, and what computing raises.
        """
        if self.waiting + len(rows) > self._limits.waiting:
            raise Overloaded(f"{self.waiting} texts are waiting to be classified; try again later", retry_after=1.0)
        ask = _Ask(rows)
        self._asks.append(ask)
        if self.waiting >= self._limits.rows:
            self._full.set()
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        try:
            async with asyncio.timeout(self._limits.seconds):
                return await ask.done
        except TimeoutError as error:
            raise Overloaded(
                f"the texts were not classified within {self._limits.seconds:g} s; send fewer, or try again later",
                retry_after=5.0,
            ) from error
        finally:
            with suppress(ValueError):  # a caller that left: nothing more is computed for it
                self._asks.remove(ask)

    @property
    def waiting(self) -> int:
        """Rows that are in no batch yet."""
        return sum(len(ask.waiting) for ask in self._asks)

    async def _work(self) -> None:
        """Until nothing waits."""
        if self.waiting < self._limits.rows:
            self._full.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._limits.company):
                    await self._full.wait()
        while self._asks:
            async with self._turn:
                # Taken now and not before: rows that came while another batch was computed are in it.
                await self._computed(self._batch())

    async def _computed(self, batch: Sequence[tuple[_Ask, int, Row]]) -> None:
        if not batch:
            return
        try:
            results = await self._computing.run(self._compute, [row for _, _, row in batch])
        except Exception as error:
            for ask, _, _ in batch:
                if not ask.done.done():
                    ask.done.set_exception(error)
                with suppress(ValueError):
                    self._asks.remove(ask)
            return
        for (ask, at, _), result in zip(batch, results, strict=True):
            ask.take(at, result)

    def _batch(self) -> list[tuple[_Ask, int, Row]]:
        """One row of each request by turns."""
        batch: list[tuple[_Ask, int, Row]] = []
        longest = 0
        while self._asks and len(batch) < self._limits.rows:
            ask = self._asks.popleft()
            at, row = ask.waiting[0]
            longest = max(longest, len(row))
            if batch and longest * (len(batch) + 1) > self._limits.tokens:
                self._asks.appendleft(ask)
                break
            ask.waiting.popleft()
            batch.append((ask, at, row))
            if ask.waiting:
                self._asks.append(ask)
        return batch
