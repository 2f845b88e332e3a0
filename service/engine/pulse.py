"""The engine's pulse: a question through its own loop, again and again, that one which hangs does not answer.

Its processes are still there then, so `check` finds nothing (https://github.com/vllm-project/vllm/issues/39863). A
question that fails, in whatever way, is a missed beat and no death: only when no beat has come for too long is the
engine taken for dead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from lifecycle.errors import EngineDead

_EVERY = 10.0
"""Seconds from an answer to the next question."""
_AGAIN = 1.0
"""Seconds from a missed beat to the next question."""

log = structlog.get_logger(__name__)


class Pulse:
    """Belongs to one event loop; one life of the engine."""

    def __init__(
        self, ping: Callable[[], Coroutine[Any, Any, None]], silence: float, clock: Callable[[], float]
    ) -> None:
        """`ping` returns when the engine has answered; `silence` is the longest that it may take, in seconds."""
        self._ping = ping
        self._silence = silence
        self._clock = clock
        self._next = clock() + min(_EVERY, silence)
        """When to ask."""
        self._waiting_since: float | None = None
        """When the first of the questions was asked that have had no answer since the last beat."""
        self._asked: asyncio.Task[None] | None = None
        self._missed = False

    def look(self) -> None:
        """Ask when it is time. Raises `EngineDead` when the engine says so, or has given no beat for too long."""
        now = self._clock()
        if self._asked is not None and self._asked.done():
            self._hear(self._asked, now)
            self._asked = None
        if self._waiting_since is not None and now - self._waiting_since >= self._silence:
            raise EngineDead(f"the engine runs and does not react: it has given no sign for {self._silence:g} s")
        if self._asked is None and now >= self._next:
            self._asked = asyncio.create_task(self._ping())
            if self._waiting_since is None:
                self._waiting_since = now

    def stop(self) -> None:
        if self._asked is not None and not self._asked.cancel() and not self._asked.cancelled():
            self._asked.exception()  # looked at, or it would be reported as one that nobody looked at

    def _hear(self, answer: asyncio.Task[None], now: float) -> None:
        # vLLM cancels what it cannot answer; that must not be taken for the end of whoever looks here.
        fault = asyncio.CancelledError("it was cancelled") if answer.cancelled() else answer.exception()
        if isinstance(fault, EngineDead):
            raise fault
        if fault is None:
            self._missed, self._waiting_since, self._next = False, None, now + min(_EVERY, self._silence)
            return
        self._next = now + _AGAIN
        if not self._missed:  # said once, until it has answered again
            log.warning("the engine missed a beat", error=f"{type(fault).__name__}: {fault}")
        self._missed = True
