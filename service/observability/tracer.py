"""What a tracer is, for whoever makes spans and for whoever implements one. No tracing library is known here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
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
    def under(self, headers: Mapping[str, str]) -> AbstractContextManager[None]: ...
    def close(self) -> None: ...
