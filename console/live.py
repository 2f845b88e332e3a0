"""Live figures: what has changed since a page was made, in one stream for all that a browser has open.

A screen registers a `Source`: a topic, and a function that reads the topic's figures of now, flat as `{key: value}`.
A topic is read once a second for all who listen together, and not at all while nobody does. `/ui/events?topics=a,b`
sends a listener the whole state of these topics and then what changed, as events `state` and `change` with the figures
as their data; None is a figure that is gone. What the key may not see is left out.

An event's id says how far its reader has got (Last-Event-ID, as in HTML's "Server-sent events"): who comes back with it
gets what changed meanwhile, as far as that is remembered, and else the whole state. A slow reader is served in the same
way, so nothing is kept for it. Read `static/live.js` for the other end.
"""

from __future__ import annotations

import asyncio
import json
import math
import secrets
import zlib
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

import structlog
from fastapi import APIRouter, Request
from starlette.responses import StreamingResponse

from console.sessions import COOKIE
from console.viewer import Viewer, viewer_of
from lifecycle.access.keys import Role
from lifecycle.errors import Overloaded

Figure = str | int | float | bool | None
"""What is no finite number is sent as None."""
Figures = Mapping[str, Figure]

MOST_LISTENERS = 1000
_REMEMBERED = 20_000
"""Changed figures, of all topics together: some minutes of a busy service."""
_FIRST_READ = 2.0
"""Seconds that a new listener waits for a topic that was not being read; what comes later comes as a change."""
_LOOK = 1.0
"""Seconds after which a listener is looked at that has nothing to be told: its session may have ended."""

log = structlog.get_logger(__name__)
router = APIRouter()


@dataclass(frozen=True, slots=True)
class Source:
    topic: str
    """All its keys begin with it and a point: `canary.` those of the topic `canary`."""
    role: Role
    """The least that is told of it."""
    read: Callable[[], Awaitable[Figures]]
    """Must not block the event loop. What it raises leaves the figures as they were."""
    name_of: Callable[[str], str | None] = lambda key: None
    """A key → the name of the versions that it tells of, such as `triage`; None for what all with the role may see."""
    every: float = 1.0
    """Seconds between two readings."""


@dataclass(frozen=True, slots=True)
class _Change:
    number: int
    topic: str
    figures: Figures


