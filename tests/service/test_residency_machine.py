"""Residency under every order of leases, returns, pins, failures, prefetches and engine deaths that can be found."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from lifecycle.errors import AdapterUnloadable, EngineDead, NotAllowed, Overloaded
from service.adapters.residency import internal_name
from service.engine.interface import AdapterHandle
from tests.service.test_residency import Bench, digest

CAPACITY = 3
Lease = tuple[str, list[AbstractAsyncContextManager[AdapterHandle]], int]
"""Of which adapter, those who hold it, and in which of the engine's lives."""
letters = st.sampled_from("abcde")


class StrictEngineBench(Bench):
    """Its engine holds at most `CAPACITY`, as vLLM would, and is never told to unload what is leased or pinned."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, capacity=CAPACITY)
        self.held: Counter[str] = Counter()
        self.pinned: set[str] = set()
        self.were_here: set[int] = set()
        """Ids that were resident at the last look."""
        unload = self.engine.unload

        async def checked(handle: AdapterHandle) -> None:
            # One that failed to load is unloaded too, and nobody had it.
            keeping = {*self.held.elements(), *self.pinned} if handle.id in self.were_here else set()
            assert handle.name not in {internal_name(digest(letter)) for letter in keeping}
            await unload(handle)

        self.engine.unload = checked  # type: ignore[method-assign]

    def room_for(self, letter: str) -> bool:
        here = self.resident()
        return (
            letter in here or len(here) < CAPACITY or any(not self.held[one] and one not in self.pinned for one in here)
        )


class ResidencyMachine(RuleBasedStateMachine):
    leases = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.bench = StrictEngineBench(Path(self.folder.name))
        self.do(self.bench.engine.start())

    def do(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        self.loop.close()
        self.folder.cleanup()

    @rule(target=leases, letter=letters, crowd=st.integers(1, 4))
    def lease(self, letter: str, crowd: int) -> Lease:
        """Several at once."""
        bench = self.bench
        loads = len(bench.engine.loads)
        contexts = [bench.residency.lease(digest(letter)) for _ in range(crowd)]

        async def enter() -> list[AdapterHandle | BaseException]:
            return await asyncio.gather(*(one.__aenter__() for one in contexts), return_exceptions=True)

        was_here, room = letter in bench.resident(), bench.room_for(letter)
        # Where there is none, nobody will make any: not worth waiting. Where there is, no clock may decide.
        bench.residency._limits.wait = 60.0 if room else 0.0
        outcomes = self.do(enter())
        assert len(bench.engine.loads) - loads <= (0 if was_here else 1), "loaded more than once"
        handles = {one for one in outcomes if isinstance(one, AdapterHandle)}
        if not handles:
            assert not was_here
            # One that was repaired may still be in its pause.
            assert all(
                isinstance(one, AdapterUnloadable if room else Overloaded | AdapterUnloadable) for one in outcomes
            )
            return letter, [], 0
        (handle,) = handles
        assert len([one for one in outcomes if isinstance(one, AdapterHandle)]) == crowd, "some failed, some did not"
        assert bench.engine.loaded[handle.id] == handle
        bench.held[letter] += crowd
        return letter, contexts, bench.engine.starts

    @rule(lease=consumes(leases))
    def give_back(self, lease: Lease) -> None:
        letter, contexts, life = lease

        async def leave() -> None:
            for one in contexts:
                await one.__aexit__(None, None, None)

        self.do(leave())
        if life == self.bench.engine.starts:
            self.bench.held[letter] -= len(contexts)

    @rule(used=st.lists(letters, max_size=6))
    def use_one_after_the_other(self, used: list[str]) -> None:
        for letter in used:
            self.give_back(self.lease(letter, 1))
            self.the_engine_holds_what_residency_says_and_no_more_than_it_can()

    @rule(chosen=st.sets(letters, max_size=3))
    def pin(self, chosen: set[str]) -> None:
        try:
            self.bench.residency.pin([digest(letter) for letter in chosen])
        except NotAllowed:
            assert len(chosen) > CAPACITY - 1
        else:
            assert len(chosen) <= CAPACITY - 1
            self.bench.pinned = chosen

    @rule(letter=letters)
    def prefetch(self, letter: str) -> None:
        bench = self.bench
        room = bench.room_for(letter)
        bench.residency._limits.wait = 60.0
        try:
            assert self.do(bench.residency.prefetch(digest(letter))) == room
        except AdapterUnloadable:
            assert room

    @rule(letter=letters)
    def begins_to_fail(self, letter: str) -> None:
        self.bench.refused.add(digest(letter))

    @rule(letter=letters, seconds=st.floats(0, 100))
    def is_repaired(self, letter: str, seconds: float) -> None:
        self.bench.refused.discard(digest(letter))
        self.bench.now += seconds

    @rule()
    def engine_dies_and_is_restarted(self) -> None:
        bench = self.bench
        bench.engine.die()
        bench.residency._limits.wait = 60.0 if bench.room_for("a") else 0.0
        outcome = self.do(_quietly(bench.touch("a")))
        assert outcome is None or isinstance(outcome, EngineDead | AdapterUnloadable | Overloaded)
        bench.residency.forget_all()
        bench.held.clear()
        self.do(bench.engine.start())

    @invariant()
    def the_engine_holds_what_residency_says_and_no_more_than_it_can(self) -> None:
        rows = self.bench.residency.residents()
        self.bench.were_here = {row.id for row in rows}
        assert self.bench.were_here == set(self.bench.engine.loaded)
        assert len(rows) <= CAPACITY
        assert all(row.leases == self.bench.held[row.digest[7]] for row in rows)

    @invariant()
    def what_is_leased_is_here(self) -> None:
        assert set(self.bench.held.elements()) <= set(self.bench.resident())

    @invariant()
    def no_id_was_ever_used_twice(self) -> None:
        ids = [handle.id for handle in self.bench.engine.loads]
        assert len(set(ids)) == len(ids)


async def _quietly(work: Any) -> BaseException | None:
    try:
        await work
    except Exception as error:
        return error
    return None


TestResidencyMachine = ResidencyMachine.TestCase
TestResidencyMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
