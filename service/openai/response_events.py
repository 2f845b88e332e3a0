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
    function_call,
    function_call_begun,
    message,
    message_begun,
    outline,
    text_part,
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


class _Response:
    """What has been said so far. At most one item of the output is open: the model writes them one by one."""

    def __init__(self, made: dict[str, Any]) -> None:
        self._made = made
        self._output: list[dict[str, Any]] = []
        self._open: _Message | _Call | None = None
        self._calls = 0
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
            calls = delta.get("tool_calls") or ()
            # Half a character has its log-probability before it has its text.
            if delta.get("content") or (logprobs and not calls and not isinstance(self._open, _Call)):
                yield from self._text(delta.get("content") or "", logprobs)
            for call in calls:
                yield from self._call(call)
            self._finish = choice.get("finish_reason") or self._finish

    def end(self) -> Iterator[str]:
        if self._open is None and not self._output:
            yield from self._opened(_Message(self._made))
        yield from self._closed()
        made = ended(self._made, self._output, self._finish, self._usage)
        yield self._event(f"response.{made['status']}", response=made)

    def error(self, error: Mapping[str, Any]) -> str:
        told = {name: error.get(name) for name in ("code", "message", "param")}
        return self._event("error", **told, error=error)

    def _text(self, text: str, logprobs: list[Any]) -> Iterator[str]:
        if not isinstance(self._open, _Message):
            yield from self._opened(_Message(self._made))
        assert isinstance(self._open, _Message)
        self._open.pieces.append(text)
        self._open.logprobs += logprobs
        yield self._of_item("response.output_text.delta", content_index=0, delta=text, logprobs=logprobs)

    def _call(self, call: Mapping[str, Any]) -> Iterator[str]:
        function = call.get("function") or {}
        if not isinstance(self._open, _Call) or call["index"] != self._open.index:
            begun = function_call_begun(self._made, self._calls, call["id"], function["name"])
            yield from self._opened(_Call(self._made, self._calls, call["index"], begun))
            self._calls += 1
        assert isinstance(self._open, _Call)
        if function.get("arguments"):
            self._open.pieces.append(function["arguments"])
            yield self._of_item("response.function_call_arguments.delta", delta=function["arguments"])

    def _opened(self, item: _Message | _Call) -> Iterator[str]:
        yield from self._closed()
        self._open = item
        yield self._event("response.output_item.added", output_index=len(self._output), item=item.begun)
        if isinstance(item, _Message):
            yield self._of_item("response.content_part.added", content_index=0, part=text_part("", []))

    def _closed(self) -> Iterator[str]:
        item = self._open
        if item is None:
            return
        done = item.done(self._finish)
        if isinstance(item, _Message):
            said = {"text": done["content"][0]["text"], "logprobs": item.logprobs}
            yield self._of_item("response.output_text.done", content_index=0, **said)
            yield self._of_item("response.content_part.done", content_index=0, part=done["content"][0])
        else:
            said = {"name": done["name"], "arguments": done["arguments"]}
            yield self._of_item("response.function_call_arguments.done", **said)
        yield self._event("response.output_item.done", output_index=len(self._output), item=done)
        self._output.append(done)
        self._open = None

    def _of_item(self, kind: str, **fields: Any) -> str:
        assert self._open is not None
        return self._event(kind, item_id=self._open.begun["id"], output_index=len(self._output), **fields)

    def _event(self, kind: str, **fields: Any) -> str:
        body = {"type": kind, "sequence_number": self._number, **fields}
        self._number += 1
        return f"event: {kind}\ndata: {to_json(body, inf_nan_mode='null').decode()}\n\n"


class _Message:
    def __init__(self, made: dict[str, Any]) -> None:
        self._made = made
        self.begun = message_begun(made)
        self.pieces: list[str] = []
        self.logprobs: list[Any] = []

    def done(self, finish: str | None) -> dict[str, Any]:
        return message(self._made, "".join(self.pieces), self.logprobs, finish)


class _Call:
    def __init__(self, made: dict[str, Any], number: int, index: int, begun: dict[str, Any]) -> None:
        self._made = made
        self._number = number
        self.index = index
        """In the chat stream."""
        self.begun = begun
        self.pieces: list[str] = []

    def done(self, finish: str | None) -> dict[str, Any]:
        function = {"name": self.begun["name"], "arguments": "".join(self.pieces)}
        return function_call(self._made, self._number, self.begun["call_id"], function, finish)
