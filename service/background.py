"""Work that a request leaves behind: tasks that are kept until they end, and know nothing of the request."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine
from typing import Any

import structlog

log = structlog.get_logger(__name__)


class Background:
    """Belongs to one event loop."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False

    def __len__(self) -> int:
        return len(self._tasks)

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it in a task with a context of its own: what it logs, counts and charges is not the caller's."""
        if self._stopped:
            work.close()
            return
        task = asyncio.create_task(work, context=contextvars.Context())
        self._tasks.add(task)  # the event loop itself holds no task
        task.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Begin nothing more, and end what is under way."""
        self._stopped = True
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("work in the background failed", exc_info=error)
