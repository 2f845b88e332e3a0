"""The way of one request: resolve → retrieve → recipe → lease → slot → engine → answer.

Routes call `Service.answer` and nothing else. Each step is a module of its own: `resolution`, `knowledge`,
`openai/prompting`, `adapters/residency`, `adapters/admission_gate`, `engine`, and for classifiers
`classification/residents` in place of all but the first. Read `served_request.py` for what a
request takes on the way and how it gives it back.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from lifecycle.errors import DabtError, InvalidInput, Problem, Unavailable
from lifecycle.version import Version
from service.classification.request import check_answerer, count_texts
from service.engine.interface import Call, EngineAnswer, Kind, Tally
from service.engine_side import let_in
from service.observability.spans import span
from service.observability.telemetry import UNKNOWN
from service.openai import allowed_fields, http_errors
from service.openai.amounts import check_amounts, check_texts
from service.openai.decoding import with_decoding
from service.openai.fields import check_fields
from service.openai.likelihoods import check_continuations
from service.openai.messages import check_messages
from service.openai.prompting import with_recipe
from service.openai.prompts import check_prompt
from service.openai.relay import Relays
from service.openai.structured import check_constraints
from service.parts import Parts
from service.request_context import (
    DEPLOYMENT_HEADER,
    DIGEST_HEADER,
    REVISION_HEADER,
    VERSION_HEADER,
    RequestContext,
)
from service.resolution import Base, Caller, Resolved, caller_of, resolve
from service.served_request import Prepared, ServedRequest

if TYPE_CHECKING:
    from retrieval.passage import Retrieved

STREAMED: tuple[Kind, ...] = ("chat", "completion")
"""What comes as a stream where it is asked for."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Reply:
    """Either a whole `body`, or a stream: its `first` server-sent event and the generator of the others.

    Whoever takes the stream closes the generator: only then are the request's lease and place given back.
    """

    body: dict[str, Any] | None = None
    first: str = ""
    events: AsyncGenerator[str, None] | None = None


