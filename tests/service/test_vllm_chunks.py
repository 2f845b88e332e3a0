"""What is written without vLLM's models is what they would have written, byte by byte."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from service.engine.vllm import chunks

pytestmark = pytest.mark.engine

ODD = (
    *("", " ", "مرحباً، العيادة", 'say "so"\\', "a\tb\nc\rd\be\f", "\x00\x01\x1f\x7f\x80\x9f", "\u2028\u2029\ufeff"),
    *("👩🏽‍⚕️ 🇸🇦", "e\u0301 é", "\u200f\u202b", "</script>&<!--", "\ufffd", "\U0010ffff", "{}[]:,", '"choices":[]'),
    *('{"error"', "data: [DONE]\n\n", "null", "\\u0041", "\\", '"'),
)
IDS = (0, 7, 31999, 2**31 - 1)
Step = tuple[Any, ...]
"""Of one choice: its index, its text, its tokens' ids, and how it ends."""


def texts(count: int) -> list[str]:
    chance = random.Random(11)
    letters = [chr(at) for at in (*range(0x250), *range(0x600, 0x700), *range(0x2000, 0x2070))]
    made = ["".join(chance.choices(letters, k=chance.randrange(1, 12))) for _ in range(count)]
    return [*ODD, *made]


def answer(said: Sequence[str], choices: int = 1, end: str | None = "length", reason: Any = None) -> list[list[Step]]:
    """The steps of an answer: every choice says every text, one a step, and then ends."""
    whole = [[(at, text, [IDS[len(text) % 4]], None, None) for at in range(choices)] for text in said]
    return [*whole, [(at, "!", [1, 2], end, reason) for at in range(choices)]]


