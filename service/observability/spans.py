"""Spans of the request at hand: one line around a step makes it visible in a trace, and costs one look-up when off.

Knows no tracing library. `otel.py` implements `Tracer` with OpenTelemetry and is imported only when tracing is asked
for; `access_log.py` opens a request's first span and puts the tracer into its context. The engine's span is told in
OpenTelemetry's terms for generative models, with the texts left out:
https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

from service.engine.interface import Kind
from service.observability.tracer import Attributes, Span, Tracer, Value
from service.request_context import DISCONNECTED, RequestContext, RequestFigures, current, worked_for

if TYPE_CHECKING:
    from service.config import ServeConfig
    from service.observability.otel import OtelTracer

_OPERATION: Mapping[Kind, str] = {
    "chat": "chat",
    "completion": "text_completion",
    "likelihood": "likelihood",
    "classification": "classification",
}
_NUMBERS = ("max_tokens", "temperature", "top_p", "seed")
"""What of a request is told, where it is the number that it should be."""


class _Off:
    """Both a span and the block around it; does nothing."""

    def __enter__(self) -> _Off:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        return None

    def set(self, attributes: Attributes) -> None:
        return None

    def event(self, name: str, after: float) -> None:
        return None

    def failed(self, code: str) -> None:
        return None

    def end(self) -> None:
        return None

    def headers(self) -> dict[str, str]:
        return {}


_OFF = _Off()


def span(name: str, attributes: Attributes | None = None) -> AbstractContextManager[Span]:
    """A step of the request at hand: a child of the step around it, failed when an error leaves the block."""
    active = _tracer()
    return _OFF if active is None else active.span(name, attributes or {})


def begin(name: str, attributes: Attributes | None = None) -> Span:
    """The same for a step that ends in another task than it began in, as a stream does: call `end`. Spans made
    meanwhile are not its children.
    """
    active = _tracer()
    return _OFF if active is None else active.begin(name, attributes or {})


@contextmanager
def going_on(tracer: Tracer | None, headers: Mapping[str, str]) -> Iterator[None]:
    """Inside of it this process works for a request that another one traces, with these `headers`."""
    if tracer is None or not headers:
        yield
        return
    trace_id = headers.get("traceparent", "--").split("-")[1]
    with worked_for(RequestContext(tracer=tracer, trace_id=trace_id, key_id="")), tracer.under(headers):
        yield


def tracer_of(config: ServeConfig) -> OtelTracer | None:
    """None where nobody is told of traces."""
    if not config.traces_url:
        return None
    from service.observability.otel import OtelTracer

    return OtelTracer(config.traces_url, config.otlp_protocol)


def begin_engine(kind: Kind, body: Mapping[str, Any], asked: str, ref: str, request_id: str) -> Span:
    """From the engine's door. Its `headers` go to the engine, whose own spans then lie below it."""
    attributes: dict[str, Value] = {
        "gen_ai.operation.name": _OPERATION[kind],
        "gen_ai.provider.name": "dabt",
        "gen_ai.request.model": asked,
        "gen_ai.response.model": ref,
        "gen_ai.response.id": request_id,
        "gen_ai.request.stream": bool(body.get("stream")),
    }
    for name in _NUMBERS:
        value = body.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            attributes[f"gen_ai.request.{name}"] = value
    return begin(f"{_OPERATION[kind]} {asked}", attributes)


def end_engine(engine_span: Span, figures: RequestFigures) -> None:
    """Whichever way the request ended. Call it before the request's lease is returned."""
    tally = figures.tally
    if tally is None:
        engine_span.failed(figures.code or DISCONNECTED)
    else:
        known: dict[str, Value] = {
            "gen_ai.usage.input_tokens": tally.prompt_tokens,
            "gen_ai.usage.output_tokens": tally.completion_tokens,
        }
        if tally.queue is not None:
            known["dabt.queue_seconds"] = tally.queue
        if tally.first_token is not None:
            known["gen_ai.response.time_to_first_chunk"] = tally.first_token
            engine_span.event("first token", tally.first_token)
        engine_span.set(known)
    engine_span.end()


def _tracer() -> Tracer | None:
    context = current()
    return context.tracer if context is not None else None
