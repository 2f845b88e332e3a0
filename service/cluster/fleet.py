"""Engines elsewhere, as one engine: a gateway's `Engine`, and its `Adapters`.

A request goes to one room, which loads its adapter, gives it a slot and answers; so nothing is held on the way there
and nothing has to be given back. While no token has come, another room is asked where the first one is full or gone.
Read `room.py` for who answers, `line.py` for the way there.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from lifecycle.errors import AdapterUnloadable, DabtError, EngineDead, Overloaded, Unavailable
from lifecycle.manifests import AdapterManifest
from lifecycle.version import Digest
from service.adapters.pin_limit import check_pins
from service.adapters.residency import ResidentAdapter, internal_name
from service.catalogue import Catalogue
from service.cluster import room_series
from service.cluster.asking import Ask, Begun, Card, Frame, Held, Refusal
from service.config import ServeConfig
from service.engine.interface import AdapterHandle, Call, EngineAnswer, EngineFacts, Tally
from service.engine_side import Beside, Elsewhere, EngineSide

_DEATHS = 2
"""Engines that one request may see die. It may be the reason: asked again and again, it would end all of them."""

_LOADS = 2
"""Rooms that are asked to load an adapter. The disk of one may be full, or its way to the store cut; where a second
cannot either, it is the adapter."""
_PAGE_SECONDS = 2.0
"""For a room's page of metrics: who reads a gateway's waits some seconds, as a rule."""


class RoomGone(Exception):
    """The room that had a request ended without a word."""


class NoRoomLeft(Exception):
    """Every room is full, or has refused the request."""


class Line(Protocol):
    """The way to the rooms of one base. The policy of choosing one is behind it."""

    def ask(self, ask: Ask) -> AsyncGenerator[Frame, None]:
        """`Begun` and what follows it. Closing it early tells the room, which then frees the request.

        Raises `NoRoomLeft`, `RoomGone`, and `Unavailable` where no room has come to be in time.
        """

    def cards(self) -> Sequence[Card]:
        """What each room told last."""


@dataclass(frozen=True, slots=True)
class FarAdapter(AdapterHandle):
    """An adapter that some room will hold. Its id is the room's own affair."""

    digest: Digest


