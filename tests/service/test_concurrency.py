"""Threads for work that may hang: whatever becomes of a call, its place is given back and its caller told."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from lifecycle.errors import InvalidInput, Overloaded, Unavailable
from service.concurrency import Bulkhead

pytestmark = pytest.mark.timeout(300)

PATIENT = 600.0
"""Seconds for a call that does not hang, on a machine that is slow."""


@pytest.fixture
def never() -> Iterator[threading.Event]:
    """Whoever waits for it hangs until the test has ended."""
    event = threading.Event()
    yield event
    event.set()


async def test_a_call_that_hangs_is_given_up_and_its_place_goes_to_the_next(never: threading.Event) -> None:
    room = Bulkhead("artifact store", at_once=1, waiting=1, seconds=0.05)
    with pytest.raises(Unavailable, match=r"artifact store has not answered for 0\.05 s") as told:
        await room.run(never.wait)
    assert told.value.retry_after
    assert room.calls() == 0
    room._seconds = PATIENT
    assert await room.run(lambda: "here again") == "here again"


async def test_who_waits_behind_a_call_that_hangs_has_the_place_when_that_is_given_up(never: threading.Event) -> None:
    room = Bulkhead("artifact store", at_once=1, waiting=1, seconds=0.05)
    hanging = asyncio.create_task(room.run(never.wait))
    await asyncio.sleep(0)  # it has begun, and when it is given up is settled
    room._seconds = PATIENT
    assert await room.run(lambda: "after it") == "after it"
    with pytest.raises(Unavailable):
        await hanging


async def test_a_caller_that_left_does_not_keep_a_place_for_work_that_hangs(never: threading.Event, until: Any) -> None:
    room = Bulkhead("artifact store", at_once=1, waiting=0, seconds=0.05)
    leaving = asyncio.create_task(room.run(never.wait))
    await asyncio.sleep(0)
    leaving.cancel()
    await until(lambda: room.calls() == 0)
    room._seconds = PATIENT
    assert await room.run(lambda: 1) == 1


async def test_what_hangs_takes_a_bounded_number_of_threads_and_comes_back(never: threading.Event, until: Any) -> None:
    room = Bulkhead("artifact store", at_once=1, waiting=0, seconds=0.01)
    for _ in range(4):
        with pytest.raises(Unavailable, match="not answered"):
            await room.run(never.wait)
    with pytest.raises(Unavailable, match="4 calls have not come back"):
        await room.run(lambda: 1)
    assert room.calls() == 0
    never.set()
    await until(lambda: room._hanging == 0)
    room._seconds = PATIENT
    assert await room.run(lambda: 1) == 1


@pytest.mark.parametrize("fault", [RuntimeError("can't start new thread"), MemoryError()])
async def test_a_thread_that_cannot_be_started_gives_its_place_back(
    fault: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(thread: threading.Thread) -> None:
        raise fault

    room = Bulkhead("registry", at_once=1, waiting=1, seconds=None)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refused)
        for _ in range(3):
            with pytest.raises(Overloaded, match="starts no thread for the registry"):
                await room.run(lambda: 1)
            assert room.calls() == 0
    assert await room.run(lambda: 1) == 1


async def test_work_keeps_its_errors_its_arguments_and_its_context() -> None:
    name: ContextVar[str] = ContextVar("name")
    name.set("triage")
    room = Bulkhead("registry", at_once=1, waiting=0, seconds=PATIENT)

    def work(left: int, *, right: int) -> tuple[int, str]:
        return left + right, name.get()

    def wrong() -> None:
        raise InvalidInput("no such thing")

    assert await room.run(work, 1, right=2) == (3, "triage")
    with pytest.raises(InvalidInput, match="no such thing"):
        await room.run(wrong)
    assert room.calls() == 0


async def test_work_that_would_end_the_process_is_an_error_like_others() -> None:
    room = Bulkhead("engine's start", at_once=1, waiting=0, seconds=None)
    with pytest.raises(RuntimeError, match=r"engine's start wanted to end the process \(2\)"):
        await room.run(sys.exit, 2)
    assert room.calls() == 0
