"""A streamed chat answer as the events of a response, in the order that OpenAI documents.

https://platform.openai.com/docs/api-reference/responses-streaming. An error in the middle is an event `error`, with the
same object inside that a chat stream would have carried, so that the official clients raise it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from typing import Any

from pydantic_core import from_json, to_json

from service.openai.response_object import (
    ended,
    finished,
    function_call_begun,
    message_begun,
    outline,
    part_of,
    reasoning_begun,
    status_of,
)


async def written(asked: Mapping[str, Any], first: str, rest: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
    """Server-sent events for `first` and `rest`, which are a chat stream's. `rest` is closed with this one."""
    async with aclosing(rest):
        head = _read(first)
        response = _Response(outline(asked, head))
        for event in response.begin(head):
            yield event
        async for text in rest:
            chunk = _read(text)
            if "error" in chunk:
                yield response.error(chunk["error"])
                return
            for event in response.take(chunk):
                yield event
        for event in response.end():
            yield event


def _read(event: str) -> dict[str, Any]:
    """The chunk in a server-sent event of a chat stream; nothing in the closing one."""
    text = event[6:-2]  # between "data: " and the blank line
    chunk: dict[str, Any] = {} if text == "[DONE]" else from_json(text)
    return chunk


def failed(error: Mapping[str, Any]) -> str:
    """The only event of a stream that ends before its response has begun. `error` is an error body's."""
    return _event("error", 0, _told(error))


class _Response:
    """What has been said so far. A message or a piece of reasoning is over when something else begins; calls are open
    until the end, because their arguments may come in turns.
    """

    def __init__(self, made: dict[str, Any]) -> None:
        self._made = made
        self._items: list[_Item] = []
        self._written: _Item | None = None
        """The message or the reasoning that is being written."""
        self._calls: dict[int, _Item] = {}
        """By their index in the chat stream."""
        self._finish: str | None = None
        self._usage: dict[str, Any] = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        self._number = 0

    def begin(self, head: Mapping[str, Any]) -> Iterator[str]:
        for name in ("created", "in_progress"):
            yield self._event(f"response.{name}", response=self._made)
        yield from self.take(head)

    def take(self, chunk: Mapping[str, Any]) -> Iterator[str]:
        self._usage = chunk.get("usage") or self._usage
        for choice in chunk.get("choices", ()):
            delta, logprobs = choice["delta"], (choice.get("logprobs") or {}).get("content") or []
            calls, text, thought = delta.get("tool_calls") or (), delta.get("content"), delta.get("reasoning")
            if thought:
                yield from self._said("reasoning", thought, [])
            # Half a character has its log-probability before it has its text.
            if text or (logprobs and not thought and not calls and self._in_message()):
                yield from self._said("message", text or "", logprobs)
            for call in calls:
                yield from self._called(call)
            self._finish = choice.get("finish_reason") or self._finish

    def end(self) -> Iterator[str]:
        if not self._items:
            yield from self._opened(_Item(message_begun(self._made, 0)))
        for item in self._items:
            yield from self._closed(item, last=item is self._items[-1])
        made = ended(self._made, [item.done for item in self._items if item.done], self._finish, self._usage)
        yield self._event(f"response.{made['status']}", response=made)

    def error(self, error: Mapping[str, Any]) -> str:
        return self._event("error", **_told(error))

    def _in_message(self) -> bool:
        return not self._items if self._written is None else self._written.kind == "message"

    def _said(self, kind: str, text: str, logprobs: list[Any]) -> Iterator[str]:
        item = self._written
        if item is None or item.kind != kind:
            begun = message_begun if kind == "message" else reasoning_begun
            yield from self._over()
            item = self._written = _Item(begun(self._made, len(self._items)))
            yield from self._opened(item)
        item.pieces.append(text)
        if kind == "message":
            item.logprobs += logprobs
            yield self._of(item, "response.output_text.delta", content_index=0, delta=text, logprobs=logprobs)
        else:
            yield self._of(item, "response.reasoning_text.delta", content_index=0, delta=text)

    def _called(self, call: Mapping[str, Any]) -> Iterator[str]:
        function = call.get("function") or {}
        item = self._calls.get(call["index"])
        if item is None:
            yield from self._over()
            begun = function_call_begun(self._made, len(self._items), call["id"], function["name"])
            item = self._calls[call["index"]] = _Item(begun)
            yield from self._opened(item)
        if function.get("arguments"):
            item.pieces.append(function["arguments"])
            yield self._of(item, "response.function_call_arguments.delta", delta=function["arguments"])

    def _opened(self, item: _Item) -> Iterator[str]:
        item.place = len(self._items)
        self._items.append(item)
        yield self._event("response.output_item.added", output_index=item.place, item=item.begun)
        if item.kind != "function_call":
            yield self._of(item, "response.content_part.added", content_index=0, part=part_of(item.begun, "", []))

    def _over(self) -> Iterator[str]:
        """Something else begins."""
        if self._written is not None:
            yield from self._closed(self._written, last=False)
            self._written = None

    def _closed(self, item: _Item, *, last: bool) -> Iterator[str]:
        if item.done is not None:
            return
        text = "".join(item.pieces)
        item.done = done = finished(item.begun, text, item.logprobs, status_of(self._finish, last=last))
        if item.kind == "function_call":
            yield self._of(item, "response.function_call_arguments.done", name=done["name"], arguments=text)
        else:
            if item.kind == "message":
                said = {"text": text, "logprobs": item.logprobs}
                yield self._of(item, "response.output_text.done", content_index=0, **said)
            else:
                yield self._of(item, "response.reasoning_text.done", content_index=0, text=text)
            yield self._of(item, "response.content_part.done", content_index=0, part=done["content"][0])
        yield self._event("response.output_item.done", output_index=item.place, item=done)

    def _of(self, item: _Item, kind: str, **fields: Any) -> str:
        return self._event(kind, item_id=item.begun["id"], output_index=item.place, **fields)

    def _event(self, kind: str, **fields: Any) -> str:
        self._number += 1
        return _event(kind, self._number - 1, fields)


class _Item:
    """One item of the output."""

    __slots__ = ("begun", "done", "kind", "logprobs", "pieces", "place")

    def __init__(self, begun: dict[str, Any]) -> None:
        self.begun = begun
        self.kind: str = begun["type"]
        self.place = 0
        self.pieces: list[str] = []
        self.logprobs: list[Any] = []
        self.done: dict[str, Any] | None = None
        """The whole item, once it is over."""


def _told(error: Mapping[str, Any]) -> dict[str, Any]:
    return {**{name: error.get(name) for name in ("code", "message", "param")}, "error": error}


def _event(kind: str, number: int, fields: Mapping[str, Any]) -> str:
    body = {"type": kind, "sequence_number": number, **fields}
    return f"event: {kind}\ndata: {to_json(body, inf_nan_mode='null').decode()}\n\n"