class Written:
    """The events of one request to vLLM's handlers, by its models or without them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch
        self.without = 0
        """Chunks that were written without models."""

    def chat(self, steps: list[list[Step]], prepare: Callable[[Any], None] = lambda _: None, **asked: Any) -> None:
        from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
        from vllm.entrypoints.openai.chat_completion.serving import OpenAIServingChat

        request = ChatCompletionRequest(model="a", messages=[{"role": "user", "content": "قال"}], stream=True, **asked)
        handler = handler_of(OpenAIServingChat)
        prepare(handler)
        conversation = [{"role": "assistant", "content": 'before "it"'}]

        def stream() -> AsyncIterator[str]:
            events: AsyncIterator[str] = handler.chat_completion_stream_generator(
                request, outputs(steps), "chatcmpl-1", MODEL, conversation, object(), SimpleNamespace()
            )
            return events

        self.same(stream)

    def completion(self, steps: list[list[Step]], **asked: Any) -> None:
        from vllm.entrypoints.openai.completion.protocol import CompletionRequest
        from vllm.entrypoints.openai.completion.serving import OpenAIServingCompletion

        request = CompletionRequest(model="a", prompt="p", stream=True, **{"max_tokens": 9, **asked})
        handler = handler_of(OpenAIServingCompletion)

        def stream() -> AsyncIterator[str]:
            events: AsyncIterator[str] = handler.completion_stream_generator(
                request, [{}], numbered(steps), "cmpl-1", 1700000000, MODEL, 1, object(), SimpleNamespace()
            )
            return events

        self.same(stream)

    def same(self, stream: Callable[[], AsyncIterator[str]]) -> None:
        before = self.without
        with_models = self._told(stream, without=False)
        assert self.without == before
        assert self._told(stream, without=True) == with_models

    def _told(self, stream: Callable[[], AsyncIterator[str]], *, without: bool) -> list[str]:
        """The events, the last of them the error that ended them."""
        from vllm.entrypoints.openai.chat_completion import protocol as of_chat
        from vllm.entrypoints.openai.chat_completion import serving as chat
        from vllm.entrypoints.openai.completion import protocol as of_completion
        from vllm.entrypoints.openai.completion import serving as completion

        write = chunks.Chunk.model_dump_json

        def counted(chunk: chunks.Chunk, **options: Any) -> str:
            self.without += chunk.usage is None
            return write(chunk, **options)

        async def told() -> list[str]:
            events = []
            try:
                async for event in stream():
                    events.append(event)
            except Exception as error:
                events.append(repr(error))
            return events

        with self.monkeypatch.context() as patch:
            patch.setattr(chat, "DeltaMessage", of_chat.DeltaMessage)
            for module, protocol, names in (
                (chat, of_chat, ("ChatCompletionStreamResponse", "ChatCompletionResponseStreamChoice")),
                (completion, of_completion, ("CompletionStreamResponse", "CompletionResponseStreamChoice")),
            ):
                for name in names:
                    patch.setattr(module, name, getattr(protocol, name))
            patch.setattr(chat, "time", SimpleNamespace(time=lambda: 1700000000.5))
            patch.setattr(chunks.Chunk, "model_dump_json", counted)
            if without:
                chunks.write_without_models()
                chunks.write_without_models()  # as a second start of the engine does
            return asyncio.run(told())


MODEL = 'عيادة:3 "one"\\'


def handler_of(kind: Any) -> Any:
    """One that has no engine."""
    handler = object.__new__(kind)

    def again(error: Exception) -> Any:
        raise error

    handler.__dict__ |= {
        **{"parser_cls": None, "response_role": "assistant", "system_fingerprint": "vllm-1", "request_logger": None},
        **{"enable_log_outputs": False, "enable_force_include_usage": False, "enable_prompt_tokens_details": True},
        **{"_include_reasoning_tokens_details": False, "enable_per_request_metrics": False},
        "create_streaming_error_response": again,
    }
    return handler


async def outputs(steps: list[list[Step]]) -> AsyncIterator[Any]:
    from vllm.outputs import CompletionOutput, RequestOutput

    for step in steps:
        said = [
            CompletionOutput(at, text, ids, None, None, finish_reason=end, stop_reason=reason)
            for at, text, ids, end, reason in step
        ]
        yield RequestOutput("1", "the prompt", [5, 6], None, said, step is steps[-1], num_cached_tokens=1)


async def numbered(steps: list[list[Step]]) -> AsyncIterator[tuple[int, Any]]:
    async for output in outputs(steps):
        yield 0, output


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Written:
    return Written(monkeypatch)


USAGE: dict[str, Any] = {"include_usage": True}
CHOICES: tuple[dict[str, Any], ...] = (
    {},
    {"return_token_ids": True},
    {"stream_options": USAGE},
    {"n": 3, "return_token_ids": True},
)


@pytest.mark.parametrize("asked", CHOICES)
def test_every_text_of_a_chat_is_written_as_its_models_write_it(written: Written, asked: dict[str, Any]) -> None:
    said, n = texts(300), asked.get("n", 1)
    written.chat(answer(said, n), **asked)
    assert written.without == n * len(said)


@pytest.mark.parametrize("asked", CHOICES)
def test_every_text_of_a_completion_is_written_as_its_models_write_it(written: Written, asked: dict[str, Any]) -> None:
    said, n = texts(300), asked.get("n", 1)
    written.completion(answer(said, n), **asked)
    # The first one of a choice tells the prompt's ids too.
    assert written.without == n * (len(said) - bool(asked.get("return_token_ids")))


@pytest.mark.parametrize(("end", "reason"), [("stop", None), ("stop", "ثم"), ("stop", 7), ("length", None)])
def test_ends_are_the_models(written: Written, end: str, reason: Any) -> None:
    written.chat(answer(["a"], 1, end, reason))
    written.completion(answer(["a"], 1, end, reason))
    assert written.without == 2


def test_usage_in_every_chunk_is_the_models(written: Written) -> None:
    asked: dict[str, Any] = {"stream_options": {**USAGE, "continuous_usage_stats": True}}
    written.chat(answer(ODD), **asked)
    written.completion(answer(ODD), **asked)
    assert written.without == 0


def test_what_is_repeated_of_the_prompt_is_written_the_same(written: Written) -> None:
    written.chat(answer(ODD), echo=True, add_generation_prompt=False)
    written.completion(answer(ODD), echo=True)
    assert written.without == 2 * len(ODD) - 1  # a completion's first tells the prompt's ids


def test_one_tool_call_at_most_is_no_hindrance(written: Written) -> None:
    written.chat(answer(ODD), parallel_tool_calls=False)
    assert written.without == len(ODD)


def test_several_tokens_of_one_chunk_are_told(written: Written) -> None:
    for endpoint in (written.chat, written.completion):
        endpoint(
            [[(0, "a", [1], None, None)], *answer(["b"]), [(0, "c", [4, 5, 6], None, None)]], return_token_ids=True
        )
    assert written.without >= 2


def test_half_a_character_fails_as_it_does_with_the_models(written: Written) -> None:
    written.chat(answer(["a", "\ud83d", "b"]))
    written.completion(answer(["a", "\ud83d", "b"]))
    assert written.without == 4


@pytest.mark.parametrize("kind", ["tools", "reasoning", "text"])
def test_what_a_parser_makes_of_the_text_is_the_models(written: Written, kind: str) -> None:
    from vllm.entrypoints.generate.base.protocol import DeltaFunctionCall, DeltaMessage, DeltaToolCall

    class Parser:
        reasoning_parser = tool_parser = None

        def parse_delta(self, delta_text: str, **_: Any) -> DeltaMessage | None:
            if not delta_text:
                return None
            call = DeltaToolCall(index=0, id="c", function=DeltaFunctionCall(name="f", arguments=delta_text))
            fields: dict[str, Any] = {"tools": {"tool_calls": [call]}, "reasoning": {"reasoning": delta_text}}
            return DeltaMessage(**fields.get(kind, {"content": delta_text}))

    def with_parser(handler: Any) -> None:
        handler.parser_cls = Parser
        handler._make_parser = lambda *_: Parser()

    written.chat(answer(ODD), with_parser, parallel_tool_calls=False)
    written.chat(answer(ODD), with_parser, return_token_ids=True)
    assert written.without == 0
