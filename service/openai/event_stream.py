"""A streamed answer on the wire: server-sent events that stop, and give everything back, when the reader leaves.

One task does all of it, from finding who answers to writing the last event, so that no event changes tasks on its way.

While nothing is to be said, before the first token of a long prompt and between two tokens, a comment line keeps the
connection from being taken for dead by whoever is in between. Clients leave comments out
(https://html.spec.whatwg.org/multipage/server-sent-events.html).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import aclosing, closing, suppress
from typing import TYPE_CHECKING, Any

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.openai.http_input import unless_disconnected

if TYPE_CHECKING:
    from service.serving import Reply

KEEP_ALIVE = b": keep-alive\n\n"

Told = Callable[[Exception], str]
"""The events that tell a reader of an error which came before the first event, when the status had been sent."""


class EventStream(Response):
    """The stream that `work` begins. Its status is sent with the first event, so that most errors still have their own,
    or after `seconds` without one.

    Starlette's StreamingResponse cancels through anyio, which interrupts clean-up again and again; this one does not,
    so closing the events (the abort in the engine, the lease) runs to its end.
    """

    media_type = "text/event-stream"

    def __init__(self, work: Coroutine[Any, Any, Reply], seconds: float, told: Told) -> None:
        """`seconds` of silence are followed by a comment."""
        super().__init__(headers={"cache-control": "no-cache", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._work = work
        self._seconds = seconds
        self._told = told
        self._begun = False
        """Whether the status has been sent."""
        self._sent = 0
        """Events so far."""
        self._clock: asyncio.TimerHandle | None = None
        self._comment: asyncio.Task[None] | None = None
        """The last one; none while there are events."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Before the status is sent: raises what `work` raises, and `ClientDisconnect` when the client leaves."""
        with closing(self._work):
            try:
                await unless_disconnected(receive, self._answer(send))
            except ClientDisconnect:
                if not self._begun:
                    raise

    async def _answer(self, send: Send) -> None:
        self._listen(send)
        try:
            await self._send_events(send)
        finally:
            await self._stop_comments()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_events(self, send: Send) -> None:
        try:
            reply = await self._work
        except Exception as error:
            if not self._begun:
                raise
            await self._send(send, self._told(error).encode())
            return
        assert reply.events is not None
        async with aclosing(reply.events) as events:
            await self._send(send, reply.first.encode())
            async for event in events:
                self._sent += 1
                await send({"type": "http.response.body", "body": event.encode(), "more_body": True})

    async def _send(self, send: Send, event: bytes) -> None:
        self._sent += 1
        await self._write(send, event)

    async def _write(self, send: Send, piece: bytes) -> None:
        if not self._begun:
            self._begun = True
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": piece, "more_body": True})

    def _listen(self, send: Send) -> None:
        """Look again after `seconds`. It is a clock of its own, and not one for each event: an event costs a number."""
        loop = asyncio.get_running_loop()
        self._clock = loop.call_later(self._seconds, self._look, self._sent, send)

    def _look(self, before: int, send: Send) -> None:
        # A reader who takes nothing is sent no second comment before he has taken the first.
        if self._sent == before and (self._comment is None or self._comment.done()):
            self._comment = asyncio.ensure_future(self._write(send, KEEP_ALIVE))
        self._listen(send)

    async def _stop_comments(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
        if self._comment is not None:
            self._comment.cancel()
            with suppress(asyncio.CancelledError):
                await self._comment
