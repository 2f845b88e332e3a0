"""What is known of one HTTP request while it is answered, and its figures.

`observability/access_log.py` makes the context at the door and reads it once the answer has ended. In between it is
passed on: routes take it with `context_of`, and whoever decides something for a caller is given it. Log lines and spans
deep below find it with `current()`, in any task of the request: all of them share the one object.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

from lifecycle.access.keys import ApiKey
from lifecycle.errors import DabtError
from service.engine.interface import Tally

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection
    from starlette.types import Scope

    from service.observability.tracer import Tracer

REQUEST_ID_HEADER = "x-request-id"
VERSION_HEADER = "x-dabt-version"
DIGEST_HEADER = "x-dabt-digest"
DEPLOYMENT_HEADER = "x-dabt-deployment"
"""The digest of what it answered on (`service/deployment.py`)."""
REVISION_HEADER = "x-dabt-revision"
"""The registry's revision by which the answerer was chosen, when the request was let in."""
TIMING_HEADER = "server-timing"
"""Of a whole answer: how long its parts took (`RequestFigures.timing`), as W3C's Server Timing writes it."""

Endpoint = Literal["chat", "completion", "response", "embedding", "likelihood", "classification"]
"""What a request is counted under."""

ANONYMOUS = "anonymous"
UNEXPECTED, DISCONNECTED = "unexpected", "disconnected"
"""Codes of ends that no error of the project stands for: a fault of ours, and a caller that did not wait."""

_PLACE = "dabt.context"
"""In the ASGI scope."""
_ASCII = "".join(map(chr, range(0x20, 0x7F)))


class RequestFigures:
    """How long one request took, what it cost, how it ended. Times are seconds.

    Made when the request is let in. Call `done` or `failed` once; later calls are ignored.
    """

    def __init__(self, version: str, ended: Callable[[RequestFigures], None]) -> None:
        """`ended` is called with this object, once."""
        self.version = version
        self.waited = 0.0
        """Before the engine, for a slot in the batch."""
        self.searched = 0.0
        """For passages."""
        self.sent = 0
        """Pieces of a streamed answer so far; each is a token at least."""
        self.seconds = 0.0
        """From arrival to the end, once it has come."""
        self.first_token: float | None = None
        """From arrival."""
        self.tally: Tally | None = None
        """None when it failed, and until the end."""
        self.code = ""
        """Of the error that ended it."""
        self._ended = ended
        self._open = True
        self._arrived = time.perf_counter()
        self._handed = 0.0

    def handed_to_engine(self) -> None:
        self._handed = time.perf_counter() - self._arrived

    def done(self, tally: Tally) -> None:
        if self._open:
            self.tally = tally
            if tally.first_token is not None:
                self.first_token = self._handed + tally.first_token
            self._close()

    @property
    def timing(self) -> str:
        """Milliseconds from arrival to the first token (`ttft`), and in the search for passages (`retrieval`)."""
        parts = {"ttft": self.first_token, "retrieval": self.searched or None}
        return ", ".join(f"{name};dur={1000 * took:.2f}" for name, took in parts.items() if took is not None)

    def failed(self, code: str) -> None:
        if self._open:
            self.code = code
            self._close()

    def _close(self) -> None:
        self._open = False
        self.seconds = time.perf_counter() - self._arrived
        self._ended(self)


@dataclass(slots=True)
class RequestContext:
    """Holds ids, names and figures, and never what was asked or answered."""

    id: str = ""
    """The answer's `x-request-id`; callers may have chosen it."""
    purpose: str = ""
    """What the caller says that it is for (`resolution.EVALUATION`)."""
    session: str = ""
    """The caller's own name for a row of requests that belong together."""
    key: ApiKey | None = None
    """The caller's, once it is let in; None where no keys are asked for."""
    key_id: str = ANONYMOUS
    """Of the key that was sent, once it is known, refused ones too."""
    endpoint: Endpoint | None = None
    """What the request is counted under when it came in another shape than the engine's."""
    tracer: Tracer | None = None
    """None when the request is not traced."""
    trace_id: str = ""
    version: str = ""
    """Who answers, as the registry writes it."""
    digest: str = ""
    code: str = ""
    """Of the error that was answered before or instead of a version's answer."""
    figures: RequestFigures | None = None
    headers: dict[str, str] = field(default_factory=dict)
    """What the answer carries besides its own, errors included."""

    def answered_by(self, version: str, digest: str, figures: RequestFigures) -> None:
        self.version, self.digest, self.figures = version, digest, figures

    def tell(self, headers: Mapping[str, str]) -> None:
        """Put these on the answer, whatever it will be."""
        # A version is named after its base, and a base's folder may have any name; a header may not.
        self.headers.update({name: quote(value, safe=_ASCII) for name, value in headers.items()})

    @property
    def outcome(self) -> str:
        """`ok`, or the code of what ended the request."""
        return (self.figures.code if self.figures else "") or self.code or "ok"


_current: ContextVar[RequestContext | None] = ContextVar("request_context", default=None)
"""For log lines and spans alone. What a request may do is decided by the context that its caller was given."""


def current() -> RequestContext | None:
    """The context of the request that this task works for; None outside of one."""
    return _current.get()


def context_of(connection: HTTPConnection) -> RequestContext:
    """The context of the request that this route answers."""
    context: RequestContext = connection.scope[_PLACE]
    return context


@contextmanager
def begun(scope: Scope, context: RequestContext) -> Iterator[None]:
    """Inside the block `context` is the one of the request in `scope`."""
    scope[_PLACE] = context
    with worked_for(context):
        yield


@contextmanager
def worked_for(context: RequestContext) -> Iterator[None]:
    """Inside the block `context` is the one that this task works for."""
    token = _current.set(context)
    try:
        yield
    finally:
        _current.reset(token)


def code_of(error: BaseException) -> str:
    """What is counted for a request that `error` ended."""
    if isinstance(error, DabtError):
        return error.code
    return DISCONNECTED if isinstance(error, asyncio.CancelledError | GeneratorExit) else UNEXPECTED
