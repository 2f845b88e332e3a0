"""Threads for one kind of work that may have to wait: a store that hangs, or a registry that is locked, then holds up
its own kind of work and nothing else.

After the bulkheads of M. Nygard, Release It! (2nd edition, 2018). `asyncio.to_thread` shares a handful of threads
between all kinds, and a process cannot end before the last of them has.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

from lifecycle.errors import Overloaded, Unavailable

T = TypeVar("T")


class Bulkhead:
    """Belongs to one event loop. A thread for each call, gone with the process: what hangs cannot keep it alive."""

    def __init__(self, name: str, at_once: int, waiting: int) -> None:
        """`at_once` calls run, `waiting` more wait for their turn, and what comes then is refused."""
        self._name = name
        self._most = at_once + waiting
        self._places = asyncio.Semaphore(at_once)
        self._here = 0
        self._outcomes: set[asyncio.Future[Any]] = set()

    async def run(self, work: Callable[..., T], *args: Any, **named: Any) -> T:
        """What `work` returns or raises. A caller that leaves does not stop it, and its place is taken until its end.

        Raises `Overloaded` when too many wait already.
        """
        if self._here >= self._most:
            raise Overloaded(f"too many wait for the {self._name}; try again later", retry_after=5.0)
        self._here += 1
        try:
            await self._places.acquire()
        except BaseException:
            self._here -= 1
            raise
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[T] = loop.create_future()
        self._outcomes.add(outcome)
        outcome.add_done_callback(self._outcomes.discard)
        context = copy_context()

        def in_thread() -> None:
            try:
                result = context.run(work, *args, **named)
                told = partial(_succeed, outcome, result)
            except BaseException as error:
                told = partial(_fail, outcome, error)
            with suppress(RuntimeError):  # the event loop has ended: nobody waits
                loop.call_soon_threadsafe(self._ended, told)

        threading.Thread(target=in_thread, name=self._name, daemon=True).start()
        return await outcome

    def calls(self) -> int:
        """Running and waiting."""
        return self._here

    def leave(self) -> None:
        """Tell all who wait, because the process is about to end. What runs is not told, and may still be done."""
        for outcome in [one for one in self._outcomes if not one.done()]:
            why = f"the service stopped before the {self._name} answered; look whether it was done"
            outcome.set_exception(Unavailable(why, retry_after=5.0))

    def _ended(self, told: Callable[[], None]) -> None:
        self._here -= 1
        self._places.release()
        told()


def _succeed(outcome: asyncio.Future[T], result: T) -> None:
    if not outcome.done():  # else its caller has left
        outcome.set_result(result)


def _fail(outcome: asyncio.Future[Any], error: BaseException) -> None:
    if not outcome.done():
        outcome.set_exception(error)
