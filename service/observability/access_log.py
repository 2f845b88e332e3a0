"""Around every request: its span, and at the end its one line in the log and its count.

Outside of everything but the headers, so that nothing is missed: refusals, faults, streams that break and callers that
leave. Read `record.py` for what is known of a request, `telemetry.py` for what is counted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.observability.record import DISCONNECTED, UNEXPECTED, Record, kept
from service.observability.spans import Attributes, Value
from service.observability.telemetry import Telemetry
from service.openai.answer_headers import REQUEST_ID_HEADER, told

if TYPE_CHECKING:
    from service.observability.otel import OtelSpan, OtelTracer

_NO_ROUTE = "none"
_PROBES = frozenset({"/health", "/ready", "/metrics"})
"""Asked every few seconds by machines: their lines are for debugging alone, and they are not traced."""
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

log = structlog.get_logger(__name__)


class AccessLog:
    """ASGI middleware, inside of `AnswerHeaders`, which gives the request its id. `tracer` is None with traces off."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry, tracer: OtelTracer | None) -> None:
        self._app = app
        self._telemetry = telemetry
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        one = Record(id=told().get(REQUEST_ID_HEADER, ""))
        with kept(one), self._ended(scope, one) as sent:

            async def watched(message: Message) -> None:
                if message["type"] == "http.response.start":
                    sent.append(message["status"])
                await send(message)

            await self._app(scope, receive, watched)

    @contextmanager
    def _ended(self, scope: Scope, one: Record) -> Iterator[list[int]]:
        """The block is the request; into the list goes its status. Whatever its end, it is logged and counted."""
        began = time.perf_counter()
        sent: list[int] = []
        with self._span(scope, one) as span:
            try:
                yield sent
            except (ClientDisconnect, asyncio.CancelledError):
                one.code = DISCONNECTED
                raise
            except Exception:
                one.code = UNEXPECTED
                raise
            finally:
                # Without a status it is the last resort's, or nobody's.
                status = sent[0] if sent else 499 if one.outcome == DISCONNECTED else 500
                self._close(scope, one, status, time.perf_counter() - began)
                if span is not None:
                    span.rename(f"{_method(scope)} {_route(scope)}")
                    span.set(_attributes(scope, one, status))
                    # A caller's fault is no failure of ours, nor is leaving; a stream broken after its 200 is.
                    if status >= 500 or (status < 400 and one.outcome not in ("ok", DISCONNECTED)):
                        span.failed(one.outcome)

    @contextmanager
    def _span(self, scope: Scope, one: Record) -> Iterator[OtelSpan | None]:
        if self._tracer is None or scope["path"] in _PROBES:
            yield None
            return
        with self._tracer.request(_method(scope), Headers(scope=scope)) as span:
            one.trace = span.trace_id
            yield span

    def _close(self, scope: Scope, one: Record, status: int, seconds: float) -> None:
        route = _route(scope)
        self._telemetry.answered(one, route, status)
        line: dict[str, object] = {"method": _method(scope), "route": route, "status": status, "outcome": one.outcome}
        line["seconds"] = round(seconds, 4)
        measured = one.measured
        if measured is not None and measured.tally is not None:
            line["prompt_tokens"] = measured.tally.prompt_tokens
            line["completion_tokens"] = measured.tally.completion_tokens
            if measured.first_token is not None:
                line["ttft_seconds"] = round(measured.first_token, 4)
        if route in _PROBES:
            log.debug("request", **line)
        else:
            log.info("request", **line)


def _route(scope: Scope) -> str:
    """The route's pattern and not the path, which callers choose. A path without one is not written down at all."""
    if "route" not in scope:  # refused before it was routed, or no route is for this method
        matching = (one for one in scope["app"].routes if one.matches(scope)[0] is not Match.NONE)
        scope["route"] = next(matching, None)
    return getattr(scope["route"], "path", None) or _NO_ROUTE


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in _METHODS else "other"


def _attributes(scope: Scope, one: Record, status: int) -> Attributes:
    """https://opentelemetry.io/docs/specs/semconv/http/http-spans/, and ours under `dabt`."""
    known: dict[str, Value] = {
        "http.request.method": _method(scope),
        "http.route": _route(scope),
        "http.response.status_code": status,
        "url.scheme": scope.get("scheme", "http"),
        "dabt.request_id": one.id,
        "dabt.key": one.key,
        "dabt.outcome": one.outcome,
    }
    if one.version:
        known |= {"dabt.version": one.version, "dabt.digest": one.digest}
    return known
