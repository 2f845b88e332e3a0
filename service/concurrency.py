"""Work beside a request: made once for many (`Once`), left behind (`Background`), or waiting in a thread (`Bulkhead`).

Each belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial, wraps
from typing import Any, Generic, Literal, ParamSpec, TypeVar

import structlog

from lifecycle.errors import Overloaded, Unavailable

P = ParamSpec("P")
T = TypeVar("T")

_HANGING = 4
"""So many times `at_once` calls may hang after they were given up: each keeps a thread, of which a machine has only so
many."""

_TURN = 0.001
"""Seconds. Python's own are 0.005, and who reads an adapter's files waits so after each of dozens of calls to the disk
while the event loop is busy."""

log = structlog.get_logger(__name__)


def take_short_turns() -> None:
    """From now on a thread of this process soon lets another one go on that waits for the interpreter."""
    sys.setswitchinterval(_TURN)


def one_at_a_time(work: Callable[P, T]) -> Callable[P, T]:
    """For what may be called in several threads and works on something that the whole process has once."""
    lock = threading.Lock()

    @wraps(work)
    def alone(*args: P.args, **kwargs: P.kwargs) -> T:
        with lock:
            return work(*args, **kwargs)

    return alone


class Once(Generic[T]):
    """A result that many wait for and that is made once; after a failure the next one to ask has it made again."""

    def __init__(self, make: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._make = make
        self._task: asyncio.Task[T] | None = None

    @property
    def standing(self) -> Literal["unasked", "making", "made", "failed"]:
        if self._task is None:
            return "unasked"
        if not self._task.done():
            return "making"
        return "failed" if self._task.cancelled() or self._task.exception() is not None else "made"

    async def result(self) -> T:
        """Raises what making it raised."""
        task = self._task
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._task = asyncio.create_task(self._make())
        # Shielded: a caller that leaves must not stop what others wait for.
        return await asyncio.shield(task)


class Background:
    """Tasks that a request leaves behind: kept until they end, and without the request's context."""

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
        task = asyncio.create_task(work, context=Context())
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


class Bulkhead:
    """Threads for one kind of work that may have to wait: a store that hangs, or a registry that is locked, then holds
    up its own kind of work and nothing else. After the bulkheads of M. Nygard, Release It! (2nd edition, 2018).

    A thread for each call, gone with the process: what hangs cannot keep it alive, as it would `asyncio.to_thread`'s,
    whose handful of threads all kinds share.
    """

    def __init__(self, name: str, at_once: int, waiting: int, seconds: float | None) -> None:
        """`at_once` calls run, `waiting` more wait for their turn, and what comes then is refused.

        A call that takes longer than `seconds` is given up: its caller is told, and its place goes to the next. None
        is for what has a deadline of its own.
        """
        self._name = name
        self._at_once = at_once
        self._most = at_once + waiting
        self._seconds = seconds
        self._places = asyncio.Semaphore(at_once)
        self._here = 0
        self._hanging = 0
        self._outcomes: set[asyncio.Future[Any]] = set()

    async def run(self, work: Callable[..., T], *args: Any, **named: Any) -> T:
        """What `work` returns or raises. A caller that leaves does not stop it, and its place is taken until its end.

        Raises `Overloaded` when too many wait already, or when this machine starts no more threads, and `Unavailable`
        when it took too long; it may still be done then.
        """
        if self._here >= self._most:
            raise self._too_many()
        if self._hanging >= _HANGING * self._at_once:
            raise Unavailable(f"the {self._name} hangs: {self._hanging} calls have not come back", retry_after=30.0)
        self._here += 1
        try:
            async with asyncio.timeout(self._seconds):
                await self._places.acquire()
        except TimeoutError as error:
            self._here -= 1
            raise self._too_many() from error
        except BaseException:
            self._here -= 1
            raise
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[T] = loop.create_future()
        call = _Call(outcome)
        context, name = copy_context(), self._name

        def in_thread() -> None:
            try:
                result = context.run(work, *args, **named)
                told = partial(_succeed, outcome, result)
            except SystemExit as error:
                # Raised anew where it is awaited, it would end the event loop and with it the service.
                told = partial(_fail, outcome, RuntimeError(f"the {name} wanted to end the process ({error})"))
            except BaseException as error:
                told = partial(_fail, outcome, error)
            with suppress(RuntimeError):  # the event loop has ended: nobody waits
                loop.call_soon_threadsafe(self._returned, call, told)

        try:
            threading.Thread(target=in_thread, name=name, daemon=True).start()
        except (RuntimeError, MemoryError) as error:
            self._give_place_back()
            why = f"this machine starts no thread for the {self._name} ({error}); try again later"
            raise Overloaded(why, retry_after=5.0) from error
        self._outcomes.add(outcome)
        outcome.add_done_callback(self._outcomes.discard)
        if self._seconds is not None:
            call.deadline = loop.call_later(self._seconds, self._give_up, call)
        return await outcome

    def calls(self) -> int:
        """Running and waiting; those that were given up are not counted."""
        return self._here

    def leave(self) -> None:
        """Tell all who wait, because the process is about to end. What runs is not told, and may still be done."""
        why = f"the service stopped before the {self._name} answered; look whether it was done"
        for outcome in list(self._outcomes):
            _fail(outcome, Unavailable(why, retry_after=5.0))

    def _too_many(self) -> Overloaded:
        return Overloaded(f"too many wait for the {self._name}; try again later", retry_after=5.0)

    def _give_up(self, call: _Call) -> None:
        call.given_up = True
        self._hanging += 1
        self._give_place_back()
        why = f"the {self._name} has not answered for {self._seconds:g} s; try again later"
        _fail(call.outcome, Unavailable(why, retry_after=5.0))

    def _returned(self, call: _Call, told: Callable[[], None]) -> None:
        if call.given_up:
            self._hanging -= 1
            return
        if call.deadline is not None:
            call.deadline.cancel()
        self._give_place_back()
        told()

    def _give_place_back(self) -> None:
        self._here -= 1
        self._places.release()


class _Call:
    """One that runs in a thread."""

    __slots__ = ("deadline", "given_up", "outcome")

    def __init__(self, outcome: asyncio.Future[Any]) -> None:
        self.outcome = outcome
        self.deadline: asyncio.TimerHandle | None = None
        self.given_up = False


def _succeed(outcome: asyncio.Future[T], result: T) -> None:
    if not outcome.done():  # else its caller has left
        outcome.set_result(result)


def _fail(outcome: asyncio.Future[Any], error: BaseException) -> None:
    if not outcome.done():
        outcome.set_exception(error)
