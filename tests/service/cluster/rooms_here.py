"""Engine rooms in this process, and a way to them that is as narrow as the one between machines."""

from __future__ import annotations

import pickle
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from types import MappingProxyType
from typing import Any, cast

import httpx

from lifecycle.store.artifacts import ArtifactStore
from lifecycle.version import Digest
from service.app import create_app
from service.cluster.asking import Ask, Card, Frame
from service.cluster.fleet import FleetEngine, Line, NoRoomLeft, RoomGone
from service.cluster.room import LoneRoom
from service.cluster.rooms import Rooms
from service.config import ServeConfig
from service.engine.fake_engine import FakeEngine
from service.engine_side import base_of
from tests.service.conftest import House, Running


class Here:
    """Implements `service.cluster.fleet.Line`: whatever goes along it is pickled, and rooms may vanish."""

    def __init__(self, rooms: Sequence[LoneRoom]) -> None:
        self._rooms = {room.name: room for room in rooms}
        self.known = Rooms()
        self.known.are((room.name, 512) for room in rooms)
        self.went: list[str] = []
        """To which room each ask went."""
        self.vanish_after: dict[str, int] = {}
        """Frames of a room after which it is gone for good."""

    async def ask(self, ask: Ask) -> AsyncGenerator[Frame, None]:
        self.tell()
        ranked = self.known.ranked(ask)
        if not ranked:
            raise NoRoomLeft
        name = ranked[0]
        self.went.append(name)
        self.known.sent(name, ask.digest)
        try:
            async with aclosing(self._rooms[name].answer(pickle.loads(pickle.dumps(ask)))) as frames:
                count = 0
                async for frame in frames:
                    if self.vanish_after.get(name) == count:
                        self.known.are((other, 512) for other in self._rooms if other not in self.vanish_after)
                        raise RoomGone
                    count += 1
                    yield pickle.loads(pickle.dumps(frame))
        finally:
            self.known.ended(name, ask.digest)

    def tell(self) -> None:
        for room in self._rooms.values():
            self.known.told(room.card())

    def cards(self) -> Sequence[Card]:
        return self.known.cards()


class Fleet:
    """Rooms over the fake engine, and gateways before them."""

    def __init__(self, house: House, rooms: dict[str, LoneRoom], engines: dict[str, FakeEngine]) -> None:
        self._house = house
        self.rooms = rooms
        self.engines = engines

    def line(self) -> Here:
        return Here(list(self.rooms.values()))

    @asynccontextmanager
    async def gateway(
        self, line: Here | None = None, other: tuple[ServeConfig, Line] | None = None, **options: object
    ) -> AsyncIterator[Running]:
        """`other` is another base, with the way to its rooms."""
        lines: dict[Digest, Line] = {self._house.base_digest: line or self.line()}
        beside = () if other is None else (other[0],)
        if other is not None:
            lines[base_of(other[0]).digest] = other[1]
        default: dict[str, object] = {"base": self._house.base, "embedding_model": "none"}
        config = ServeConfig.model_validate({**default, "allowed_host": ("service",), **options})
        engine = FleetEngine(lines)
        elsewhere = engine.elsewhere(beside)
        app = create_app(config, engine, self._house.registry, self._house.store, elsewhere=elsewhere)
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app=app, client=("127.0.0.1", 50000))
            async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
                await app.state.parts.supervisor.until_ready()
                yield Running(client, cast(Any, engine), app)


@asynccontextmanager
async def a_fleet(
    house: House,
    rooms: int = 2,
    names: str = "xyz",
    stores: Mapping[str, ArtifactStore] = MappingProxyType({}),
    **options: object,
) -> AsyncIterator[Fleet]:
    """Closed rooms and all. `options` are the rooms' settings; `stores` are those of rooms with a disk of their own."""
    default: dict[str, object] = {"base": house.base, "max_cpu_loras": 4, "max_loras": 2}
    config = ServeConfig.model_validate({**default, **options})
    async with AsyncExitStack() as open_rooms:
        made, engines = {}, {}
        for name in names[:rooms]:
            engines[name] = FakeEngine()
            made[name] = LoneRoom(name, config, engines[name], house.registry, stores.get(name, house.store))
            await made[name].open()
            open_rooms.push_async_callback(made[name].close)
        yield Fleet(house, made, engines)
