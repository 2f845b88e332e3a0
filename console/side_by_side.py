"""One question to several versions at once, as one body of server-sent events; each event names its pane.

Each pane is a request of its own to the service's chat completions, as the person who is signed in: one that fails, is
slow or is refused holds up no other. When the reader leaves, all of them hang up, and the engine stops.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Any

import structlog
from pydantic import Field
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from console.api import Api, Refused, refusal
from console.heard import heard
from console.language import language
from console.markdown import rendered
from console.marked_words import marked
from console.viewer import Viewer
from lifecycle.access.keys import Role
from lifecycle.version import Frozen
from service.openai.http_input import unless_disconnected
from service.request_context import DIGEST_HEADER, VERSION_HEADER
from service.resolution import EVALUATION, PURPOSE_HEADER, SESSION_HEADER

log = structlog.get_logger(__name__)

PATH = "/v1/chat/completions"
MOST = 6
"""Panes."""
_WAITING = 256
"""Events that wait for a slow reader; then the panes wait too."""
_SILENCE = 15.0
"""Seconds after which a comment is sent, so that proxies keep the connection."""
Event = dict[str, Any]


class PaneAsked(Frozen):
    model: str
    messages: tuple[dict[str, Any], ...] = Field(min_length=1)
    """Of this pane alone: its earlier answers are among them."""


class Sampling(Frozen):
    """Without them as each version is set. The API says what is too much."""

    temperature: float | None = None
    max_tokens: int | None = None
    seed: int | None = None


class Question(Frozen):
    panes: tuple[PaneAsked, ...] = Field(min_length=1, max_length=MOST)
    sampling: Sampling = Sampling()
    session: str = ""
    """All requests of a conversation to an alias with several targets go to one of them."""


class SideBySide(Response):
    """Closes all panes before it ends, also when the reader has gone (as `service/openai/event_stream.py` does)."""

    media_type = "text/event-stream"

    def __init__(self, api: Api, viewer: Viewer, question: Question) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._api, self._viewer, self._question = api, viewer, question

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with suppress(ClientDisconnect):
            await unless_disconnected(receive, self._answer(send))

    async def _answer(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        waiting: asyncio.Queue[bytes | None] = asyncio.Queue(_WAITING)
        panes = [
            asyncio.ensure_future(self._pane(number, asked, waiting))
            for number, asked in enumerate(self._question.panes)
        ]
        end = asyncio.ensure_future(_end(panes, waiting))
        try:
            while (event := await _next(waiting)) is not None:
                await send({"type": "http.response.body", "body": event, "more_body": True})
        finally:
            for task in (end, *panes):
                task.cancel()
            await asyncio.wait({end, *panes})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _pane(self, number: int, asked: PaneAsked, waiting: asyncio.Queue[bytes | None]) -> None:
        try:
            async with aclosing(answered(self._api, self._viewer, asked, self._question)) as events:
                async for event in events:
                    await waiting.put(_event({"pane": number, **event}))
        except Exception as error:
            log.exception("a pane failed", exc_info=error)
            message = "a fault in the service; its log has the details"
            await waiting.put(_event({"pane": number, "kind": "failed", "code": "unexpected", "message": message}))


async def answered(api: Api, viewer: Viewer, asked: PaneAsked, question: Question) -> AsyncGenerator[Event, None]:
    """The events of one pane: `answerer`, then `piece` and `thought` as they come, then `done` or `failed`."""
    body = {
        "model": asked.model, "messages": list(asked.messages), **question.sampling.model_dump(exclude_none=True),
        "stream": True, "stream_options": {"include_usage": True},
    }  # fmt: skip
    began = time.perf_counter()
    reading = _Reading(began)
    async with api.asked(viewer, "POST", PATH, body, headers=_headers(viewer, question)) as answer:
        if answer.status >= 400:
            if (version := answer.headers.get(VERSION_HEADER)) is not None:
                yield {"kind": "answerer", "version": version, "digest": answer.headers.get(DIGEST_HEADER)}
            yield _failed(refusal(answer.status, await answer.text()), viewer)
            return
        async for chunk in chunks_of(answer.chunks):
            if "error" in chunk:
                yield _failed(refusal(500, json.dumps(chunk)), viewer)
                return
            for event in reading.read(chunk):
                yield event
    yield await asyncio.to_thread(reading.done)


class _Reading:
    """What an answer comes to while its chunks are read."""

    def __init__(self, began: float) -> None:
        self._began = began
        self._first = self._last = 0.0
        self._texts: list[str] = []
        self._note: Mapping[str, Any] = {}
        self._usage: Mapping[str, Any] = {}
        self._reason: str | None = None

    def read(self, chunk: Mapping[str, Any]) -> list[Event]:
        events: list[Event] = []
        if "dabt" in chunk:
            self._note = chunk["dabt"]
            events.append({"kind": "answerer", "version": self._note["version"], "digest": self._note["digest"]})
        self._usage = chunk.get("usage") or self._usage
        for choice in chunk.get("choices", ()):
            delta = choice.get("delta") or {}
            self._reason = choice.get("finish_reason") or self._reason
            thought = delta.get("reasoning_content") or delta.get("reasoning")
            if text := delta.get("content"):
                self._texts.append(text)
                events.append({"kind": "piece", "text": text})
            if thought:
                events.append({"kind": "thought", "text": thought})
            if text or thought:
                self._last = time.perf_counter()
                self._first = self._first or self._last
        return events

    def done(self) -> Event:
        """Takes as long as the Markdown: for a thread."""
        text, tokens = "".join(self._texts), self._usage.get("completion_tokens")
        rest = self._last - self._first
        return {
            "kind": "done",
            "html": rendered(text),
            "first_token": self._first - self._began if self._first else None,
            "seconds": time.perf_counter() - self._began,
            "tokens": tokens,
            "prompt_tokens": self._usage.get("prompt_tokens"),
            "per_second": (tokens - 1) / rest if tokens and tokens > 1 and rest > 0 else None,
            "reason": self._reason,
            "passages": [_passage(passage, text) for passage in self._note.get("passages", ())],
            "left_out": [passage["id"] for passage in self._note.get("left_out", ())],
        }


def _passage(passage: Mapping[str, Any], answer: str) -> Event:
    """With the words marked that the answer has too."""
    pieces = [[piece.text, piece.shared] for piece in marked(passage["text"], answer)]
    return {"id": passage["id"], "source": passage.get("source", ""), "pieces": pieces}


async def chunks_of(body: AsyncIterator[bytes]) -> AsyncIterator[dict[str, Any]]:
    """The JSON of server-sent events; comments and the last `[DONE]` are left out."""
    kept = b""
    async for piece in body:
        *lines, kept = (kept + piece).split(b"\n")
        for line in lines:
            if line.startswith(b"data: ") and line.strip() != b"data: [DONE]":
                yield json.loads(line[6:])


async def _next(waiting: asyncio.Queue[bytes | None]) -> bytes | None:
    try:
        return await asyncio.wait_for(waiting.get(), _SILENCE)
    except TimeoutError:
        return b": keep-alive\n\n"


async def _end(panes: Sequence[asyncio.Future[None]], waiting: asyncio.Queue[bytes | None]) -> None:
    await asyncio.wait(panes)
    await waiting.put(None)


def _headers(viewer: Viewer, question: Question) -> dict[str, str]:
    """An evaluator may ask versions that are not approved; a comparison is no traffic of callers either."""
    purpose = {PURPOSE_HEADER: EVALUATION} if viewer.may(Role.EVALUATOR) else {}
    session = {SESSION_HEADER: question.session[:128]} if question.session.isascii() and question.session else {}
    return {**purpose, **session}


def _failed(refused: Refused, viewer: Viewer) -> Event:
    """In the reader's language, as far as it is known there."""
    spoken = language(viewer.preferences.language, viewer.preferences.digits)
    return {"kind": "failed", "code": refused.code, "message": heard(refused.message, spoken) or refused.message}


def _event(event: Event) -> bytes:
    return f"data: {json.dumps(event)}\n\n".encode()
