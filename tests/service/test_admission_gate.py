"""The gate: requests wait for a slot in the batch, in groups, and whoever leaves the queue leaves no trace."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from lifecycle.errors import Overloaded
from service.adapters.admission_gate import AdmissionGate

pytestmark = pytest.mark.timeout(300)


class Bench:
    """A gate with one slot and a clock that stands still, and requests that stay until they are told to go."""

    def __init__(self, slots: int = 1, max_waiting: int = 10) -> None:
        self.now = 0.0
        self.gate = AdmissionGate(slots, 0.5, max_waiting, clock=lambda: self.now)
        self.inside: list[str] = []
        self.waited: dict[str, float] = {}

    def ask(self, name: str) -> tuple[asyncio.Task[None], asyncio.Event]:
        """`a1` is a request for adapter `a`."""
        done = asyncio.Event()

        async def request() -> None:
            async with self.gate.turn(name[0]) as waited:
                self.inside.append(name)
                self.waited[name] = waited
                try:
                    await done.wait()
                finally:
                    self.inside.remove(name)

        return asyncio.create_task(request()), done


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_request_waits_until_the_slot_is_free_and_is_told_how_long() -> None:
    bench = Bench()
    first, done = bench.ask("a1")
    await settle()
    bench.now = 1.0
    second, other = bench.ask("b1")
    await settle()
    assert (bench.inside, bench.gate.waiting, bench.gate.taken) == (["a1"], 1, 1)
    bench.now = 3.5
    done.set()
    await first
    await settle()
    assert (bench.inside, bench.waited) == (["b1"], {"a1": 0.0, "b1": 2.5})
    other.set()
    await second
    assert (bench.gate.waiting, bench.gate.taken) == (0, 0)


async def test_the_base_never_waits_for_a_slot() -> None:
    bench = Bench()
    task, done = bench.ask("a1")
    await settle()
    async with bench.gate.turn(None) as waited:
        assert waited == 0.0
    done.set()
    await task


async def test_who_disconnects_while_waiting_leaves_the_queue() -> None:
    bench = Bench()
    first, done = bench.ask("a1")
    await settle()
    leaver, _ = bench.ask("b1")
    stayer, last = bench.ask("c1")
    await settle()
    leaver.cancel()
    await asyncio.wait({leaver})
    assert bench.gate.waiting == 1
    done.set()
    await first
    await settle()
    assert bench.inside == ["c1"]
    last.set()
    await stayer


@pytest.mark.parametrize("first", ["let in", "cancelled"])
async def test_a_slot_given_to_someone_who_just_left_goes_on_to_the_next(first: str) -> None:
    """Both happen before the waiting task runs again, in either order."""
    bench = Bench()
    async with AsyncExitStack() as held:
        await held.enter_async_context(bench.gate.turn("a"))
        leaver, _ = bench.ask("b1")
        stayer, last = bench.ask("c1")
        await settle()
        if first == "cancelled":
            leaver.cancel()
        await held.aclose()
        leaver.cancel()
        await settle()
    assert leaver.cancelled()
    assert bench.inside == ["c1"]
    last.set()
    await stayer
    assert (bench.gate.waiting, bench.gate.taken) == (0, 0)


async def test_past_the_limit_a_request_is_refused_and_the_others_go_on() -> None:
    bench = Bench(max_waiting=2)
    tasks = [bench.ask(name) for name in ("a1", "b1", "c1", "d1")]
    await settle()
    with pytest.raises(Overloaded, match="--max-loras") as caught:
        await tasks[3][0]
    assert caught.value.retry_after
    assert bench.gate.waiting == 2
    for _, done in tasks:
        done.set()
    await asyncio.gather(*(task for task, _ in tasks[:3]))
    assert bench.gate.taken == 0


async def test_a_failing_request_gives_its_slot_back() -> None:
    bench = Bench()
    with pytest.raises(ValueError, match="failed"):
        async with bench.gate.turn("a"):
            raise ValueError("failed")
    assert bench.gate.taken == 0


async def test_a_crowd_of_adapters_is_served_whole_within_the_slots() -> None:
    bench = Bench(slots=3, max_waiting=1000)
    most = 0

    async def request(name: str) -> None:
        nonlocal most
        async with bench.gate.turn(name):
            bench.inside.append(name)
            most = max(most, len(set(bench.inside)))
            await asyncio.sleep(0)
            bench.inside.remove(name)

    await asyncio.gather(*(request(f"adapter-{at % 40}") for at in range(400)))
    assert (most, bench.gate.waiting, bench.gate.taken) == (3, 0, 0)
