"""The way of one request: resolve → retrieve → recipe → lease → engine → answer, with its metrics and its end.

Routes call `Service.answer` and nothing else. Each step is a module of its own: `resolution`, `knowledge`,
`prompting`, `residency`, `engine`.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from lifecycle.errors import DabtError, EngineDead, InvalidInput, Overloaded, Problem, Unavailable
from lifecycle.version import Version
from service import http_errors
from service.catalogue import Catalogue
from service.engine import Call, Engine, Kind, Tally
from service.knowledge import Library
from service.prompting import check_messages, with_recipe
from service.residency import Residency
from service.resolution import PURPOSE_HEADER, SESSION_HEADER, Base, Caller, Resolved, resolve
from service.supervise import Supervisor
from service.telemetry import UNKNOWN, Measured, Telemetry

if TYPE_CHECKING:
    from retrieval.passage import Passage

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Reply:
    """Either a whole `body`, or a stream: its `first` server-sent event and the generator of the others.

    Whoever takes the stream closes the generator: only then are the request's lease and place given back.
    """

    headers: dict[str, str]
    body: dict[str, Any] | None = None
    first: str = ""
    events: AsyncGenerator[str, None] | None = None


@dataclass(frozen=True)
class Parts:
    """What a service is made of."""

    base: Base
    engine: Engine
    catalogue: Catalogue
    residency: Residency
    library: Library
    supervisor: Supervisor
    telemetry: Telemetry


class Service:
    """Belongs to one event loop."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self._in_flight = 0
        self._draining = False
        self._idle = asyncio.Event()
        self._idle.set()

    async def answer(self, kind: Kind, body: dict[str, Any], headers: Mapping[str, str]) -> Reply:
        """Answer one request. Raises the project's errors; those of a stream that has begun are put into it."""
        self._admit()
        try:
            resolved = self.resolve(body, headers)
        except DabtError as error:
            self.parts.telemetry.request(UNKNOWN, kind).failed(error.code)
            raise
        held = AsyncExitStack()
        measured = self.parts.telemetry.request(resolved.ref, kind)
        held.callback(self._finished)
        held.callback(measured.failed, "disconnected")  # does nothing once an outcome is recorded
        self._in_flight += 1
        self._idle.clear()
        try:
            return await self._answer(kind, body, resolved, measured, held)
        except BaseException as error:
            measured.failed(_code(error))
            if isinstance(error, EngineDead):
                self.parts.supervisor.suspect()
            await held.aclose()
            raise

    def resolve(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> Resolved:
        parts = self.parts
        return resolve(body.get("model"), caller_of(body, headers), parts.catalogue.snapshot, parts.base)

    async def drain(self, seconds: float) -> bool:
        """Admit nothing more and wait for what was admitted. False when `seconds` were not enough."""
        self._draining = True
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    @property
    def draining(self) -> bool:
        return self._draining

    async def _answer(
        self, kind: Kind, body: dict[str, Any], resolved: Resolved, measured: Measured, held: AsyncExitStack
    ) -> Reply:
        passages: Sequence[Passage] = ()
        if body.get("stream") not in (None, False, True):
            raise InvalidInput("The request is not valid:", [Problem("stream", "must be true or false")])
        if kind == "chat":
            check_messages(body)
        if resolved.version is not None:
            passages = await self._retrieve(kind, body, resolved.version)
            body = with_recipe(resolved.version, kind, body, passages)
        adapter = None
        if resolved.version is not None and resolved.version.spec.adapter is not None:
            adapter = await held.enter_async_context(self.parts.residency.lease(resolved.version.spec.adapter))
        call = Call(kind, body, resolved.asked, adapter, uuid.uuid4().hex)
        note = _note(resolved, passages)
        headers = {"x-dabt-version": resolved.ref, "x-dabt-digest": resolved.digest, "x-request-id": call.request_id}
        measured.handed_to_engine()
        if body.get("stream"):
            events = self._events(call, note, measured, held)
            # The first event is awaited before any status is sent, so that most errors still have one.
            return Reply(headers, first=await anext(events), events=events)
        answer = await self.parts.engine.generate(call)
        measured.done(answer.tally)
        await held.aclose()
        return Reply(headers, body={**answer.body, "dabt": note})

    async def _events(
        self, call: Call, note: dict[str, Any], measured: Measured, held: AsyncExitStack
    ) -> AsyncGenerator[str, None]:
        begun = False
        async with held:
            try:
                async with aclosing(self.parts.engine.stream(call)) as items:
                    async for item in items:
                        if isinstance(item, Tally):
                            measured.done(item)
                        elif begun:
                            yield f"data: {item}\n\n"
                        else:
                            begun = True
                            yield f'data: {{"dabt":{json.dumps(note, ensure_ascii=False)},{item[1:]}\n\n'
            except Exception as error:
                if not begun:
                    raise
                yield http_errors.stream_event(self._broken(error, measured))
            yield "data: [DONE]\n\n"

    def _broken(self, error: Exception, measured: Measured) -> DabtError:
        """A stream failed after its status was sent: what its reader is told."""
        measured.failed(_code(error))
        if isinstance(error, EngineDead):
            self.parts.supervisor.suspect()
        if isinstance(error, DabtError):
            return error
        log.exception("a stream failed", exc_info=error)
        return http_errors.unexpected()

    async def _retrieve(self, kind: Kind, body: dict[str, Any], version: Version) -> Sequence[Passage]:
        knowledge = version.spec.knowledge
        if knowledge is None or kind != "chat":
            return ()
        from retrieval.prompting import question

        return await self.parts.library.search(knowledge, question(body["messages"]))

    def _admit(self) -> None:
        if self._draining:
            raise Overloaded("the service is stopping and takes no new requests", retry_after=5.0)
        waiting = self.parts.supervisor.waiting_for()
        if waiting:
            raise Unavailable(f"the service is not ready: {'; '.join(waiting)}", retry_after=5.0)

    def _finished(self) -> None:
        self._in_flight -= 1
        if self._in_flight == 0:
            self._idle.set()


def caller_of(body: Mapping[str, Any], headers: Mapping[str, str]) -> Caller:
    user = body.get("user")
    session = headers.get(SESSION_HEADER) or (user if isinstance(user, str) else "")
    return Caller(purpose=headers.get(PURPOSE_HEADER, ""), session=session)


def _note(resolved: Resolved, passages: Sequence[Passage]) -> dict[str, Any]:
    """The extra key of every answer: who gave it, and from what."""
    return {
        "version": resolved.ref,
        "digest": resolved.digest,
        "passages": [{"id": one.id, "text": one.text, "score": one.score} for one in passages],
    }


def _code(error: BaseException) -> str:
    if isinstance(error, DabtError):
        return error.code
    return "disconnected" if isinstance(error, asyncio.CancelledError | GeneratorExit) else "unexpected"
