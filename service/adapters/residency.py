"""Which adapters are in the engine's memory, who is using them, and which one leaves when there is no room.

Loading happens here, before a request is admitted, never inside a decoding step: a failed load is then an error of
the requests that wanted it and of no other. Read `golden.py` for the check that a loaded adapter must pass,
`warming.py` for what is loaded and kept ahead of any request, and `admission_gate.py` for the slots of the batch.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    suppress,
)
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import structlog

from lifecycle.errors import AdapterUnloadable, DabtError, EngineDead, Overloaded
from lifecycle.version import Digest, Frozen
from service.adapters.pin_limit import check_pins
from service.adapters.stopwatch import Stopwatch
from service.concurrency import Bulkhead
from service.engine.interface import AdapterHandle, Engine

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
"""Seconds before a failed load is tried again: doubled at every failure in a row."""

log = structlog.get_logger(__name__)


class Store(Protocol):
    """The part of `lifecycle.store.artifacts.ArtifactStore` that is used here."""

    def get(self, digest: Digest) -> Path: ...


class Adapters(Protocol):
    """What the rest of the service asks of whoever has the adapters: `Residency` here, or engines elsewhere."""

    @property
    def capacity(self) -> int: ...
    def places(self, digest: Digest) -> tuple[Digest, int]:
        """Of the engines that an adapter is for: their base, empty where there is no other, and how many they hold."""

    def lease(self, digest: Digest) -> AbstractAsyncContextManager[AdapterHandle]: ...
    async def prefetch(self, digest: Digest) -> bool: ...
    def check_pins(self, digests: Collection[Digest]) -> None: ...
    def pin(self, digests: Collection[Digest]) -> None: ...
    def digests(self) -> list[Digest]: ...
    def residents(self) -> list[ResidentAdapter]: ...
    def leases(self) -> int: ...
    def failed_load(self, digest: Digest) -> int: ...
    def failures(self) -> dict[Digest, str]: ...
    def fitting(self, digests: Sequence[Digest], *, spare: int = 0) -> list[Digest]: ...
    def forget_all(self) -> None: ...


class ResidencyObserver(Protocol):
    """Told of what happens; `telemetry.py` counts it."""

    def loaded(self, seconds: float) -> None: ...
    def load_failed(self) -> None: ...
    def evicted(self) -> None: ...


class LeaseObserver(ResidencyObserver, Protocol):
    def leasing(self) -> AbstractContextManager[object]: ...


Verified = Callable[[AdapterHandle, Digest], AbstractAsyncContextManager[object]]
"""Entering it raises `AdapterUnloadable` when the loaded adapter does not compute what its trainer recorded. It is left
once those who waited for the load have gone on: what it holds until then (a slot of the batch) is there for them.
"""


@dataclass(slots=True)
class _Resident:
    handle: AdapterHandle
    leases: int = 0
    requests: int = 0
    since: float = 0.0


class _Load:
    """One load under way, and how many wait for it."""

    def __init__(self) -> None:
        self.outcome: asyncio.Future[_Resident] = asyncio.get_running_loop().create_future()
        self.task: asyncio.Task[None] | None = None  # kept, because the event loop itself holds no task
        self._waiting = 0
        self._gone_on = asyncio.Event()

    async def result(self) -> _Resident:
        """Raises what the load raised. Shielded: a caller that leaves must not stop the load that others wait for."""
        self._waiting += 1
        try:
            return await asyncio.shield(self.outcome)
        finally:
            self._waiting -= 1
            self._gone_on.set()

    def failed(self, error: BaseException) -> None:
        self.outcome.set_exception(error)
        self.outcome.exception()  # looked at: a load whose callers have all left must not warn that nobody did

    async def all_gone_on(self) -> None:
        """Return when each of those who waited has taken its next step, in which it asks for its slot."""
        while self._waiting:
            self._gone_on.clear()
            await self._gone_on.wait()


@dataclass(slots=True)
class _Failure:
    error: DabtError
    retry_at: float
    pause: float
    number: int
    """No other failed load has it."""


class ResidentAdapter(Frozen):
    """One row of `GET /admin/residency`."""

    digest: Digest
    name: str
    id: int
    leases: int
    requests: int
    pinned: bool
    resident_seconds: float


@dataclass
class Limits:
    capacity: int
    """Adapters held at once; at most the engine's own, so that the engine never evicts by itself."""
    wait: float
    """Seconds to wait for room."""
    fetch: float = 120.0
    """Seconds that the artifact store may take for one adapter."""
    clock: Callable[[], float] = field(default=time.monotonic)


