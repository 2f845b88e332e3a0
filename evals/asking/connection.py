"""One connection to an HTTP/1.1 server, for one exchange after another. `wire.py` keeps a pool of them.

llhttp, Node's parser, reads what comes back, by httptools, as in uvicorn. aiohttp took several times as much of the
processor for a request, on the cores where a local engine computes its answer.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import cast

import httptools

_LENGTHS = frozenset({"content-length", "transfer-encoding"})
"""Headers that say where an answer ends."""


class Ended(Exception):
    """The connection has ended before its answer had."""

    def __init__(self, begun: bool) -> None:
        super().__init__(f"the connection ended {'within the' if begun else 'without an'} answer")


class Silent(Exception):
    """The server sent no byte for too long."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"not a byte for {seconds:g} s")


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer of any status."""

    status: int
    headers: dict[str, str]
    """Names in lower case; what several lines of one name say stands behind commas."""
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode("utf-8", "replace")


class Connection(asyncio.Protocol):
    """asyncio calls what it brings from the network, httptools the methods whose names begin with `on_`."""

    def __init__(self, limit: float) -> None:
        """`limit` in seconds without a byte."""
        self._loop, self._limit = asyncio.get_running_loop(), limit
        self._parser = httptools.HttpResponseParser(self)
        self._answer: asyncio.Future[Response] | None = None
        """Of the exchange that is under way."""
        self._begun = self._told = False
        """Whether its answer has begun, and whether all headers of it are there."""
        self._headers: dict[str, str] = {}
        self._parts: list[bytes] = []
        self.open = True
        """Whether another exchange may follow."""
        self.since = 0.0
        """When the last byte came, by the loop's clock."""

    async def exchange(self, request: bytes) -> Response:
        """Raises `Ended`, `Silent`, `OSError`, or `httptools.HttpParserError` for what is no answer."""
        if not self.open:  # since it was made
            raise Ended(begun=False)
        self._answer, self.since = self._loop.create_future(), self._loop.time()
        self._begun = self._told = False
        self._timer = self._loop.call_at(self.since + self._limit, self._watch)
        self._transport.write(request)
        try:
            return await self._answer
        except BaseException:
            self.close()
            raise
        finally:
            self._answer = None
            self._timer.cancel()

    def close(self) -> None:
        self.open = False
        self._transport.abort()

    def _watch(self) -> None:
        """The limit has passed since a request was sent, or since a byte came."""
        if (until := self.since + self._limit) <= self._loop.time():
            self._failed(Silent(self._limit))
        else:
            self._timer = self._loop.call_at(until, self._watch)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own, which are no subclass

    def data_received(self, data: bytes) -> None:
        self.since = self._loop.time()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._failed(error)
        except httptools.HttpParserUpgrade:
            self._failed(httptools.HttpParserError("the server wants to speak another protocol"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        if self._told and exc is None and not _LENGTHS & self._headers.keys():
            self.on_message_complete()  # an answer that ends with its connection
        self._failed(exc or Ended(self._begun))

    def _failed(self, error: Exception) -> None:
        self.open = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)

    def on_message_begin(self) -> None:
        self._begun, self._told, self._headers, self._parts = True, False, {}, []
        if self._answer is None or self._answer.done():  # nobody has asked for what comes now
            self.open = False

    def on_header(self, name: bytes, value: bytes) -> None:
        key, text = name.decode("latin-1").lower(), value.decode("utf-8", "replace")
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        self._told = True

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if self._answer is None or self._answer.done() or status < 200:  # behind a hint the answer itself follows
            return
        self.open = self.open and self._parser.should_keep_alive()
        self._answer.set_result(Response(status, self._headers, b"".join(self._parts)))
