"""Several bases in one process without Ray: an engine each, behind one endpoint (`dabt serve --base A --base B`).

Each engine has a room, as on a cluster: its adapters, its slots and its life are its own, so one that dies takes no
request of another base with it. The rooms are in the service's own event loop and read its one view of the registry;
the engines' processes are children of this one, as they are of a service with one base. Read `room.py` for what a room
does, `fleet.py` for how a request comes to the room of its base.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

import structlog

from lifecycle.errors import EngineFault
from lifecycle.manifests import WeightsManifest
from lifecycle.version import Digest
from service.adapters.residency import Adapters, ResidentAdapter
from service.adapters.warming import Plan
from service.cluster import room_series
from service.cluster.asking import Ask, Card, Frame
from service.cluster.fleet import FleetAdapters, FleetEngine, FleetGate, NoRoomLeft, together
from service.cluster.room import EngineRoom
from service.config import ServeConfig
from service.engine.interface import Engine, EngineFacts
from service.engine.supervise import Supervisor
from service.engine_side import Beside, Elsewhere, EngineSide

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class ServedBase:
    """A base, and the engine that runs it."""

    config: ServeConfig
    engine: Engine
    weights: WeightsManifest | None = None
    """What is known of it, where it is whole weights of the store."""


class LineHere:
    """Implements `service.cluster.fleet.Line`: the way to the one room of a base."""

    def __init__(self, room: EngineRoom) -> None:
        self._room = room

    async def ask(self, ask: Ask) -> AsyncGenerator[Frame, None]:
        if self._room.name in ask.passed_over:
            raise NoRoomLeft
        async with aclosing(self._room.answer(ask)) as frames:
            async for frame in frames:
                yield frame

    def cards(self) -> Sequence[Card]:
        return [self._room.card()]


class EnginesHere(FleetEngine):
    """The engines of several bases, as one. Belongs to one event loop."""

    def __init__(self, bases: Sequence[ServedBase]) -> None:
        """The first is the one that is meant where no base is named."""
        super().__init__({})
        self._bases = tuple(bases)
        self._rooms: dict[Digest, EngineRoom] = {}
        self._told: dict[Digest, EngineFacts] = {}
        self._warm_up: Callable[[], Awaitable[None]] = _nothing

    def here(self) -> Elsewhere:
        """For the service whose engine this is."""
        adapters = AdaptersHere(self, self._rooms)
        beside = tuple(each.config for each in self._bases[1:])

        def join(side: EngineSide, shared: Beside) -> None:
            adapters.join(side, shared)
            self._furnish(side, shared)

        weights = tuple(each.weights.digest for each in self._bases if each.weights is not None)
        return Elsewhere(adapters, FleetGate(self.cards), self.cards, beside, join, weights)

    async def start(self) -> EngineFacts:
        """One after the other: each sees what memory is left, and vLLM builds one at a time."""
        for room in self._rooms.values():
            await room.open()
        for room in self._rooms.values():
            room.side.supervisor.warm_up = self._warm_up
        return together(self._told)

    async def stop(self) -> None:
        closed = await asyncio.gather(*(room.close() for room in self._rooms.values()), return_exceptions=True)
        for error in closed:
            if isinstance(error, BaseException):
                log.warning("an engine did not stop cleanly", error=f"{type(error).__name__}: {error}")

    async def check(self) -> None:
        """One engine that is gone is the affair of its base's requests. Raises `EngineFault` once all are."""
        fatal = {room.name: room.side.supervisor.fatal for room in self._rooms.values()}
        if all(fatal.values()):
            raise EngineFault(
                f"no engine can be kept running: {'; '.join(f'{name}: {why}' for name, why in fatal.items())}"
            )

    async def metrics(self) -> bytes:
        """Of the rooms, and each engine's own. What rooms count is on the service's page: they share its telemetry."""
        pages = await asyncio.gather(*(each.engine.metrics() for each in self._bases))
        of_each = {room.name: page for room, page in zip(self._rooms.values(), pages, strict=True)}
        return await asyncio.to_thread(lambda: room_series.page(self.cards()) + room_series.of_engines(of_each))

    def _furnish(self, side: EngineSide, shared: Beside) -> None:
        """A room for each base. They are warmed by the service's own warmer, which knows all bases."""
        self._warm_up = side.warmer.start
        for each in self._bases:
            beside = replace(shared, classifiers=None, weights=each.weights, elsewhere=None)
            room = EngineRoom(each.config.served_name, each.config, each.engine, beside, Plan())
            room.side.supervisor.warm_up = _nothing
            room.side.supervisor.started = self._hears(room.side, side.supervisor)
            self._rooms[room.side.base.digest] = room
        self._lines.update((base, LineHere(room)) for base, room in self._rooms.items())

    def _hears(self, room: EngineSide, service: Supervisor) -> Callable[[EngineFacts], None]:
        started = room.supervisor.started

        def hear(facts: EngineFacts) -> None:
            started(facts)
            self._told[room.base.digest] = facts
            if service.facts is not None:  # an engine that was started again may have found other memory
                service.facts = together(self._told)

        return hear


class AdaptersHere(FleetAdapters):
    """Those of all rooms; each is in the memory of its base's engine."""

    def __init__(self, engine: EnginesHere, rooms: Mapping[Digest, EngineRoom]) -> None:
        super().__init__(engine)
        self._rooms = rooms

    @property
    def capacity(self) -> int:
        return sum(each.capacity for each in self._every())

    def places(self, digest: Digest) -> tuple[Digest, int]:
        return self._base(digest), self._of(digest).capacity

    async def prefetch(self, digest: Digest) -> bool:
        return await self._of(digest).prefetch(digest)

    def check_pins(self, digests: Collection[Digest]) -> None:
        for base, room in self._rooms.items():
            room.side.residency.check_pins(self._over(base, digests))

    def pin(self, digests: Collection[Digest]) -> None:
        """Raises as `check_pins` does, and then nothing is pinned or unpinned in any room."""
        self.check_pins(digests)
        for base, room in self._rooms.items():
            room.side.residency.pin(self._over(base, digests))

    def fitting(self, digests: Sequence[Digest], *, spare: int = 0) -> list[Digest]:
        kept = {
            digest
            for base, room in self._rooms.items()
            for digest in room.side.residency.fitting(self._over(base, digests), spare=spare)
        }
        return [digest for digest in digests if digest in kept]

    def digests(self) -> list[Digest]:
        return [digest for each in self._every() for digest in each.digests()]

    def residents(self) -> list[ResidentAdapter]:
        return [resident for each in self._every() for resident in each.residents()]

    def failed_load(self, digest: Digest) -> int:
        return self._of(digest).failed_load(digest)

    def failures(self) -> dict[Digest, str]:
        return {digest: why for each in self._every() for digest, why in each.failures().items()}

    def _every(self) -> Iterator[Adapters]:
        return (room.side.residency for room in self._rooms.values())

    def _of(self, digest: Digest) -> Adapters:
        return self._rooms[self._base(digest)].side.residency

    def _base(self, digest: Digest) -> Digest:
        base = self.base_of(digest)
        return base if base in self._rooms else next(iter(self._rooms))

    def _over(self, base: Digest, digests: Collection[Digest]) -> list[Digest]:
        return [digest for digest in digests if self._base(digest) == base]


async def _nothing() -> None: ...
