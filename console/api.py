"""How the console changes anything, and asks models: by the service's own API, as the person who is signed in.

A page has no rights of its own. It sends the request that a client would send, inside the process, with the key that
was signed in with; roles, limits, quotas and the trail are the API's.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Scope

from console.viewer import Viewer
from service.access.authentication import SIGNED_IN

_BUFFERED = 64
"""Messages of an answer that wait to be read; then the answerer waits, as it would for a slow connection."""


class Refused(Exception):
    """The API's word on what was asked for: its status, its code and its sentence, for a person to read."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Headers
    chunks: AsyncIterator[bytes]

    async def text(self) -> str:
        return b"".join([chunk async for chunk in self.chunks]).decode("utf-8", "replace")


class Api:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def call(
        self,
        viewer: Viewer,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """The JSON of the answer. Raises `Refused` for any status that is no success."""
        async with self.asked(viewer, method, path, body, query=query, headers=headers) as answer:
            text = await answer.text()
            if answer.status >= 400:
                raise refusal(answer.status, text)
            return json.loads(text) if text else None

    @asynccontextmanager
    async def asked(
        self,
        viewer: Viewer,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Answer]:
        """The answer as it comes; whoever leaves the block before its end has hung up. `body` is bytes, or pieces
        of them as they come, or is sent as JSON.
        """
        told = {"host": viewer.host, "content-type": "application/json"}
        if isinstance(body, AsyncIterator):
            pieces = body
        else:
            sent = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
            pieces, told["content-length"] = _alone(sent), str(len(sent))
        scope = _scope(viewer, method, path, urlencode(query or {}), {**told, **(headers or {})})
        got, room = asyncio.Queue[Message | None](), asyncio.Semaphore(_BUFFERED)
        left = asyncio.Event()
        whole = False

        async def receive() -> Message:
            nonlocal whole
            while not whole:
                piece = await anext(pieces, None)
                whole = piece is None
                if piece is None or piece:
                    return {"type": "http.request", "body": piece or b"", "more_body": not whole}
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            await room.acquire()
            got.put_nowait(message)

        async def run() -> None:
            try:
                await self._app(scope, receive, send)
            finally:
                got.put_nowait(None)

        running = asyncio.create_task(run())
        try:
            start = await got.get()
            if start is None:
                await running  # raises what went wrong
                raise RuntimeError(f"{path} was not answered")
            yield Answer(start["status"], Headers(raw=list(start["headers"])), _body(got, room))
        finally:
            left.set()
            running.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await running


async def _alone(body: bytes) -> AsyncIterator[bytes]:
    yield body


async def _body(got: asyncio.Queue[Message | None], room: asyncio.Semaphore) -> AsyncIterator[bytes]:
    while (message := await got.get()) is not None:
        room.release()
        if message["type"] != "http.response.body":
            continue
        if message.get("body"):
            yield message["body"]
        if not message.get("more_body"):
            return


def _scope(viewer: Viewer, method: str, path: str, query: str, headers: Mapping[str, str]) -> Scope:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": viewer.scheme,
        "path": path,
        "raw_path": quote(path).encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": viewer.client,
        "server": None,
        SIGNED_IN: viewer.key,
    }


def refusal(status: int, text: str) -> Refused:
    """What an answer that is no success says."""
    try:
        error = json.loads(text)["error"]
        return Refused(status, str(error.get("code") or "error"), str(error["message"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return Refused(status, "error", text[:500])
