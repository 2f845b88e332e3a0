"""Spans of the request at hand: one line around a step makes it visible in a trace, and costs one look-up when off.

Knows no tracing library. `otel.py` implements `Tracer` with OpenTelemetry and is imported only when tracing is asked
for; `access_log.py` opens a request's first span and makes the tracer current for all tasks of the request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from types import TracebackType
from typing import Protocol

Value = str | bool | int | float | Sequence[str]
Attributes = Mapping[str, Value]


class Span(Protocol):
    """Attributes are named by OpenTelemetry's semantic conventions where it has a name for them."""

    def set(self, attributes: Attributes) -> None: ...

    def event(self, name: str, after: float) -> None:
        """Something that happened `after` seconds from the span's beginning."""

    def failed(self, code: str) -> None: ...

    def end(self) -> None: ...

    def headers(self) -> dict[str, str]:
        """W3C trace context for whoever goes on with the work; empty when tracing is off."""


class Tracer(Protocol):
    def span(self, name: str, attributes: Attributes) -> AbstractContextManager[Span]: ...
    def begin(self, name: str, attributes: Attributes) -> Span: ...


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
tracer: ContextVar[Tracer | None] = ContextVar("tracer", default=None)
"""Of the request at hand; None when it is not traced."""


def span(name: str, attributes: Attributes | None = None) -> AbstractContextManager[Span]:
    """A step of the request at hand: a child of the step around it, failed when an error leaves the block."""
    active = tracer.get()
    return _OFF if active is None else active.span(name, attributes or {})


def begin(name: str, attributes: Attributes | None = None) -> Span:
    """The same for a step that ends in another task than it began in, as a stream does: call `end`. Spans made
    meanwhile are not its children.
    """
    active = tracer.get()
    return _OFF if active is None else active.begin(name, attributes or {})
