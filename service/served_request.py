"""One request that a version answers: what it takes on its way, and the one exit that gives all of it back.

Read `serving.py` for the way itself.
"""

from __future__ import annotations

import uuid
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from lifecycle.errors import DabtError, EngineDead
from service.engine.interface import AdapterHandle, Call, EngineAnswer, Kind
from service.observability import spans
from service.observability.tracer import Span
from service.openai import http_errors
from service.parts import Parts
from service.request_context import DISCONNECTED, TIMING_HEADER, RequestContext, code_of
from service.resolution import Resolved
from service.traffic.shadow import Ask

if TYPE_CHECKING:
    from retrieval.passage import Retrieved


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the engine is given, and the seconds that a slot was waited for and passages were searched."""

    body: dict[str, Any]
    passages: Retrieved | None
    adapter: AdapterHandle | None
    waited: float
    searched: float = 0.0


class ServedRequest:
    """Use it as a context manager, once: the block is the request's life, from being let in to its end."""

    def __init__(
        self,
        parts: Parts,
        kind: Kind,
        body: dict[str, Any],
        resolved: Resolved,
        context: RequestContext,
        ask: Ask,
    ) -> None:
        """`ask` answers a copy of it, for a shadow."""
        self.kind = kind
        self.body = body
        """As the caller sent it."""
        self.resolved = resolved
        self.at_engine = AsyncExitStack()
        """The lease of its adapter and its slot in the batch: given back as soon as the engine has done its work."""
        self.figures = parts.telemetry.request(resolved.ref, context.endpoint or kind)
        self.observation = parts.traffic.observation(context.id, kind, body, resolved, parts.catalogue.snapshot, ask)
        self._parts = parts
        self.context = context
        self._engine_span: Span | None = None
        self._passages: Retrieved | None = None
        context.answered_by(resolved.ref, resolved.digest, self.figures)

    async def __aenter__(self) -> ServedRequest:
        self._parts.under_way.begun()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """The order: the figures are closed, the caller is charged, the engine's things are given back, and then
        those who look on are told, with the end of the request as the last.
        """
        if error is not None:
            self.failed(error)
        self.figures.failed(DISCONNECTED)  # a stream that was closed before its end; ignored after any other end
        try:
            if self._engine_span is not None:
                self._parts.accounts.settle(self.context.key, self.resolved.ref, self.body, self.figures)
                spans.end_engine(self._engine_span, self.figures)
        finally:
            await self.at_engine.aclose()
            self.observation.ended(self.figures)
            self._parts.under_way.ended()

    def call(self, prepared: Prepared) -> Call:
        """What the engine is asked. From here on the request costs its caller."""
        self._passages = prepared.passages
        self.figures.waited, self.figures.searched = prepared.waited, prepared.searched
        request_id = uuid.uuid4().hex
        self._engine_span = spans.begin_engine(
            self.kind, prepared.body, self.resolved.asked, self.resolved.ref, request_id
        )
        self.figures.handed_to_engine()
        body = self._parts.prefix_cache.salted(prepared.body, self.context.key, self.resolved.version)
        headers, caller = self._engine_span.headers(), self.context.key_id
        base = self.resolved.base.digest
        return Call(self.kind, body, self.resolved.asked, prepared.adapter, request_id, headers, caller, base)

    def answered(self, answer: EngineAnswer) -> None:
        self.figures.done(answer.tally)
        if timing := self.figures.timing:
            self.context.tell({TIMING_HEADER: timing})
        self.observation.body(answer.body)

    def failed(self, error: BaseException) -> DabtError:
        """It ends with `error`; returned is what its caller may read of it."""
        self.figures.failed(code_of(error))
        if isinstance(error, EngineDead):
            self._parts.supervisor.suspect()
        return error if isinstance(error, DabtError) else http_errors.unexpected()

    def note(self) -> dict[str, Any]:
        """The extra key of every answer: who gave it, and from what."""
        note: dict[str, Any] = {
            "version": self.resolved.ref,
            "digest": self.resolved.digest,
            "passages": [item.model_dump() for item in self._passages or ()],
        }
        if self._passages is not None and self._passages.left_out:
            note["left_out"] = [passage.model_dump() for passage in self._passages.left_out]
        return note
