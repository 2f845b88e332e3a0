"""Whether the artifact store answers: asked of the store itself, and remembered, so that many open pages ask once."""

from __future__ import annotations

import asyncio
import time

from lifecycle.errors import DabtError
from lifecycle.store.artifacts import ArtifactStore
from lifecycle.store.asking import ask
from service.concurrency import Bulkhead

_PATIENCE = 3.0
"""Seconds that a page waits for the store."""
_REMEMBERED = 15.0
"""Seconds for which an answer counts."""


class StoreHealth:
    """Belongs to one event loop."""

    def __init__(self, store: ArtifactStore, at_store: Bulkhead) -> None:
        self._store, self._at_store = store, at_store
        self._asking: asyncio.Task[str] | None = None
        self._at = 0.0

    async def problem(self) -> str:
        """Why it does not answer, in words; empty while it does."""
        if self._asking is None or (self._asking.done() and time.monotonic() - self._at > _REMEMBERED):
            self._asking = asyncio.create_task(self._ask(), name="store-health")
        try:
            return await asyncio.wait_for(asyncio.shield(self._asking), _PATIENCE)
        except TimeoutError:
            return f"the artifact store has not answered for {_PATIENCE:g} s"

    async def stop(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait({self._asking})

    async def _ask(self) -> str:
        try:
            await self._at_store.run(ask, self._store)
        except DabtError as error:
            return str(error)
        finally:
            self._at = time.monotonic()
        return ""
