"""One connection: a client that is slow to send its request, or to read its answer, holds nothing for ever.

uvicorn has no such deadlines; without them a client that sends a header a minute, or stops reading, keeps its place,
its descriptor and its buffers until it goes away. What the engine did for a reader is given back earlier, by
`relay.py`. `http_input.py` has the deadline of a body, because it can still be answered.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from typing import Any

import structlog
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from lifecycle.errors import InvalidInput, Overloaded
from service.openai import http_errors

_LARGEST_HEAD = 64 * 2**10
"""Bytes of a request's line and headers."""
_UNSENT = 64 * 2**10
"""Bytes of an answer that the kernel keeps for a reader who does not read; it would keep megabytes."""
_ALIVE_AFTER, _ALIVE_EVERY = 30, 10
"""Seconds of silence after which a client's machine is asked whether it is still there, and between two askings."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What connections may take."""

    patience: float
    """Seconds that a client has to send a request's head, and then to make room for more of its answer."""
    most: int
    """Connections at once; more are told to come again."""


class Connection(HttpToolsProtocol):
    """uvicorn's, with bounds. uvicorn makes it: `Config(http=partial(Connection, bounds=…))`."""

    def __init__(self, *, bounds: Bounds, **given: Any) -> None:
        super().__init__(**given)
        self._bounds = bounds
        self._in_head = True
        self._head = 0  # bytes so far
        self._overdue: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        line = transport.get_extra_info("socket")
        if line is not None:
            _notice_the_end(line, self._bounds.patience)
        if len(self.connections) > self._bounds.most:
            self.app = _full
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        _cancel(self._overdue, self._stalled)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._head += len(data)
            if self._head > _LARGEST_HEAD:
                self.send_400_response(f"The headers are larger than {_LARGEST_HEAD // 2**10} KiB.")

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP is told so in the shape of every other error, unless an answer is being written already."""
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            body = http_errors.response(InvalidInput(msg), {"connection": "close"})
            head = b"".join(b"%b: %b\r\n" % header for header in body.raw_headers)
            self.transport.write(b"HTTP/1.1 400 Bad Request\r\n" + head + b"\r\n" + bytes(body.body))
        self.transport.close()

    def on_message_begin(self) -> None:
        self._in_head, self._head = True, 0
        self._expect_request()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        _cancel(self._overdue)
        super().on_message_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(self._bounds.patience, self._cut_off, "it does not read its answer")

    def resume_writing(self) -> None:
        _cancel(self._stalled)
        super().resume_writing()

    def _expect_request(self) -> None:
        _cancel(self._overdue)
        self._overdue = self.loop.call_later(self._bounds.patience, self._look)

    def _look(self) -> None:
        """The request is not there yet. Whoever reads its body says so; what was never read is cut off here."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._expect_request()
        else:
            self._cut_off("its request does not arrive")

    def _cut_off(self, why: str) -> None:
        log.info("a client was cut off", why=why, seconds=self._bounds.patience)
        self.transport.abort()


async def _full(scope: Scope, receive: Receive, send: Send) -> None:
    error = Overloaded("the service has as many connections as it can hold; try again later", retry_after=2.0)
    await http_errors.response(error, {"Connection": "close"})(scope, receive, send)


def _notice_the_end(line: socket.socket, patience: float) -> None:
    """Have the kernel end a connection whose other side is gone without a word, or acknowledges nothing."""
    if line.family not in (socket.AF_INET, socket.AF_INET6):
        return
    line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _ALIVE_AFTER)
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _ALIVE_EVERY)
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(patience * 1000))
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT)


def _cancel(*timers: asyncio.TimerHandle | None) -> None:
    for timer in timers:
        if timer is not None:
            timer.cancel()
