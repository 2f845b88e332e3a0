"""The way of one request: resolve → retrieve → recipe → lease → slot → engine → answer, with its metrics and its end.

Routes call `Service.answer` and nothing else. Each step is a module of its own: `resolution`, `knowledge`,
`prompting`, `residency`, `admission_gate`, `engine`.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog

from lifecycle.errors import DabtError, EngineDead, InvalidInput, NotFound, Overloaded, Problem, Unavailable
from lifecycle.version import Version
from service.access.accounts import Accounts
from service.access.authentication import current_key
from service.adapters.admission_gate import AdmissionGate
from service.adapters.residency import Residency
from service.adapters.warming import Warmer
from service.bulkhead import Bulkhead
from service.catalogue import Catalogue
from service.deployment import OwnDeployment
from service.engine.interface import AdapterHandle, Call, Engine, EngineAnswer, Kind, Tally
from service.engine.supervise import Supervisor
from service.knowledge import Library
from service.observability import engine_span, record
from service.observability.request_figures import RequestFigures
from service.observability.spans import span
from service.observability.telemetry import UNKNOWN, Endpoint, Telemetry
from service.openai import http_errors
from service.openai.answer_headers import DEPLOYMENT_HEADER, DIGEST_HEADER, REVISION_HEADER, VERSION_HEADER, tell
from service.openai.decoding import with_decoding
from service.openai.embeddings import Embedder
from service.openai.models import Running
from service.openai.prompting import check_messages, with_recipe
from service.openai.relay import Relays
from service.resolution import PURPOSE_HEADER, SESSION_HEADER, Base, Caller, Resolved, permit, resolve
from service.traffic.policies import Traffic, Watch

if TYPE_CHECKING:
    from retrieval.passage import Passage

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Reply:
    """Either a whole `body`, or a stream: its `first` server-sent event and the generator of the others.

    Whoever takes the stream closes the generator: only then are the request's lease and place given back.
    """

    body: dict[str, Any] | None = None
    first: str = ""
    events: AsyncGenerator[str, None] | None = None


@dataclass(frozen=True)
class Parts:
    """What a service is made of."""

    base: Base
    deployment: OwnDeployment
    engine: Engine
    catalogue: Catalogue
    residency: Residency
    warmer: Warmer
    gate: AdmissionGate
    library: Library
    embedder: Embedder | None
    supervisor: Supervisor
    telemetry: Telemetry
    accounts: Accounts
    traffic: Traffic
    at_registry: Bulkhead
    """Threads for whoever reads the registry itself, or changes it: it may be locked."""

    async def catch_up(self) -> None:
        """See a change that was just made now. It stands whether this succeeds or not: the next poll sees it too."""
        with suppress(DabtError):
            await self.at_registry.run(self.catalogue.refresh)


@dataclass(frozen=True, slots=True)
class _Admitted:
    """A request that has been let in: who answers it, who looks on, and what is given back at its end."""

    resolved: Resolved
    measured: RequestFigures
    watch: Watch
    held: AsyncExitStack


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What the engine is given, and the seconds that a slot was waited for."""

    body: dict[str, Any]
    passages: Sequence[Passage]
    adapter: AdapterHandle | None
    waited: float


