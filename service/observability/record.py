"""What becomes known of one request while it is answered: for its log lines, its series and its span.

`access_log.py` makes it when a request arrives and reads it when the answer has ended. Whatever runs below finds it
with `current()`, in any task of the request: all of them share the one object.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from service.observability.request_figures import RequestFigures

ANONYMOUS = "anonymous"
UNEXPECTED, DISCONNECTED = "unexpected", "disconnected"
"""Codes of ends that no error of the project stands for: a fault of ours, and a caller that did not wait."""


@dataclass(slots=True)
class Record:
    """Holds ids, names and figures, and never what was asked or answered."""

    id: str = ""
    """The answer's `x-request-id`; callers may have chosen it."""
    key: str = ANONYMOUS
    """The id of the API key, once authentication has found it."""
    trace: str = ""
    """The id of the trace that the request belongs to, where it has one."""
    version: str = ""
    digest: str = ""
    code: str = ""
    """Of the error that was answered before or instead of a version's answer."""
    measured: RequestFigures | None = None

    @property
    def outcome(self) -> str:
        """`ok`, or the code of what ended the request."""
        return (self.measured.code if self.measured else "") or self.code or "ok"


_current: ContextVar[Record | None] = ContextVar("record", default=None)


def current() -> Record | None:
    """The record of the request that this task works for; None outside of one."""
    return _current.get()


def called_by(key: str) -> None:
    """Say whose key the request at hand came with, by the key's id; nothing outside of one."""
    one = _current.get()
    if one is not None:
        one.key = key


def answers(version: str, digest: str, measured: RequestFigures) -> None:
    """Say who answers the request at hand; nothing outside of one."""
    one = _current.get()
    if one is not None:
        one.version, one.digest, one.measured = version, digest, measured


def refused(code: str) -> None:
    """Say with which error the request at hand is answered; nothing outside of one."""
    one = _current.get()
    if one is not None:
        one.code = code


@contextmanager
def kept(record: Record) -> Iterator[None]:
    """Make `record` the current one inside the block."""
    token = _current.set(record)
    try:
        yield
    finally:
        _current.reset(token)
