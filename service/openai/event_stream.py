"""A streamed answer on the wire: server-sent events that stop, and give everything back, when the reader leaves.

While nothing is to be said, before the first token of a long prompt and between two tokens, a comment line keeps the
connection from being taken for dead by whoever is in between. Clients leave comments out
(https://html.spec.whatwg.org/multipage/server-sent-events.html).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.openai.http_input import unless_disconnected, until_disconnected

if TYPE_CHECKING:
    from service.serving import Reply

KEEP_ALIVE = b": keep-alive\n\n"

Told = Callable[[Exception], str]
"""The events that tell a reader of an error which came before the first event, when the status had been sent."""


async def streamed(receive: Receive, work: Coroutine[Any, Any, Reply], seconds: float, told: Told) -> EventStream:
    """The stream that `work` begins.

    For `seconds` its first event is awaited, so that most errors still have a status: what `work` raises by then is
    raised. Raises `ClientDisconnect`, with `work` ended, when the client leaves meanwhile. `receive` must have given
    the whole body already.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(until_disconnected(receive))
    try:
        await asyncio.wait({task, gone}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        elif gone.done():
            raise ClientDisconnect
    except BaseException:
        await _given_back(task)
        raise
    finally:
        gone.cancel()
    return EventStream(task, seconds, told)


async def _given_back(reply: asyncio.Future[Reply]) -> None:
    """End what is still under way for `reply`, whether it has begun or not."""
    reply.cancel()
    await asyncio.wait({reply})
    if not reply.cancelled() and reply.exception() is None and (events := reply.result().events) is not None:
        await events.aclose()


class EventStream(Response):
    """Starlette's StreamingResponse cancels through anyio, which interrupts clean-up again and again; this one does
    not, so closing the events (the abort in the engine, the lease) runs to its end.
    """

    media_type = "text/event-stream"

    def __init__(self, reply: asyncio.Future[Reply], seconds: float, told: Told) -> None:
        """`seconds` of silence are followed by a comment."""
        super().__init__(headers={"cache-control": "no-cache", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._reply = reply
        self._seconds = seconds
        self._told = told
        self._sent = 0
        """Events so far."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with suppress(ClientDisconnect):
                await unless_disconnected(receive, self._answer(send))
        finally:
            await _given_back(self._reply)

    async def _answer(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        kept_alive = asyncio.ensure_future(self._keep_alive(send, at_once=not self._reply.done()))
        try:
            await self._send_events(send)
        finally:
            kept_alive.cancel()
            with suppress(asyncio.CancelledError):
                await kept_alive
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_events(self, send: Send) -> None:
        try:
            reply = await self._reply
        except Exception as error:
            await send({"type": "http.response.body", "body": self._told(error).encode(), "more_body": True})
            return
        assert reply.events is not None
        await send({"type": "http.response.body", "body": reply.first.encode(), "more_body": True})
        async for event in reply.events:
            self._sent += 1
            await send({"type": "http.response.body", "body": event.encode(), "more_body": True})

    async def _keep_alive(self, send: Send, *, at_once: bool) -> None:
        """A clock of its own, and not one for each event: an event costs a number."""
        if at_once:
            await send({"type": "http.response.body", "body": KEEP_ALIVE, "more_body": True})
        while True:
            before = self._sent
            await asyncio.sleep(self._seconds)
            if self._sent == before:
                await send({"type": "http.response.body", "body": KEEP_ALIVE, "more_body": True})
