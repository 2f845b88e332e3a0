"""The headers that every answer carries, errors included: `x-request-id`, and who answered once that is known.

The id is the caller's own when it sent a usable one, so that one request can be followed through the caller's records,
this service's log and the answer. The engine's id is another: two callers may send the same one at the same time.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from contextvars import ContextVar
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUEST_ID_HEADER = "x-request-id"
VERSION_HEADER = "x-dabt-version"
DIGEST_HEADER = "x-dabt-digest"
DEPLOYMENT_HEADER = "x-dabt-deployment"
"""The digest of what it answered on (`service/deployment.py`)."""
REVISION_HEADER = "x-dabt-revision"
"""The registry's revision by which the answerer was chosen, when the request was let in."""

_USABLE = re.compile(r"[A-Za-z0-9._:+/=@-]{1,128}")
"""What a caller's id may be; another is replaced, because it goes into headers and the log."""

_ASCII = "".join(map(chr, range(0x20, 0x7F)))

_told: ContextVar[dict[str, str] | None] = ContextVar("answer_headers", default=None)
"""One dictionary for each request. Tasks that a request starts share it, as they do not share what is set later."""


def tell(headers: Mapping[str, str]) -> None:
    """Put these on this request's answer, whatever it will be. Nothing happens outside a request."""
    told = _told.get()
    if told is not None:
        # A version is named after its base, and a base's folder may have any name; a header may not.
        told.update({name: quote(value, safe=_ASCII) for name, value in headers.items()})


def told() -> dict[str, str]:
    """What this request's answer carries so far: for an answer that is made outside `AnswerHeaders`."""
    return dict(_told.get() or {})


class AnswerHeaders:
    """ASGI middleware that adds what was told, and gives the log's lines of a request its id."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {REQUEST_ID_HEADER: _id_of(scope)}
        # Never reset: the handler of our own faults runs outside this middleware, and each request is a new task.
        _told.set(headers)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = [(name.encode(), value.encode()) for name, value in headers.items()]
                message = {**message, "headers": [*message.get("headers", ()), *added]}
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _id_of(scope: Scope) -> str:
    given = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
    return given if _USABLE.fullmatch(given) else uuid.uuid4().hex