class Service:
    """Belongs to one event loop."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self._relays = Relays()
        self._in_flight = 0
        self.draining_since: datetime | None = None
        self._idle = asyncio.Event()
        self._idle.set()

    async def answer(
        self, kind: Kind, body: dict[str, Any], headers: Mapping[str, str], *, endpoint: Endpoint | None = None
    ) -> Reply:
        """Answer one request. Raises the project's errors; those of a stream that has begun are put into it.

        `endpoint` is what the request is counted under when it came in another shape than `kind`.
        """
        counted = endpoint or kind
        try:
            self._admit()
            with span("resolve"):
                resolved = self.resolve(body, headers)
        except DabtError as error:
            self.parts.telemetry.request(UNKNOWN, counted).failed(error.code)
            raise
        tell({VERSION_HEADER: resolved.ref, DIGEST_HEADER: resolved.digest, REVISION_HEADER: str(resolved.revision)})
        if (facts := self.parts.supervisor.facts) is not None:
            tell({DEPLOYMENT_HEADER: self.parts.deployment.digest(facts)})
        held = AsyncExitStack()
        measured = self.parts.telemetry.request(resolved.ref, counted)
        record.answers(resolved.ref, resolved.digest, measured)
        watch = self.parts.traffic.watch(kind, body, resolved, self.parts.catalogue.snapshot, self.shadowed)
        held.callback(self._finished)
        held.callback(watch.ended, measured)
        held.callback(measured.failed, record.DISCONNECTED)  # does nothing once an outcome is recorded
        self._begun()
        try:
            return await self._answer(kind, body, _Admitted(resolved, measured, watch, held))
        except BaseException as error:
            measured.failed(_code(error))
            if isinstance(error, EngineDead):
                self.parts.supervisor.suspect()
            await held.aclose()
            raise

    async def shadowed(self, kind: Kind, body: dict[str, Any], version: Version) -> EngineAnswer:
        """What `version` answers to a copied request: nobody sees it, and it is not counted, charged or drained for."""
        async with AsyncExitStack() as held:
            ready = await self._prepare(kind, body, version, held)
            call = Call(kind, ready.body, version.ref, ready.adapter, uuid.uuid4().hex)
            return await self.parts.engine.generate(call)

    async def embed(self, body: dict[str, Any]) -> dict[str, Any]:
        """Vectors from the retrieval model: no version answers, and the engine takes no part."""
        self._refuse_when_draining()
        embedder = self.parts.embedder
        if embedder is None:
            raise NotFound("this service gives no embeddings: it was started with --embedding-model none")
        permit(embedder.name, caller_of(body, {}))
        measured = self.parts.telemetry.request(embedder.name, "embedding")
        record.answers(embedder.name, "", measured)
        self._begun()
        try:
            answer = await embedder.answer(body)
        except BaseException as error:
            measured.failed(_code(error))
            raise
        finally:
            self._finished()
        measured.done(Tally(prompt_tokens=answer.tokens, completion_tokens=0))
        self.parts.accounts.settle(current_key(), embedder.name, body, measured)
        return answer.body

    async def running(self) -> Running:
        """What is listed besides the registry's versions. An embedding model that is not to be had is not listed."""
        parts, digest = self.parts, ""
        if parts.embedder is not None:
            with suppress(Unavailable):
                digest = await parts.embedder.digest()
        facts = parts.supervisor.facts
        return Running(
            base=parts.base,
            max_model_len=facts.max_model_len if facts else None,
            embedding_model=parts.embedder.name if parts.embedder is not None and digest else "",
            embedding_digest=digest,
        )

    def resolve(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> Resolved:
        parts = self.parts
        return resolve(body.get("model"), caller_of(body, headers), parts.catalogue.snapshot, parts.base)

    async def drain(self, seconds: float) -> bool:
        """Admit nothing more and wait for what was admitted. False when `seconds` were not enough.

        Changes of the registry are not waited for: one that waits for a lock may do so for long.
        """
        self.draining_since = self.draining_since or datetime.now(UTC)
        await self.parts.traffic.shadows.stop()
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        finally:
            self.parts.at_registry.leave()
        return True

    async def cut_off(self) -> None:
        """End what is still under way with an error, which its callers can read, rather than with their connections."""
        await self.parts.supervisor.stop()
        await self.parts.engine.stop()

    @property
    def draining(self) -> bool:
        return self.draining_since is not None

    async def _answer(self, kind: Kind, body: dict[str, Any], one: _Admitted) -> Reply:
        resolved, measured, held = one.resolved, one.measured, one.held
        if body.get("stream") not in (None, False, True):
            raise InvalidInput("The request is not valid:", [Problem("stream", "must be true or false")])
        taken = await held.enter_async_context(AsyncExitStack())
        ready = await self._prepare(kind, body, resolved.version, taken)
        body, measured.waited = ready.body, ready.waited
        request_id = uuid.uuid4().hex
        generation = engine_span.begin(kind, body, resolved, request_id)
        held.callback(engine_span.end, generation, measured)
        call = Call(kind, body, resolved.asked, ready.adapter, request_id, generation.headers())
        note = _note(resolved, ready.passages)
        held.callback(self.parts.accounts.settle, current_key(), resolved.ref, body, measured)
        measured.handed_to_engine()
        if body.get("stream"):
            items = self.parts.engine.stream(call)
            if ready.adapter is not None:
                items = self._relays.through(items, taken.aclose)
            events = self._events(items, note, one)
            # The first event is awaited before any status is sent, so that most errors still have one.
            return Reply(first=await anext(events), events=events)
        answer = await self.parts.engine.generate(call)
        measured.done(answer.tally)
        one.watch.body(answer.body)
        await held.aclose()
        return Reply(body={**answer.body, "dabt": note})

    async def _prepare(
        self, kind: Kind, body: dict[str, Any], version: Version | None, held: AsyncExitStack
    ) -> _Prepared:
        """All that comes before the engine. What is taken for it is given back by `held`."""
        passages: Sequence[Passage] = ()
        if kind == "chat":
            check_messages(body)
        if version is not None:
            passages = await self._retrieve(kind, body, version)
            body = with_recipe(version, kind, body, passages)
        body = with_decoding(version, self.parts.base, kind, body)
        if version is None or version.spec.adapter is None:
            return _Prepared(body, passages, None, 0.0)
        with span("lease", {"dabt.adapter": version.spec.adapter}), self.parts.telemetry.leasing():
            adapter = await held.enter_async_context(self.parts.residency.lease(version.spec.adapter))
        with span("slot"):
            waited = await held.enter_async_context(self.parts.gate.turn(adapter.name))
        return _Prepared(body, passages, adapter, waited)

    async def _events(
        self, source: AsyncGenerator[str | Tally, None], note: dict[str, Any], one: _Admitted
    ) -> AsyncGenerator[str, None]:
        begun, measured = False, one.measured
        async with one.held:
            try:
                async with aclosing(source) as items:
                    async for item in items:
                        if isinstance(item, Tally):
                            measured.done(item)
                            continue
                        measured.sent += 1
                        one.watch.chunk(item)
                        if begun:
                            yield f"data: {item}\n\n"
                        else:
                            begun = True
                            yield f'data: {{"dabt":{json.dumps(note, ensure_ascii=False)},{item[1:]}\n\n'
            except Exception as error:
                if not begun:
                    measured.failed(_code(error))
                    raise
                yield http_errors.stream_event(self._broken(error, measured))
            yield "data: [DONE]\n\n"

    def _broken(self, error: Exception, measured: RequestFigures) -> DabtError:
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

        with span("retrieve", {"dabt.index": knowledge.index}), self.parts.telemetry.retrieving(version.ref):
            return await self.parts.library.search(knowledge, question(body["messages"]))

    def _refuse_when_draining(self) -> None:
        if self.draining:
            raise Overloaded("the service is stopping and takes no new requests", retry_after=5.0)

    def _admit(self) -> None:
        self._refuse_when_draining()
        waiting = self.parts.supervisor.waiting_for()
        if waiting:
            raise Unavailable(f"the service is not ready: {'; '.join(waiting)}", retry_after=5.0)

    def _begun(self) -> None:
        self._in_flight += 1
        self._idle.clear()

    def _finished(self) -> None:
        self._in_flight -= 1
        if self._in_flight == 0:
            self._idle.set()


def caller_of(body: Mapping[str, Any], headers: Mapping[str, str]) -> Caller:
    user = body.get("user")
    session = headers.get(SESSION_HEADER) or (user if isinstance(user, str) else "")
    return Caller(purpose=headers.get(PURPOSE_HEADER, ""), session=session, key=current_key())


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
    return record.DISCONNECTED if isinstance(error, asyncio.CancelledError | GeneratorExit) else record.UNEXPECTED
