"""The engine's pulse: a question through its own loop, again and again, that one which hangs does not answer.

Its processes are still there then, so `check` finds nothing (https://github.com/vllm-project/vllm/issues/39863).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from lifecycle.errors import EngineDead

_EVERY = 10.0
"""Seconds from an answer to the next question."""


class Pulse:
    """Belongs to one event loop; one life of the engine."""

    def __init__(
        self, ping: Callable[[], Coroutine[Any, Any, None]], silence: float, clock: Callable[[], float]
    ) -> None:
        """`ping` returns when the engine has answered; `silence` is the longest that it may take, in seconds."""
        self._ping = ping
        self._silence = silence
        self._clock = clock
        self._since = clock()
        self._asked: asyncio.Task[None] | None = None

    def look(self) -> None:
        """Ask when it is time. Raises `EngineDead` when the last question has been open for too long."""
        now = self._clock()
        if self._asked is None:
            if now - self._since >= min(_EVERY, self._silence):
                self._since, self._asked = now, asyncio.create_task(self._ping())
        elif self._asked.done():
            answered, self._since, self._asked = self._asked, now, None
            answered.result()
        elif now - self._since >= self._silence:
            raise EngineDead(f"the engine runs and does not react: it has given no sign for {self._silence:g} s")

    def stop(self) -> None:
        if self._asked is not None:
            self._asked.cancel()
