"""A result that many wait for and that is made once; after a failure the next one to ask has it made again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Once(Generic[T]):
    """Belongs to one event loop."""

    def __init__(self, make: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._make = make
        self._task: asyncio.Task[T] | None = None

    async def result(self) -> T:
        """Raises what making it raised."""
        task = self._task
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._task = asyncio.create_task(self._make())
        # Shielded: a caller that leaves must not stop what others wait for.
        return await asyncio.shield(task)