class FleetEngine:
    """Implements `service.engine.interface.Engine`."""

    def __init__(self, lines: Mapping[Digest, Line]) -> None:
        """The way to each base's rooms. What names no base is asked of the first."""
        self._lines = dict(lines)

    async def start(self) -> EngineFacts:
        told = await asyncio.gather(*(self._facts(base) for base in self._lines))
        return together(dict(zip(self._lines, told, strict=True)))

    async def stop(self) -> None:
        """The rooms live on without this gateway."""

    async def check(self) -> None:
        """A room that dies is the affair of whoever runs them; requests go elsewhere meanwhile."""

    async def ping(self) -> None: ...

    async def load(self, adapter: AdapterHandle) -> None:
        raise NotImplementedError("rooms load their adapters themselves")

    async def unload(self, adapter: AdapterHandle) -> None:
        raise NotImplementedError("rooms unload their adapters themselves")

    async def generate(self, call: Call) -> EngineAnswer:
        return await self._whole(_ask("generate", call), call.base)

    async def likelihoods(self, call: Call) -> EngineAnswer:
        return await self._whole(_ask("likelihoods", call), call.base)

    async def stream(self, call: Call) -> AsyncGenerator[str | Tally, None]:
        async with aclosing(self._answered(_ask("stream", call), call.base)) as frames:
            async for frame in frames:
                assert isinstance(frame, str | Tally), "a stream has chunks and their tally"
                yield frame

    async def score(
        self, adapter: AdapterHandle | None, prompt_ids: Sequence[int], completion_ids: Sequence[int]
    ) -> list[float]:
        raise NotImplementedError("rooms verify their adapters themselves")

    async def tokenize(self, body: dict[str, Any], base: Digest = "") -> dict[str, Any]:
        return await self._object(Ask("tokenize", body=body), base)

    async def detokenize(self, body: dict[str, Any], base: Digest = "") -> dict[str, Any]:
        return await self._object(Ask("detokenize", body=body), base)

    def structured_output(self) -> str:
        """The worst of what rooms tell."""
        return next((card.structured_output for card in self.cards() if card.structured_output != "ok"), "ok")

    async def metrics(self) -> bytes:
        """By room: what it does now, and its engine's own series."""
        asked = [(base, card.room) for base in self._lines for card in self.cards(base)]
        pages = await asyncio.gather(*(self._page(base, room) for base, room in asked))
        told = {room: page for (_, room), page in zip(asked, pages, strict=True)}
        return await asyncio.to_thread(lambda: room_series.page(self.cards()) + room_series.of_rooms(told))

    async def _page(self, base: Digest, room: str) -> bytes:
        """Nothing of a room that does not answer soon: its card tells of it."""
        with suppress(DabtError, TimeoutError):
            async with asyncio.timeout(_PAGE_SECONDS):
                page = await self._only(Ask("metrics", room=room), base)
                assert isinstance(page, bytes), "a page is bytes"
                return page
        return b""

    def cards(self, base: Digest = "") -> list[Card]:
        """Of the rooms of one base, or of all."""
        lines = [self._lines[base]] if base in self._lines else self._lines.values()
        return [card for line in lines for card in line.cards()]

    async def prefetch(self, digest: Digest, base: Digest = "") -> bool:
        """Load an adapter over `base` where its next request would go."""
        return bool(await self._only(Ask("prefetch", digest), base))

    def elsewhere(self, beside: Sequence[ServeConfig]) -> Elsewhere:
        """For a service whose engine this is; `beside` are the settings of all bases' engines but the first's."""
        adapters = FleetAdapters(self)
        return Elsewhere(adapters, FleetGate(self.cards), self.cards, tuple(beside), adapters.join)

    async def _facts(self, base: Digest) -> EngineFacts:
        facts = await self._only(Ask("facts"), base)
        assert isinstance(facts, EngineFacts), "a room tells its facts when asked for them"
        return facts

    async def _object(self, ask: Ask, base: Digest) -> dict[str, Any]:
        told = await self._only(ask, base)
        assert isinstance(told, dict), "tokens and texts are told in an object"
        return told

    async def _whole(self, ask: Ask, base: Digest) -> EngineAnswer:
        answer = await self._only(ask, base)
        assert isinstance(answer, EngineAnswer), "a whole answer comes in one frame"
        return answer

    async def _only(self, ask: Ask, base: Digest = "") -> Frame:
        async with aclosing(self._answered(ask, base)) as frames:
            async for frame in frames:
                return frame
        raise EngineDead("the engine ended without an answer; send the request again")

    async def _answered(self, ask: Ask, base: Digest) -> AsyncGenerator[Frame, None]:
        """The frames after `Begun`. As long as there was none of them, another room is asked where one fails."""
        line = self._lines[base or next(iter(self._lines))]
        refused: DabtError | None = None
        deaths = loads = 0
        while True:
            begun = False
            try:
                async with aclosing(line.ask(ask)) as frames:
                    async for frame in frames:
                        if isinstance(frame, Begun):
                            continue
                        if isinstance(frame, Refusal):
                            raise _Refused(frame)
                        begun = True
                        yield frame
                return
            except _Refused as error:
                refusal = error.refusal
                deaths += refusal.taken
                loads += isinstance(refusal.error, AdapterUnloadable)
                if begun or not _elsewhere(refusal) or deaths >= _DEATHS or loads >= _LOADS:
                    raise _told(refusal.error, begun=begun) from None
                refused = refusal.error
                ask = replace(ask, passed_over=ask.passed_over | {refusal.room})
            except RoomGone as gone:
                deaths += 1
                dead = EngineDead("the engine that had this request stopped; send it again")
                if begun or deaths >= _DEATHS:
                    raise _told(dead, begun=begun) from gone
                refused = dead
            except NoRoomLeft:
                raise refused or Overloaded(
                    "every engine of this base has all the requests that it takes; try again later", retry_after=1.0
                ) from None


