"""Around every request: its context, its span, the headers of its answer, and at the end its line in the log.

Outside of everything, so that nothing is missed: refusals, faults, streams that break and callers that leave. Read
`request_context.py` for what is known of a request, `telemetry.py` for what is counted.
"""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.observability.telemetry import Telemetry
from service.observability.tracer import Attributes, Value
from service.request_context import DISCONNECTED, REQUEST_ID_HEADER, UNEXPECTED, RequestContext, begun
from service.resolution import PURPOSE_HEADER, SESSION_HEADER

if TYPE_CHECKING:
    from service.observability.otel import OtelSpan, OtelTracer

_NO_ROUTE = "none"
_PROBES = frozenset({"/health", "/ready", "/metrics"})
"""Asked every few seconds by machines: their lines are for debugging alone, and they are not traced."""
_USABLE = re.compile(r"[A-Za-z0-9._:+/=@-]{1,128}")
"""What a caller's id may be; another is replaced, because it goes into headers and the log. The engine's id is another:
two callers may send the same one at the same time."""
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

log = structlog.get_logger(__name__)


class AccessLog:
    """ASGI middleware, the outermost. `tracer` is None with traces off."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry, tracer: OtelTracer | None) -> None:
        self._app = app
        self._telemetry = telemetry
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        context = _context(Headers(scope=scope))
        with begun(scope, context), self._ended(scope, context) as sent:

            async def send_with_headers(message: Message) -> None:
                if message["type"] == "http.response.start":
                    sent.append(message["status"])
                    told = [(name.encode(), value.encode()) for name, value in context.headers.items()]
                    message = {**message, "headers": [*message.get("headers", ()), *told]}
                await send(message)

            await self._app(scope, receive, send_with_headers)

    @contextmanager
    def _ended(self, scope: Scope, context: RequestContext) -> Iterator[list[int]]:
        """The block is the request; into the list goes its status. Whatever its end, it is logged and counted."""
        began = time.perf_counter()
        sent: list[int] = []
        with self._span(scope, context) as span:
            try:
                yield sent
            except (ClientDisconnect, asyncio.CancelledError):
                context.code = DISCONNECTED
                raise
            except Exception:
                context.code = UNEXPECTED
                raise
            finally:
                # Without a status it is the last resort's, or nobody's.
                status = sent[0] if sent else 499 if context.outcome == DISCONNECTED else 500
                self._close(scope, context, status, time.perf_counter() - began)
                if span is not None:
                    span.rename(f"{_method(scope)} {_route(scope)}")
                    span.set(_attributes(scope, context, status))
                    # A caller's fault is no failure of ours, nor is leaving; a stream broken after its 200 is.
                    if status >= 500 or (status < 400 and context.outcome not in ("ok", DISCONNECTED)):
                        span.failed(context.outcome)

    @contextmanager
    def _span(self, scope: Scope, context: RequestContext) -> Iterator[OtelSpan | None]:
        if self._tracer is None or scope["path"] in _PROBES:
            yield None
            return
        with self._tracer.request(_method(scope), Headers(scope=scope)) as span:
            context.tracer, context.trace_id = self._tracer, span.trace_id
            yield span

    def _close(self, scope: Scope, context: RequestContext, status: int, seconds: float) -> None:
        route = _route(scope)
        self._telemetry.answered(context, route, status)
        line: dict[str, object] = {"method": _method(scope), "route": route, "status": status}
        line |= {"outcome": context.outcome, "seconds": round(seconds, 4)}
        figures = context.figures
        if figures is not None and figures.tally is not None:
            line["prompt_tokens"] = figures.tally.prompt_tokens
            line["completion_tokens"] = figures.tally.completion_tokens
            if figures.first_token is not None:
                line["ttft_seconds"] = round(figures.first_token, 4)
        if route in _PROBES:
            log.debug("request", **line)
        else:
            log.info("request", **line)


def _context(headers: Headers) -> RequestContext:
    """The id is the caller's own when it sent a usable one, so that one request can be followed through the caller's
    records, this service's log and the answer.
    """
    given = headers.get(REQUEST_ID_HEADER, "")
    request_id = given if _USABLE.fullmatch(given) else uuid.uuid4().hex
    context = RequestContext(request_id, headers.get(PURPOSE_HEADER, ""), headers.get(SESSION_HEADER, ""))
    context.tell({REQUEST_ID_HEADER: request_id})
    return context


def _route(scope: Scope) -> str:
    """The route's pattern and not the path, which callers choose. A path without one is not written down at all."""
    if "route" not in scope:  # refused before it was routed, or no route is for this method
        matching = (known for known in scope["app"].routes if known.matches(scope)[0] is not Match.NONE)
        scope["route"] = next(matching, None)
    return getattr(scope["route"], "path", None) or _NO_ROUTE


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in _METHODS else "other"


def _attributes(scope: Scope, context: RequestContext, status: int) -> Attributes:
    """https://opentelemetry.io/docs/specs/semconv/http/http-spans/, and ours under `dabt`."""
    known: dict[str, Value] = {
        "http.request.method": _method(scope),
        "http.route": _route(scope),
        "http.response.status_code": status,
        "url.scheme": scope.get("scheme", "http"),
        "dabt.request_id": context.id,
        "dabt.key": context.key_id,
        "dabt.outcome": context.outcome,
    }
    if context.version:
        known |= {"dabt.version": context.version, "dabt.digest": context.digest}
    return known
