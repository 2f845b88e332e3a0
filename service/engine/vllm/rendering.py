"""A short chat or prompt becomes tokens where it arrives, and not by way of threads.

vLLM 0.32 gives the chat template to one thread and the text to another, with tasks in between. Each way waits until
the tokens of all streams that came meanwhile are written, which is longer than a short text takes. Its renderer knows
both ways, and this chooses: long texts, tools and what callers tell a template go by threads as before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

SHORT = 1024
"""Characters of all texts together, or tokens that came as such: about a millisecond."""
_MESSAGES = 32
_NAME = 32


def render_short_at_once(renderer: Any) -> None:
    """From now on for this renderer of vLLM's."""
    chat_in_threads, prompts_in_threads = renderer.render_chat_async, renderer.render_cmpl_async

    async def render_chat_async(conversations: Sequence[Any], params: Any, *rest: Any, **named: Any) -> Any:
        if is_plain(params.chat_template_kwargs) and are_short_chats(conversations):
            return renderer.render_chat(conversations, params, *rest, **named)
        return await chat_in_threads(conversations, params, *rest, **named)

    async def render_cmpl_async(prompts: Sequence[Any], *rest: Any, **named: Any) -> Any:
        if are_short(prompts):
            return renderer.render_cmpl(prompts, *rest, **named)
        return await prompts_in_threads(prompts, *rest, **named)

    renderer.render_chat_async, renderer.render_cmpl_async = render_chat_async, render_cmpl_async


def is_plain(told: Mapping[str, Any]) -> bool:
    """Whether a template is told switches and names alone, as vLLM itself tells it: what callers tell it besides may be
    as long as a body, and so may tools.
    """
    names = (value for value in told.values() if value is not None and not isinstance(value, bool))
    return all(isinstance(value, str) and len(value) <= _NAME for value in names)


def are_short_chats(conversations: Sequence[Sequence[Mapping[str, Any]]]) -> bool:
    messages = [message for conversation in conversations for message in conversation]
    texts = [text for message in messages for text in (message.get("content"), message.get("reasoning")) if text]
    plain = all(isinstance(text, str) for text in texts) and not any(message.get("tool_calls") for message in messages)
    return plain and len(messages) <= _MESSAGES and sum(map(len, texts)) <= SHORT


def are_short(prompts: Sequence[Any]) -> bool:
    size = 0
    for prompt in prompts:
        text = prompt.get("prompt_token_ids", prompt.get("prompt")) if isinstance(prompt, dict) else None
        if not isinstance(text, str | list):
            return False
        size += len(text)
    return size <= SHORT