class Hub:
    """Belongs to one event loop."""

    def __init__(self, keep_alive: float = 15.0, *, draining: Callable[[], bool] = lambda: False) -> None:
        self._keep_alive = keep_alive
        self._draining = draining
        self._stopped = False
        self._sources: dict[str, Source] = {}
        self._figures: dict[str, Figures] = {}
        """Of each topic, as they were read last."""
        self._fresh: set[str] = set()
        """Topics that are being read, and have been."""
        self._changes: deque[_Change] = deque()
        self._remembered = 0
        self._life = secrets.token_hex(4)
        """Ids of another process are of no use here."""
        self._cuts = 0
        self._newest = 0
        self._moved = asyncio.Event()
        """Set when there is something new, and replaced by the next one."""
        self._listeners: Counter[str] = Counter()
        """By topic."""
        self._streams = 0
        self._readers: dict[str, asyncio.Task[None]] = {}

    def add(self, *sources: Source) -> None:
        for source in sources:
            assert source.topic not in self._sources, f"the topic {source.topic} has two sources"
            self._sources[source.topic] = source

    async def stop(self) -> None:
        """End all streams, and read no more."""
        self._stopped = True
        self._tell()
        readers = list(self._readers.values())
        for reader in readers:
            reader.cancel()
        if readers:
            await asyncio.wait(readers)

    def end_streams(self) -> None:
        """All who listen now are cut off, and may come again."""
        self._cuts += 1
        self._tell()

    @property
    def streams(self) -> int:
        """How many listen."""
        return self._streams

    async def look(self, topic: str) -> None:
        """Read the topic now, and tell what has changed. Raises what its source raises."""
        source = self._sources[topic]
        now = {key: _plain(value) for key, value in (await source.read()).items()}
        before = self._figures.get(topic, {})
        changed: dict[str, Figure] = {key: value for key, value in now.items() if _differs(before, key, value)}
        changed |= dict.fromkeys(before.keys() - now.keys())
        self._figures[topic] = now
        if not changed:
            return
        self._newest += 1
        self._changes.append(_Change(self._newest, topic, changed))
        self._remembered += len(changed)
        while self._remembered > _REMEMBERED and self._changes:
            self._remembered -= len(self._changes.popleft().figures)
        self._tell()

    async def stream(self, topics: set[str], see: Callable[[], Viewer | None], after: str = "") -> AsyncIterator[bytes]:
        """The events for one listener. `see` says who that is now, None once the session has ended; `after` is the id
        of the last event that it has.
        """
        topics = topics & self._sources.keys()
        cuts = self._cuts
        with self._listening(topics):
            yield b"retry: 1000\n\n"
            await self._first_read(topics)
            told, mark = self._told(after)
            silence = 0.0
            while True:
                viewer = see()
                if viewer is None:
                    yield b"event: end\ndata: signed_out\n\n"
                    return
                if self._stopped or self._draining() or cuts != self._cuts:
                    return
                seen, mark = mark, _mark(topics, viewer)
                if seen != mark:  # the listener may see other figures than it has
                    told = None
                moved, newest = self._moved, self._newest
                told = told if self._remembers(told) else None
                figures = self._seen_now(topics, viewer) if told is None else self._since(told, topics, viewer)
                if told is None or figures:
                    kind = "state" if told is None else "change"
                    yield _event(kind, f"{self._life}.{newest}.{mark}", figures)
                    silence = 0.0
                elif silence >= self._keep_alive:
                    yield b": nothing new\n\n"
                    silence = 0.0
                told = newest
                try:
                    async with asyncio.timeout(_LOOK):
                        await moved.wait()
                except TimeoutError:
                    silence += _LOOK

    def _told(self, after: str) -> tuple[int | None, str]:
        """The number of the change that the listener with this id saw last, and what it could see then."""
        life, _, rest = after.partition(".")
        number, _, mark = rest.partition(".")
        if life != self._life or not number.isdecimal() or not number.isascii() or len(number) > 18:
            return None, ""
        return int(number), mark

    def _remembers(self, told: int | None) -> bool:
        """Whether all that came after this change is still known."""
        oldest = self._changes[0].number if self._changes else self._newest + 1
        return told is not None and oldest - 1 <= told <= self._newest

    def _since(self, told: int, topics: set[str], viewer: Viewer) -> dict[str, Figure]:
        merged: dict[str, Figure] = {}
        for change in reversed(self._changes):
            if change.number <= told:
                break
            if change.topic in topics:
                merged = {**self._seen(change.topic, change.figures, viewer), **merged}
        return merged

    def _seen_now(self, topics: set[str], viewer: Viewer) -> dict[str, Figure]:
        every = [self._seen(topic, self._figures.get(topic, {}), viewer) for topic in topics]
        return {key: value for figures in every for key, value in figures.items()}

    def _seen(self, topic: str, figures: Figures, viewer: Viewer) -> dict[str, Figure]:
        source = self._sources[topic]
        if not viewer.may(source.role):
            return {}
        if viewer.key is None:
            return dict(figures)
        named = ((key, source.name_of(key)) for key in figures)
        return {key: figures[key] for key, name in named if name is None or viewer.sees(name)}

    @contextmanager
    def _listening(self, topics: set[str]) -> Iterator[None]:
        self._listeners.update(topics)
        self._streams += 1
        for topic in topics - self._readers.keys():
            self._readers[topic] = asyncio.create_task(self._read(topic), name=f"live-{topic}")
        try:
            yield
        finally:
            self._streams -= 1
            self._listeners.subtract(topics)

    async def _read(self, topic: str) -> None:
        """While anybody listens to it."""
        source, failing = self._sources[topic], False
        try:
            while self._listeners[topic] > 0:
                try:
                    await self.look(topic)
                    failing = False
                    if topic not in self._fresh:
                        self._fresh.add(topic)
                        self._tell()
                except Exception as error:  # whatever it was: the next reading may do
                    if not failing:
                        problem = f"{type(error).__name__}: {error}"
                        log.warning("live figures cannot be read", topic=topic, error=problem)
                    failing = True
                await asyncio.sleep(source.every)
        finally:
            self._fresh.discard(topic)
            self._readers.pop(topic, None)

    async def _first_read(self, topics: set[str]) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_READ):
                while not topics <= self._fresh:
                    await self._moved.wait()

    def _tell(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()


@router.get("/ui/events")
async def events(request: Request) -> StreamingResponse:
    """`topics` are joined by commas. Raises `Overloaded` for one listener too many."""
    hub: Hub = request.app.state.live
    if hub.streams >= MOST_LISTENERS:
        raise Overloaded("too many pages listen; try again later", retry_after=30.0)
    topics = {topic for topic in request.query_params.get("topics", "").split(",") if topic}
    after = request.headers.get("last-event-id") or request.query_params.get("after", "")
    body = hub.stream(topics, _seer(request), after)
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(body, media_type="text/event-stream", headers=headers)


def _seer(request: Request) -> Callable[[], Viewer | None]:
    """Who listens, as the registry has the key now: it may be revoked or changed while a stream is open."""
    state, viewer, cookie = request.app.state, viewer_of(request), request.cookies.get(COOKIE, "")

    def see() -> Viewer | None:
        if not state.access.keys_asked():
            return replace(viewer, key=None)
        key = state.sessions.key(cookie, state.parts.catalogue.snapshot)
        return None if key is None else replace(viewer, key=key)

    return see


def _mark(topics: set[str], viewer: Viewer) -> str:
    """The same for two listeners of whom each sees what the other does."""
    models = None if viewer.key is None else viewer.key.models
    return f"{zlib.crc32(repr((sorted(topics), viewer.role, models)).encode()):08x}"


def _event(kind: str, id_: str, figures: Figures) -> bytes:
    return f"id: {id_}\nevent: {kind}\ndata: {json.dumps(figures, ensure_ascii=False)}\n\n".encode()


def _plain(value: Figure) -> Figure:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _differs(before: Figures, key: str, value: Figure) -> bool:
    return key not in before or before[key] != value or type(before[key]) is not type(value)
