"""Which requests become tokens where they arrive: short ones, and none that could hold up the others."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from service.engine.vllm.rendering import SHORT, render_short_at_once


class Renderer:
    """vLLM's, as far as it is asked: says which of its two ways it was asked by, and with what."""

    def render_chat(self, *given: Any, **named: Any) -> Any:
        return "at once", given, named

    def render_cmpl(self, *given: Any, **named: Any) -> Any:
        return "at once", given, named

    async def render_chat_async(self, *given: Any, **named: Any) -> Any:
        return "in threads", given, named

    async def render_cmpl_async(self, *given: Any, **named: Any) -> Any:
        return "in threads", given, named


def chat(*messages: dict[str, Any], told: dict[str, Any] | None = None) -> str:
    renderer = Renderer()
    render_short_at_once(renderer)
    params = SimpleNamespace(chat_template_kwargs=told or {"tools": None, "add_generation_prompt": True})
    way, given, named = asyncio.run(renderer.render_chat_async([list(messages)], params, "tokens", prompt_extras={}))
    assert (given, named) == (([list(messages)], params, "tokens"), {"prompt_extras": {}})
    return str(way)


def prompts(*asked: Any) -> str:
    renderer = Renderer()
    render_short_at_once(renderer)
    way, given, named = asyncio.run(renderer.render_cmpl_async(list(asked), "tokens", prompt_extras={}))
    assert (given, named) == ((list(asked), "tokens"), {"prompt_extras": {}})
    return str(way)


def user(text: Any, **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": text, **more}


@pytest.mark.parametrize(
    "messages",
    [
        [user("مرحبا")],
        [user("a" * SHORT)],
        [user("a" * (SHORT // 2)), {"role": "assistant", "content": None}, user("b" * (SHORT // 2))],
        [user("")] * 32,
    ],
)
def test_a_short_chat_is_rendered_at_once(messages: list[dict[str, Any]]) -> None:
    assert chat(*messages) == "at once"


@pytest.mark.parametrize(
    "messages",
    [
        [user("a" * (SHORT + 1))],
        [user("a" * (SHORT // 2)), user("b" * (SHORT // 2 + 1))],
        [user("a"), {"role": "assistant", "content": "b", "reasoning": "c" * SHORT}],
        [user("")] * 33,
        [user([{"type": "text", "text": "a"}])],
        [user("a"), {"role": "assistant", "content": None, "tool_calls": [{"function": {"arguments": "a" * SHORT}}]}],
    ],
)
def test_a_chat_that_takes_longer_goes_by_threads(messages: list[dict[str, Any]]) -> None:
    assert chat(*messages) == "in threads"


def test_what_a_template_is_told_may_be_a_switch_or_a_name() -> None:
    for told in ({"enable_thinking": False, "documents": None}, {"cohere_format": "cmd4", "reasoning_effort": "high"}):
        assert chat(user("a"), told=told) == "at once"
    for value in ("a" * 33, ["a"], {"a": 1}, 10**9):
        assert chat(user("a"), told={"enable_thinking": value}) == "in threads"


@pytest.mark.parametrize(
    ("asked", "way"),
    [
        ([{"prompt": "a" * SHORT}], "at once"),
        ([{"prompt": "a" * (SHORT - 1)}, {"prompt": "b"}], "at once"),
        ([{"prompt_token_ids": [1] * SHORT}], "at once"),
        ([{"prompt": "a" * (SHORT + 1)}], "in threads"),
        ([{"prompt": "a" * SHORT}, {"prompt": "b"}], "in threads"),
        ([{"prompt_token_ids": [1] * (SHORT + 1)}], "in threads"),
        ([{"encoder_prompt": {"prompt": "a"}, "decoder_prompt": None}], "in threads"),
        ([{"prompt_embeds": object()}], "in threads"),
        ([b"embeddings"], "in threads"),
    ],
)
def test_short_prompts_are_rendered_at_once(asked: list[Any], way: str) -> None:
    assert prompts(*asked) == way
