"""The end of a service: nothing more is let in, and what was let in is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lifecycle.errors import Overloaded

if TYPE_CHECKING:
    from service.parts import Parts


class Drain:
    """Counts the requests under way. Belongs to one event loop."""

    def __init__(self) -> None:
        self.since: datetime | None = None
        """When draining began; None while requests are let in."""
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def check(self) -> None:
        """Raises `Overloaded` once draining has begun."""
        if self.since is not None:
            raise Overloaded("the service is stopping and takes no new requests", retry_after=5.0)

    def begun(self) -> None:
        """One request more is under way: call `ended` once for it."""
        self._under_way += 1
        self._idle.clear()

    def ended(self) -> None:
        self._under_way -= 1
        if self._under_way == 0:
            self._idle.set()

    @contextmanager
    def under_way(self) -> Iterator[None]:
        self.begun()
        try:
            yield
        finally:
            self.ended()

    async def idle(self) -> None:
        """Return when nothing is under way."""
        await self._idle.wait()


async def drain(parts: Parts, seconds: float) -> bool:
    """Let nothing more in and wait for what was let in. False when `seconds` were not enough.

    Changes of the registry are not waited for: one that waits for a lock may do so for long.
    """
    parts.drain.since = parts.drain.since or datetime.now(UTC)
    await parts.traffic.shadows.stop()
    try:
        async with asyncio.timeout(seconds):
            await parts.drain.idle()
    except TimeoutError:
        return False
    finally:
        parts.at_registry.leave()
    return True


async def cut_off(parts: Parts) -> None:
    """End what is still under way with an error, which its callers can read, rather than with their connections."""
    await parts.supervisor.stop()
    await parts.engine.stop()