class FleetAdapters:
    """Implements `service.adapters.residency.Adapters`: nothing is here, and all of it is told by rooms."""

    def __init__(self, engine: FleetEngine) -> None:
        self._engine = engine
        self._leases = 0
        self._catalogue: Catalogue | None = None

    def join(self, side: EngineSide, beside: Beside) -> None:
        self._catalogue = beside.catalogue

    def base_of(self, digest: Digest) -> Digest:
        """Over which base an adapter is; empty, which is the first, where the registry has not told."""
        manifest = None if self._catalogue is None else self._catalogue.known_manifest(digest)
        return manifest.base if isinstance(manifest, AdapterManifest) else ""

    @property
    def capacity(self) -> int:
        """Of all rooms together."""
        return sum(card.places for card in self._engine.cards())

    def places(self, digest: Digest) -> tuple[Digest, int]:
        base = self.base_of(digest)
        return base, sum(card.places for card in self._engine.cards(base))

    def lease(self, digest: Digest) -> AbstractAsyncContextManager[AdapterHandle]:
        """Its name, at once: the room that answers holds it then."""
        return self._lease(digest)

    @asynccontextmanager
    async def _lease(self, digest: Digest) -> AsyncIterator[AdapterHandle]:
        self._leases += 1
        try:
            yield FarAdapter(internal_name(digest), 0, Path(), digest)
        finally:
            self._leases -= 1

    async def prefetch(self, digest: Digest) -> bool:
        return await self._engine.prefetch(digest, self.base_of(digest))

    def check_pins(self, digests: Collection[Digest]) -> None:
        """Raises `NotAllowed` when a room would have no place left to swap in: each keeps all pins of its base."""
        of_base = Counter(map(self.base_of, set(digests)))
        for base, pins in of_base.items():
            check_pins(pins, min((card.places for card in self._engine.cards(base)), default=pins + 1))

    def pin(self, digests: Collection[Digest]) -> None:
        """Rooms read of pins in the registry themselves."""

    def digests(self) -> list[Digest]:
        return list(dict.fromkeys(each.digest for card in self._engine.cards() for each in card.held))

    def residents(self) -> list[ResidentAdapter]:
        """One row for each room that has it."""
        now = time.monotonic()
        return [_row(each, now - card.came) for card in self._engine.cards() for each in card.held]

    def leases(self) -> int:
        return self._leases

    def failed_load(self, digest: Digest) -> int:
        """Rooms number their own loads; here a failure is known and not its number."""
        return 0

    def failures(self) -> dict[Digest, str]:
        here = {*self.digests()}
        told = {digest: why for card in self._engine.cards() for digest, why in card.failures.items()}
        return {digest: why for digest, why in told.items() if digest not in here}

    def fitting(self, digests: Sequence[Digest], *, spare: int = 0) -> list[Digest]:
        """As many of each base, in their order, as every room of it can keep; all of one whose rooms have not told."""
        of_base: Counter[Digest] = Counter()
        fitting = []
        for digest in digests:
            base = self.base_of(digest)
            of_base[base] += 1
            if all(of_base[base] <= card.places - spare for card in self._engine.cards(base)):
                fitting.append(digest)
        return fitting

    def forget_all(self) -> None: ...


class FleetGate:
    """Implements `service.adapters.admission_gate.Gate`: rooms give out their slots, and tell of them."""

    def __init__(self, rooms: Callable[[], Sequence[Card]]) -> None:
        self._rooms = rooms
        self.max_waiting = 0

    @asynccontextmanager
    async def turn(self, adapter: str | None) -> AsyncIterator[float]:
        yield 0.0

    @property
    def waiting(self) -> int:
        return sum(card.waiting for card in self._rooms())

    @property
    def taken(self) -> int:
        return sum(card.slots_taken for card in self._rooms())

    @property
    def in_slots(self) -> frozenset[str]:
        return frozenset(internal_name(each.digest) for card in self._rooms() for each in card.held if each.in_slot)

    @property
    def wanted(self) -> frozenset[str]:
        return frozenset(internal_name(each.digest) for card in self._rooms() for each in card.held if each.wanted)


def together(told: Mapping[Digest, EngineFacts]) -> EngineFacts:
    """Of the first base, with those of the others beside it."""
    (_, first), *others = told.items()
    return first.model_copy(update={"beside": dict(others)})


class _Refused(Exception):
    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        super().__init__(str(refusal.error))


def _row(held: Held, since: float) -> ResidentAdapter:
    """`since` are the seconds since that was told."""
    return ResidentAdapter(
        digest=held.digest,
        name=internal_name(held.digest),
        id=0,
        leases=held.leases,
        requests=held.requests,
        pinned=held.pinned,
        resident_seconds=held.age + since,
    )


def _ask(task: Any, call: Call) -> Ask:
    digest = call.adapter.digest if isinstance(call.adapter, FarAdapter) else None
    return Ask(task, digest, replace(call, adapter=None))


def _elsewhere(refusal: Refusal) -> bool:
    """Whether another room may do better: one that is full, or whose engine died, says nothing of the request."""
    if refusal.taken:
        return isinstance(refusal.error, EngineDead)
    return type(refusal.error) in (Overloaded, EngineDead, Unavailable, AdapterUnloadable)


def _told(error: DabtError, *, begun: bool) -> DabtError:
    if begun and isinstance(error, EngineDead):
        return EngineDead("the engine stopped in the middle of this answer; send the request again")
    return error
