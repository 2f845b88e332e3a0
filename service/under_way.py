"""The requests under way: at the end of a service nothing more is let in, and what was let in is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from lifecycle.errors import Overloaded


class UnderWay:
    """Counts the requests under way. Belongs to one event loop."""

    def __init__(self) -> None:
        self.draining_since: datetime | None = None
        """None while requests are let in."""
        self._count = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def check(self) -> None:
        """Raises `Overloaded` once draining has begun."""
        if self.draining_since is not None:
            raise Overloaded("the service is stopping and takes no new requests", retry_after=5.0)

    def drain(self) -> None:
        """Let nothing more in."""
        self.draining_since = self.draining_since or datetime.now(UTC)

    def begun(self) -> None:
        """One request more is under way: call `ended` once for it."""
        self._count += 1
        self._idle.clear()

    def ended(self) -> None:
        self._count -= 1
        if self._count == 0:
            self._idle.set()

    @contextmanager
    def counted(self) -> Iterator[None]:
        self.begun()
        try:
            yield
        finally:
            self.ended()

    async def idle(self) -> None:
        """Return when nothing is under way."""
        await self._idle.wait()
