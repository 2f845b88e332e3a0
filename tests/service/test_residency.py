"""Residency: one load for many, failures apart, nothing evicted while it is leased."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from lifecycle.errors import AdapterUnloadable, Corrupt, EngineDead, NotAllowed, Overloaded
from service.adapters.admission_gate import AdmissionGate
from service.adapters.residency import Limits, Residency, internal_name
from service.engine.fake_engine import FakeEngine
from service.engine.interface import AdapterHandle

pytestmark = pytest.mark.timeout(300)


def digest(letter: str) -> str:
    return "sha256:" + letter * 64


class FolderStore:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.broken: set[str] = set()
        self.gets: list[str] = []

    def get(self, wanted: str) -> Path:
        self.gets.append(wanted)
        if wanted in self.broken:
            raise Corrupt(f"{wanted} does not match its digest")
        folder = self.root / wanted[7:]
        folder.mkdir(exist_ok=True)
        return folder


class Counts:
    def __init__(self) -> None:
        self.loads = self.failures = self.evictions = 0

    def loaded(self, seconds: float) -> None:
        self.loads += 1

    def leasing(self) -> AbstractContextManager[object]:
        return nullcontext()

    def load_failed(self) -> None:
        self.failures += 1

    def evicted(self) -> None:
        self.evictions += 1


class Bench:
    def __init__(self, root: Path, capacity: int = 2, wait: float = 5.0) -> None:
        self.engine = FakeEngine()
        self.store = FolderStore(root)
        self.counts = Counts()
        self.now = 0.0
        self.refused: set[str] = set()
        limits = Limits(capacity=capacity, wait=wait, clock=lambda: self.now)
        self.residency = Residency(self.engine, self.store, self._verified, limits, self.counts)

    @asynccontextmanager
    async def _verified(self, adapter: AdapterHandle, wanted: str) -> AsyncIterator[None]:
        if wanted in self.refused:
            raise AdapterUnloadable(f"{adapter.name} fails its golden prompts")
        yield

    async def touch(self, letter: str) -> AdapterHandle:
        async with self.residency.lease(digest(letter)) as handle:
            return handle

    def resident(self) -> list[str]:
        return [one.digest[7] for one in self.residency.residents()]


@pytest.fixture
async def bench(tmp_path: Path) -> Bench:
    made = Bench(tmp_path)
    await made.engine.start()
    return made


async def test_concurrent_first_requests_load_once(bench: Bench, until: Any) -> None:
    bench.engine.faults.hold_load = asyncio.Event()
    waiting = [asyncio.create_task(bench.touch("a")) for _ in range(10)]
    await until(lambda: bench.engine.loads)
    bench.engine.faults.hold_load.set()
    handles = await asyncio.gather(*waiting)
    assert len(bench.engine.loads) == 1
    assert {handle.id for handle in handles} == {1}


async def test_name_and_path_follow_from_the_bytes_and_the_id_is_never_reused(bench: Bench) -> None:
    first = await bench.touch("a")
    await bench.touch("b")
    await bench.touch("c")  # evicts a
    again = await bench.touch("a")
    assert (first.name, first.path) == (again.name, again.path) == (internal_name(digest("a")), again.path)
    assert first.path.is_absolute()
    ids = [handle.id for handle in bench.engine.loads]
    assert len(set(ids)) == len(ids) == 4


async def test_the_least_recently_used_leaves_first(bench: Bench) -> None:
    await bench.touch("a")
    await bench.touch("b")
    await bench.touch("a")
    await bench.touch("c")
    assert bench.resident() == ["a", "c"]
    assert [handle.name for handle in bench.engine.unloads] == [internal_name(digest("b"))]
    assert bench.counts.evictions == 1


async def test_a_leased_adapter_is_never_evicted(bench: Bench) -> None:
    async with bench.residency.lease(digest("a")), bench.residency.lease(digest("b")):
        third = asyncio.create_task(bench.touch("c"))
        for _ in range(50):
            await asyncio.sleep(0)
        assert not third.done()
        assert bench.engine.unloads == []
    await third
    assert len(bench.engine.loaded) == 2


async def test_a_request_that_finds_no_room_is_told_so_in_time(tmp_path: Path) -> None:
    bench = Bench(tmp_path, capacity=1, wait=0.05)
    await bench.engine.start()
    async with bench.residency.lease(digest("a")):
        with pytest.raises(Overloaded, match="max-cpu-loras") as caught:
            await bench.touch("b")
        assert caught.value.retry_after
    # Being refused for lack of room says nothing about the adapter: no pause follows.
    assert (await bench.touch("b")).name == internal_name(digest("b"))


async def test_the_engine_never_holds_more_than_the_capacity(bench: Bench) -> None:
    most = 0

    async def use(letter: str) -> None:
        nonlocal most
        async with bench.residency.lease(digest(letter)) as handle:
            assert handle.id in bench.engine.loaded
            most = max(most, len(bench.engine.loaded))
            await asyncio.sleep(0)
            assert handle.id in bench.engine.loaded

    await asyncio.gather(*(use("abcdef"[at % 6]) for at in range(200)))
    assert most == 2


async def test_a_failed_load_fails_its_own_requests_and_no_other(bench: Bench) -> None:
    bench.store.broken.add(digest("a"))
    results = await asyncio.gather(bench.touch("a"), bench.touch("a"), bench.touch("b"), return_exceptions=True)
    assert [type(one) for one in results] == [AdapterUnloadable, AdapterUnloadable, AdapterHandle]
    assert bench.counts.failures == 1


async def test_a_failed_load_is_tried_again_only_after_a_growing_pause(bench: Bench) -> None:
    bench.refused.add(digest("a"))
    pauses = []
    for _ in range(4):
        with pytest.raises(AdapterUnloadable) as caught:
            await bench.touch("a")
        pauses.append(caught.value.retry_after)
        loads = len(bench.engine.loads)
        with pytest.raises(AdapterUnloadable, match="next try in"):
            await bench.touch("a")
        assert len(bench.engine.loads) == loads, "tried again inside the pause"
        bench.now += caught.value.retry_after or 0
    assert pauses == [1.0, 2.0, 4.0, 8.0]
    bench.refused.clear()
    await bench.touch("a")
    # A success clears the record: the next failure begins at the first pause again.
    await bench.touch("b")
    await bench.touch("c")
    bench.refused.add(digest("a"))
    with pytest.raises(AdapterUnloadable) as caught:
        await bench.touch("a")
    assert caught.value.retry_after == 1.0


async def test_what_failed_to_load_is_removed_from_the_engine(bench: Bench) -> None:
    bench.refused.add(digest("a"))
    with pytest.raises(AdapterUnloadable, match="golden"):
        await bench.touch("a")
    assert bench.engine.loaded == {}
    assert [handle.id for handle in bench.engine.unloads] == [1]
    # Its place is free again.
    await bench.touch("b")
    await bench.touch("c")
    assert bench.counts.evictions == 0


async def test_a_caller_that_leaves_does_not_stop_the_load_that_others_wait_for(bench: Bench, until: Any) -> None:
    bench.engine.faults.hold_load = asyncio.Event()
    leaver, stayer = asyncio.create_task(bench.touch("a")), asyncio.create_task(bench.touch("a"))
    await until(lambda: bench.engine.loads)
    leaver.cancel()
    await asyncio.gather(leaver, return_exceptions=True)
    bench.engine.faults.hold_load.set()
    assert (await stayer).id == 1
    assert bench.residency.leases() == 0


async def test_after_the_engine_died_adapters_are_loaded_anew_and_old_leases_do_no_harm(bench: Bench) -> None:
    async with bench.residency.lease(digest("a")) as old:
        bench.engine.die()
        with pytest.raises(EngineDead):
            await bench.touch("b")
        bench.residency.forget_all()
        await bench.engine.start()
        new = await bench.touch("a")
        assert new.id > old.id
    assert bench.residency.leases() == 0
    assert bench.resident() == ["a"]
    # The engine's death was no fault of b.
    await bench.touch("b")


async def test_a_resident_adapter_needs_neither_store_nor_files(bench: Bench) -> None:
    handle = await bench.touch("a")
    bench.store.broken.add(digest("a"))
    handle.path.rmdir()
    assert (await bench.touch("a")).id == handle.id


async def test_a_pinned_adapter_stays_whatever_else_is_called(bench: Bench) -> None:
    await bench.touch("a")
    bench.residency.pin([digest("a")])
    for letter in "bcdef":
        await bench.touch(letter)
    assert bench.resident() == ["a", "f"]
    assert [one.pinned for one in bench.residency.residents()] == [True, False]
    bench.residency.pin([])
    await bench.touch("b")
    assert bench.resident() == ["f", "b"]


async def test_pins_must_leave_a_place_for_the_others(bench: Bench) -> None:
    with pytest.raises(NotAllowed, match="one must stay free"):
        bench.residency.pin([digest("a"), digest("b")])
    await bench.touch("c")
    assert not any(one.pinned for one in bench.residency.residents())


async def test_who_waits_for_room_gets_it_when_something_is_unpinned(tmp_path: Path, until: Any) -> None:
    bench = Bench(tmp_path)
    await bench.engine.start()
    await bench.touch("a")
    bench.residency.pin([digest("a")])
    async with bench.residency.lease(digest("b")):
        waiting = asyncio.create_task(bench.touch("c"))
        for _ in range(50):
            await asyncio.sleep(0)
        assert not waiting.done()
        bench.residency.pin([])
        await waiting
    assert bench.resident() == ["b", "c"]


async def test_prefetch_takes_a_free_or_idle_place_and_never_waits_for_one(bench: Bench) -> None:
    assert await bench.residency.prefetch(digest("a"))
    async with bench.residency.lease(digest("a")), bench.residency.lease(digest("b")):
        assert not await bench.residency.prefetch(digest("c"))
        assert await bench.residency.prefetch(digest("a")), "it is here already"
    assert await bench.residency.prefetch(digest("c"))
    assert len(bench.engine.loads) == 3


async def test_a_load_that_the_engines_death_cut_in_two_is_not_taken_for_done(bench: Bench, until: Any) -> None:
    """Loaded into the old engine, verified in the new one, which has not got it."""
    verifying, go_on = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def slow(adapter: AdapterHandle, wanted: str) -> AsyncIterator[None]:
        verifying.set()
        await go_on.wait()
        yield

    bench.residency._verified = slow
    asking = asyncio.create_task(bench.touch("a"))
    await verifying.wait()
    bench.engine.die()
    bench.residency.forget_all()
    await bench.engine.start()
    go_on.set()
    with pytest.raises(EngineDead, match="restarted"):
        await asking
    assert bench.resident() == []
    await bench.touch("a")
    assert [one.id for one in bench.residency.residents()] == [2]


def verified_in_a_turn(bench: Bench, gate: AdmissionGate) -> tuple[asyncio.Event, asyncio.Event]:
    """Loads are verified in a slot from now on: when the first is set they have it, by the second they go on."""
    verifying, go_on = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def verified(adapter: AdapterHandle, wanted: str) -> AsyncIterator[None]:
        async with gate.turn(adapter.name):
            verifying.set()
            await go_on.wait()
            yield

    bench.residency._verified = verified
    return verifying, go_on


async def test_the_slot_of_the_golden_prompts_is_there_for_those_who_waited_for_the_load(bench: Bench) -> None:
    """A rival that waits for the only slot does not come between the load and the requests that caused it."""
    gate = AdmissionGate(slots=1, turn_seconds=0.5, max_waiting=10, clock=lambda: 0.0)
    verifying, go_on = verified_in_a_turn(bench, gate)
    order = []

    async def request(name: str) -> None:
        async with bench.residency.lease(digest("a")) as handle, gate.turn(handle.name):
            order.append(name)

    async def rival() -> None:
        async with gate.turn("rival"):
            order.append("rival")

    waiting = [asyncio.create_task(request(f"a{at}")) for at in range(20)]
    left = asyncio.create_task(request("left"))
    await verifying.wait()
    other = asyncio.create_task(rival())
    await asyncio.sleep(0)
    assert gate.waiting == 1
    left.cancel()
    go_on.set()
    await asyncio.gather(*waiting, other)
    assert order == [*(f"a{at}" for at in range(20)), "rival"]
    assert gate.taken == 0


async def test_a_load_that_all_callers_have_left_gives_its_slot_back(bench: Bench, until: Any) -> None:
    gate = AdmissionGate(slots=1, turn_seconds=0.5, max_waiting=10)
    verifying, go_on = verified_in_a_turn(bench, gate)
    asking = asyncio.create_task(bench.touch("a"))
    await verifying.wait()
    asking.cancel()
    go_on.set()
    await until(lambda: gate.taken == 0)
    assert bench.resident() == ["a"]


async def test_what_is_here_or_on_its_way_is_known_by_its_digest(bench: Bench, until: Any) -> None:
    """So that the local copies of its files are not deleted."""
    await bench.touch("a")
    bench.engine.faults.hold_load = asyncio.Event()
    loading = asyncio.create_task(bench.touch("b"))
    await until(lambda: len(bench.engine.loads) == 2)
    assert bench.residency.digests() == [digest("a"), digest("b")]
    bench.engine.faults.hold_load.set()
    await loading


def hang(bench: Bench, fetch: float) -> threading.Event:
    """Of the store, all adapters but b hang until the event is set; they are waited for so many seconds."""
    limits = Limits(2, wait=600, fetch=fetch, clock=lambda: bench.now)
    bench.residency = Residency(bench.engine, bench.store, bench._verified, limits, bench.counts)
    gate, get = threading.Event(), bench.store.get
    bench.store.get = lambda wanted: get(wanted) if wanted == digest("b") or gate.wait() else None  # type: ignore[method-assign,assignment,return-value]
    return gate


async def test_a_store_that_hangs_costs_who_wanted_that_adapter_alone(bench: Bench) -> None:
    gate = hang(bench, fetch=600)
    hanging = asyncio.create_task(bench.touch("a"))
    await bench.touch("b")
    assert bench.resident() == ["b"]
    gate.set()
    await hanging
    assert bench.resident() == ["b", "a"]


async def test_a_store_that_hangs_is_waited_for_a_bounded_time(bench: Bench) -> None:
    gate = hang(bench, fetch=0.01)
    with pytest.raises(AdapterUnloadable, match=r"artifact store has not answered for 0\.01 s"):
        await bench.touch("a")
    assert bench.resident() == []
    gate.set()
    bench.residency._fetching._seconds = 600  # however slow this machine is
    bench.now += 1.0
    await bench.touch("a")
    assert bench.resident() == ["a"]


async def test_a_thread_that_cannot_be_started_is_no_fault_of_the_adapter(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refused)
        with pytest.raises(Overloaded, match="starts no thread"):
            await bench.touch("a")
    await bench.touch("a")  # at once: no pause
    assert bench.resident() == ["a"]
    assert bench.counts.failures == 0