class Residency:
    """Belongs to one event loop. Nothing leaves while it is leased or pinned; concurrent first requests load once."""

    def __init__(
        self, engine: Engine, store: Store, verified: Verified, limits: Limits, observer: LeaseObserver
    ) -> None:
        self._engine = engine
        self._store = store
        self._fetching = Bulkhead("artifact store", at_once=64, waiting=1024, seconds=limits.fetch)
        self._verified = verified
        self._limits = limits
        self._observer = observer
        self._ids = itertools.count(1)
        self._residents: dict[Digest, _Resident] = {}  # least recently used first
        self._loading: dict[Digest, _Load] = {}
        self._failures: dict[Digest, _Failure] = {}
        self._failure_numbers = itertools.count(1)
        self._pinned: frozenset[Digest] = frozenset()
        self._reserved = 0  # places held by loads under way
        self._lives = 0  # of the engine, that have ended
        self._room = asyncio.Lock()
        self._room_changed = asyncio.Event()

    @asynccontextmanager
    async def lease(self, digest: Digest) -> AsyncIterator[AdapterHandle]:
        """Hold the adapter in the engine for the length of the block, loading it first if need be.

        Raises `AdapterUnloadable` when it does not load or fails its golden prompts (and, until its pause is over,
        at once), `Overloaded` when every resident stays leased for `Limits.wait` seconds.
        """
        with self._observer.leasing():
            resident = await self._resident(digest)
        resident.leases += 1
        resident.requests += 1
        self._residents[digest] = self._residents.pop(digest)  # most recently used
        try:
            yield resident.handle
        finally:
            resident.leases -= 1
            self._room_changed.set()

    async def prefetch(self, digest: Digest) -> bool:
        """Load the adapter ahead of any request, into a free place or an idle one's. False when there is neither.

        Raises `AdapterUnloadable` as `lease` does.
        """
        if digest not in self._residents and digest not in self._loading and not self._has_room():
            return False
        await self._resident(digest)
        return True

    def check_pins(self, digests: Collection[Digest]) -> None:
        """Raises `NotAllowed` when no place would be left to swap in."""
        check_pins(len(set(digests)), self._limits.capacity)

    def pin(self, digests: Collection[Digest]) -> None:
        """Keep these, once they are here, and no others. Raises as `check_pins` does."""
        self.check_pins(digests)
        self._pinned = frozenset(digests)
        self._room_changed.set()

    @property
    def capacity(self) -> int:
        return self._limits.capacity

    def places(self, digest: Digest) -> tuple[Digest, int]:
        return "", self.capacity

    def fitting(self, digests: Sequence[Digest], *, spare: int = 0) -> list[Digest]:
        """As many of these, in their order, as there are places but `spare`."""
        return list(digests[: self._limits.capacity - spare])

    def digests(self) -> list[Digest]:
        """What is here or on its way: its files should stay on disk. May be asked from any thread."""
        return [*self._residents, *self._loading]

    def residents(self) -> list[ResidentAdapter]:
        now = self._limits.clock()
        return [
            ResidentAdapter(
                digest=digest,
                name=resident.handle.name,
                id=resident.handle.id,
                leases=resident.leases,
                requests=resident.requests,
                pinned=digest in self._pinned,
                resident_seconds=now - resident.since,
            )
            for digest, resident in self._residents.items()
        ]

    def leases(self) -> int:
        return sum(resident.leases for resident in self._residents.values())

    def failed_load(self, digest: Digest) -> int:
        """The number of its newest load, if that failed: the same for all who waited for it or came in its pause."""
        failure = self._failures.get(digest)
        return failure.number if failure is not None else 0

    def failures(self) -> dict[Digest, str]:
        """Why each adapter whose newest load failed is not here."""
        return {digest: str(failure.error) for digest, failure in self._failures.items()}

    def forget_all(self) -> None:
        """After the engine's death: what it held is gone, and requests load it again.

        Loads under way fail with the old engine: what it had loaded of them, the new one has not.
        """
        self._lives += 1
        self._residents.clear()
        self._failures.clear()
        self._room_changed.set()

    async def _resident(self, digest: Digest) -> _Resident:
        while True:
            if digest in self._residents:
                return self._residents[digest]
            if digest not in self._loading:
                self._refuse_in_pause(digest)
                load = self._loading[digest] = _Load()
                load.task = asyncio.create_task(self._load(digest, load))
            resident = await self._loading[digest].result()
            if self._residents.get(digest) is resident:
                return resident
            # Evicted between its load and this task's turn: load again.

    def _refuse_in_pause(self, digest: Digest) -> None:
        failure = self._failures.get(digest)
        if failure is not None and (left := failure.retry_at - self._limits.clock()) > 0:
            raise AdapterUnloadable(f"{failure.error} (next try in {left:.0f} s)", retry_after=left) from failure.error

    async def _load(self, digest: Digest, load: _Load) -> None:
        """To the end of `load`, which is told of every outcome. Raises nothing but its own cancellation."""
        stopwatch = Stopwatch(self._limits.clock)
        async with AsyncExitStack() as for_the_waiting:
            try:
                resident = await self._load_once(digest, stopwatch, for_the_waiting)
            except BaseException as error:
                del self._loading[digest]
                load.failed(self._told(digest, error))
                if not isinstance(error, Exception):
                    raise
                return
            del self._loading[digest]
            self._failures.pop(digest, None)
            self._observer.loaded(stopwatch.total)
            log.info("adapter loaded", adapter=resident.handle.name, id=resident.handle.id, **stopwatch.parts)
            load.outcome.set_result(resident)
            await load.all_gone_on()

    async def _load_once(self, digest: Digest, stopwatch: Stopwatch, for_the_waiting: AsyncExitStack) -> _Resident:
        with stopwatch.part("fetch"):
            path = (await self._fetching.run(self._store.get, digest)).resolve()
        with stopwatch.part("room"):
            await self._reserve()
        life = self._lives
        try:
            handle = AdapterHandle(name=internal_name(digest), id=next(self._ids), path=path)
            try:
                with stopwatch.part("load"):
                    await self._engine.load(handle)
                with stopwatch.part("verify"):
                    await for_the_waiting.enter_async_context(self._verified(handle, digest))
                if self._lives != life:
                    raise EngineDead("the engine was restarted while it loaded an adapter")
            except BaseException:
                # A second activation of an id that failed once is a silent no-op in vLLM: remove it, use a new one.
                with suppress(DabtError):
                    await self._engine.unload(handle)
                raise
        finally:
            self._reserved -= 1
            self._room_changed.set()
        resident = _Resident(handle, since=self._limits.clock())
        self._residents[digest] = resident
        return resident

    def _told(self, digest: Digest, error: BaseException) -> BaseException:
        """What those who wait for a failed load are told."""
        if not isinstance(error, DabtError) or isinstance(error, Overloaded | EngineDead):
            return error  # says nothing about the adapter
        before = self._failures.get(digest)
        pause = min(before.pause * 2, _LONGEST_PAUSE) if before else _FIRST_PAUSE
        self._failures[digest] = _Failure(error, self._limits.clock() + pause, pause, next(self._failure_numbers))
        self._observer.load_failed()
        log.warning("adapter failed to load", adapter=internal_name(digest), pause=pause, error=str(error))
        unloadable = AdapterUnloadable(str(error), retry_after=pause)
        unloadable.__cause__ = error
        return unloadable

    def _idle(self) -> Digest | None:
        """The least recently used adapter that may leave."""
        return next(
            (
                digest
                for digest, resident in self._residents.items()
                if resident.leases == 0 and digest not in self._pinned
            ),
            None,
        )

    def _has_room(self) -> bool:
        return len(self._residents) + self._reserved < self._limits.capacity or self._idle() is not None

    async def _reserve(self) -> None:
        """Take a place, evicting the least recently used adapter that nobody leases when all are taken."""
        try:
            async with asyncio.timeout(self._limits.wait), self._room:
                while len(self._residents) + self._reserved >= self._limits.capacity:
                    idle = self._idle()
                    if idle is None:
                        self._room_changed.clear()
                        await self._room_changed.wait()
                        continue
                    gone = self._residents.pop(idle)
                    # Shielded from the time limit: half an eviction would leave the engine with one adapter too many.
                    await asyncio.shield(self._engine.unload(gone.handle))
                    self._observer.evicted()
                self._reserved += 1
        except TimeoutError as error:
            raise Overloaded(
                f"all {self._limits.capacity} adapters in memory are in use or pinned; try again, or raise "
                "--max-cpu-loras",
                retry_after=1.0,
            ) from error


def internal_name(digest: Digest) -> str:
    """The adapter's name inside the engine: it follows from the bytes, so it can never mean other bytes."""
    return f"sha256-{digest.removeprefix('sha256:')[:24]}"
