"""The engine's span of a request, in OpenTelemetry's terms for generative models; its texts are left out.

https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/. Read `spans.py` for what a span is here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.engine.interface import Kind
from service.observability import spans
from service.observability.record import DISCONNECTED
from service.observability.request_figures import RequestFigures
from service.observability.spans import Span, Value
from service.resolution import Resolved

_OPERATION = {"chat": "chat", "completion": "text_completion"}
_NUMBERS = ("max_tokens", "temperature", "top_p", "seed")
"""What of a request is told, where it is the number that it should be."""


def begin(kind: Kind, body: Mapping[str, Any], resolved: Resolved, request_id: str) -> Span:
    """From the engine's door. Its `headers` go to the engine, whose own spans then lie below it."""
    attributes: dict[str, Value] = {
        "gen_ai.operation.name": _OPERATION[kind],
        "gen_ai.provider.name": "dabt",
        "gen_ai.request.model": resolved.asked,
        "gen_ai.response.model": resolved.ref,
        "gen_ai.response.id": request_id,
        "gen_ai.request.stream": bool(body.get("stream")),
    }
    for name in _NUMBERS:
        value = body.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            attributes[f"gen_ai.request.{name}"] = value
    return spans.begin(f"{_OPERATION[kind]} {resolved.asked}", attributes)


def end(span: Span, measured: RequestFigures) -> None:
    """Whichever way the request ended. Call it before the request's lease is returned."""
    tally = measured.tally
    if tally is None:
        span.failed(measured.code or DISCONNECTED)
    else:
        known: dict[str, Value] = {
            "gen_ai.usage.input_tokens": tally.prompt_tokens,
            "gen_ai.usage.output_tokens": tally.completion_tokens,
        }
        if tally.queue is not None:
            known["dabt.queue_seconds"] = tally.queue
        if tally.first_token is not None:
            known["gen_ai.response.time_to_first_chunk"] = tally.first_token
            span.event("first token", tally.first_token)
        span.set(known)
    span.end()