class Service:
    """Belongs to one event loop."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self._relays = Relays()

    async def answer(self, kind: Kind, body: dict[str, Any], context: RequestContext) -> Reply:
        """Answer one request. Raises the project's errors; those of a stream that has begun are put into it."""
        caller = await self.parts.tuned.caller(caller_of(body, context), body.get("model"))
        resolved = self._resolved(kind, body, caller, context)
        request = ServedRequest(self.parts, kind, body, resolved, context, self.shadowed)
        if body.get("stream") and kind in STREAMED:
            events = self._streamed(request)
            # The first event is awaited before any status is sent, so that most errors still have one.
            return Reply(first=await anext(events), events=events)
        return Reply(body=await self._whole(request))

    async def shadowed(self, kind: Kind, body: dict[str, Any], version: Version) -> EngineAnswer:
        """What `version` answers to a copied request: nobody sees it, and it is not counted, charged or drained for."""
        async with AsyncExitStack() as at_engine:
            base = self.parts.base.of(version)
            prepared = await self._prepared(kind, body, version, base, at_engine)
            call = Call(kind, prepared.body, version.ref, prepared.adapter, uuid.uuid4().hex, base=base.digest)
            return await self._answered(call, version)

    def _resolved(self, kind: Kind, body: dict[str, Any], caller: Caller, context: RequestContext) -> Resolved:
        """Let the request in and find who answers it. A refusal is counted under no version."""
        parts = self.parts
        try:
            parts.under_way.check()
            if waiting := parts.supervisor.waiting_for():
                raise Unavailable(f"the service is not ready: {'; '.join(waiting)}", retry_after=5.0)
            with span("resolve"):
                resolved = resolve(body.get("model"), caller, parts.catalogue.snapshot, parts.base)
            check_answerer(kind, resolved.ref, resolved.version)
        except DabtError as error:
            parts.telemetry.request(UNKNOWN, context.endpoint or kind).failed(error.code)
            raise
        context.tell(
            {VERSION_HEADER: resolved.ref, DIGEST_HEADER: resolved.digest, REVISION_HEADER: str(resolved.revision)}
        )
        if (facts := parts.supervisor.facts) is not None:
            context.tell({DEPLOYMENT_HEADER: parts.deployment.digest(facts)})
        return resolved

    async def _whole(self, request: ServedRequest) -> dict[str, Any]:
        async with request:
            call = await self._call(request)
            answer = await self._answered(call, request.resolved.version)
            request.answered(answer)
            return {**answer.body, "dabt": request.note()}

    async def _answered(self, call: Call, version: Version | None) -> EngineAnswer:
        if version is not None and version.spec.classifier is not None:
            return await self.parts.classifiers.answer(version.spec.classifier, call)
        engine = self.parts.engine
        return await (engine.likelihoods(call) if call.kind == "likelihood" else engine.generate(call))

    async def _streamed(self, request: ServedRequest) -> AsyncGenerator[str, None]:
        begun = False
        async with request:
            try:
                call = await self._call(request)
                items = self.parts.engine.stream(call)
                if call.adapter is not None:
                    items = self._relays.through(items, request.at_engine.aclose)
                async with aclosing(items):
                    async for item in items:
                        if isinstance(item, Tally):
                            request.figures.done(item)
                            continue
                        request.figures.sent += 1
                        request.observation.chunk(item)
                        if begun:
                            yield f"data: {item}\n\n"
                        else:
                            begun = True
                            yield f'data: {{"dabt":{json.dumps(request.note(), ensure_ascii=False)},{item[1:]}\n\n'
            except Exception as error:
                if not begun:
                    raise
                if not isinstance(error, DabtError):
                    log.exception("a stream failed", exc_info=error)
                yield http_errors.stream_event(request.failed(error))
            yield "data: [DONE]\n\n"

    async def _call(self, request: ServedRequest) -> Call:
        if request.body.get("stream") not in (None, False, True):
            raise InvalidInput("The request is not valid:", [Problem("stream", "must be true or false")])
        if request.kind == "classification":
            check_texts(count_texts(request.body), request.context.key)
        else:
            check_amounts(request.kind, request.body, request.context.key, self.parts.most_answers)
        resolved = request.resolved
        prepared = await self._prepared(request.kind, request.body, resolved.version, resolved.base, request.at_engine)
        return request.call(prepared)

    async def _prepared(
        self, kind: Kind, body: dict[str, Any], version: Version | None, base: Base, at_engine: AsyncExitStack
    ) -> Prepared:
        """All that comes before the engine. `at_engine` gives back what is taken for it."""
        passages: Retrieved | None = None
        searched = 0.0
        if version is not None:
            check_answerer(kind, version.ref, version)  # a shadow's copy has not been resolved
        if kind == "classification":
            return Prepared(allowed_fields.for_version(version, kind, body), passages, None, 0.0)
        check_fields(kind, body)
        check_constraints(body)
        body = allowed_fields.for_version(version, kind, body)
        if kind == "likelihood":
            check_continuations(body)
        if kind == "chat" or "messages" in body:
            body = check_messages(body)
        elif kind == "completion":
            check_prompt(body)
        if version is not None:
            began = time.perf_counter()
            passages = await self._retrieved(body, version)
            searched = 0.0 if passages is None else time.perf_counter() - began
            body = with_recipe(version, kind, body, passages)
        if kind != "likelihood":  # nothing is decoded
            body = with_decoding(version, base, kind, body)
        if version is None or version.spec.adapter is None:
            return Prepared(body, passages, None, 0.0, searched)
        digest, residency = version.spec.adapter, self.parts.residency
        if self.parts.far:
            named = await at_engine.enter_async_context(residency.lease(digest))
            return Prepared(body, passages, named, 0.0, searched)
        adapter, waited = await let_in(digest, residency, self.parts.gate, at_engine)
        return Prepared(body, passages, adapter, waited, searched)

    async def _retrieved(self, body: dict[str, Any], version: Version) -> Retrieved | None:
        knowledge = version.spec.knowledge
        if knowledge is None or "messages" not in body:
            return None
        from retrieval.prompting import question

        with span("retrieve", {"dabt.index": knowledge.index}), self.parts.telemetry.retrieving(version.ref):
            return await self.parts.library.search(knowledge, question(body["messages"]), version.spec.base)
