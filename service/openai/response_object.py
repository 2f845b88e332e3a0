"""The parts of a response object, made from a chat answer's.

https://platform.openai.com/docs/api-reference/responses/object
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_REPEATED = ("instructions", "max_output_tokens", "metadata", "reasoning", "temperature", "top_p", "user")
"""As the caller sent them; null where it did not."""


def outline(asked: Mapping[str, Any], chat: Mapping[str, Any]) -> dict[str, Any]:
    """What the response says from its beginning on. `chat` is a chat answer or the first chunk of one."""
    text = asked.get("text") or {}
    return {
        "id": f"resp_{chat['id'].rpartition('-')[2]}",
        "object": "response",
        "created_at": chat["created"],
        "status": "in_progress",
        "model": chat["model"],
        "output": [],
        "error": None,
        "incomplete_details": None,
        "usage": None,
        "background": False,
        "store": False,
        "previous_response_id": None,
        "truncation": "disabled",
        "text": {**text, "format": text.get("format") or {"type": "text"}},
        "tools": asked.get("tools") or [],
        "tool_choice": asked.get("tool_choice") or "auto",
        "parallel_tool_calls": asked.get("parallel_tool_calls") is not False,
        "top_logprobs": asked.get("top_logprobs") or 0,
        **{name: asked.get(name) for name in _REPEATED},
        "dabt": chat["dabt"],
    }


def ended(
    made: Mapping[str, Any], output: Sequence[Mapping[str, Any]], finish: str | None, usage: Mapping[str, Any]
) -> dict[str, Any]:
    """`made` with all that is known at the end. `finish` and `usage` are the chat answer's."""
    cut = {"incomplete_details": {"reason": "max_output_tokens"}} if finish == "length" else {}
    return {**made, **cut, "status": status_of(finish), "output": list(output), "usage": _usage(usage)}


def message_begun(made: Mapping[str, Any], place: int) -> dict[str, Any]:
    """`place` is the item's among the response's output; so it is for the other kinds."""
    name = _id("msg", made, place)
    return {"type": "message", "id": name, "role": "assistant", "status": "in_progress", "content": []}


def reasoning_begun(made: Mapping[str, Any], place: int) -> dict[str, Any]:
    name = _id("rs", made, place)
    return {"type": "reasoning", "id": name, "status": "in_progress", "summary": [], "content": []}


def function_call_begun(made: Mapping[str, Any], place: int, call_id: str, name: str) -> dict[str, Any]:
    item = {"type": "function_call", "id": _id("fc", made, place), "call_id": call_id, "name": name}
    return {**item, "arguments": "", "status": "in_progress"}


def finished(begun: Mapping[str, Any], text: str, logprobs: Sequence[Mapping[str, Any]], status: str) -> dict[str, Any]:
    """The item with all of its text, or of a call's arguments."""
    if begun["type"] == "function_call":
        return {**begun, "arguments": text, "status": status}
    return {**begun, "status": status, "content": [part_of(begun, text, logprobs)]}


def part_of(begun: Mapping[str, Any], text: str, logprobs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The one part of a message or of a piece of reasoning."""
    if begun["type"] == "reasoning":
        return {"type": "reasoning_text", "text": text}
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": list(logprobs)}


def status_of(finish: str | None, *, last: bool = True) -> str:
    """Of an item, or of the response. Only the `last` item can have been cut off."""
    return "incomplete" if finish == "length" and last else "completed"


def _id(kind: str, made: Mapping[str, Any], place: int) -> str:
    return f"{kind}_{made['id'].removeprefix('resp_')}_{place}"


def _usage(chat: Mapping[str, Any]) -> dict[str, Any]:
    read, written = chat.get("prompt_tokens_details") or {}, chat.get("completion_tokens_details") or {}
    return {
        "input_tokens": chat["prompt_tokens"],
        "input_tokens_details": {"cached_tokens": read.get("cached_tokens") or 0, "cache_write_tokens": 0},
        "output_tokens": chat["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": written.get("reasoning_tokens") or 0},
        "total_tokens": chat["total_tokens"],
    }
