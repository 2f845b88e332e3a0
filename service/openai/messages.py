"""The messages of a chat request: how many there may be, what each of them is, and that all of it is text.

An engine's own models try every kind of message that there is on every message, and name all that did not fit. So the
shape is checked here, at the places that the caller wrote, and engines take what has passed as it is. Read
`prompting.py` next.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lifecycle.errors import InvalidInput, Problem

MOST_MESSAGES = 4096
MOST_PARTS = 8192
"""Of content, and calls of tools, in all messages together."""
_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_TEXT_PARTS = {
    "text": "text",
    "input_text": "text",
    "output_text": "text",
    "refusal": "refusal",
    "thinking": "thinking",
}
"""Type of a part → its field with the text."""
_KEPT = ("role", "content", "name", "tool_calls", "tool_call_id", "reasoning")
"""What a message may tell a chat template. Clients send back what answers had besides, and it is left out."""
_STRINGS = ("name", "tool_call_id", "reasoning", "reasoning_content", "refusal")
_REFUSED: Mapping[str, tuple[str, str]] = {
    "function_call": ("is the older form of a call, which is not taken here", "send tool_calls"),
    "audio": ("is no text", "send the text that was spoken"),
    "tools": ("tools of one message are not taken here", "send them in the request's tools"),
}
"""Key → what is said of it, unless it is null."""


def check_messages(body: Mapping[str, Any]) -> dict[str, Any]:
    """`body` with messages of text alone, to put a recipe around; it stays as it was.

    Images, audio and files are refused, in every role: an engine that was given the address of one might fetch it.
    Raises `InvalidInput` with all faults and their places.
    """
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise _wrong([Problem("messages", "must be a list of one or more messages")])
    _check_counts(messages)
    problems = []
    for at, message in enumerate(messages):
        place = f"messages.{at}"
        if isinstance(message, dict):
            problems += _message_problems(place, message)
        else:
            problems.append(Problem(place, "must be an object with role and content"))
    if problems:
        raise _wrong(problems)
    return {**body, "messages": [_plain(message) for message in messages]}


def shown(value: Any) -> str:
    """A caller's value in a message: no longer than a line."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    return repr(value[:80] if isinstance(value, str) else value)[:80]


def _check_counts(messages: list[Any]) -> None:
    """Before anything is said of each of them."""
    if len(messages) > MOST_MESSAGES:
        fault = f"are {len(messages)}, and a request has {MOST_MESSAGES} at most"
        raise _wrong([Problem("messages", fault, "leave out the oldest")])
    parts = 0
    for message in messages:
        for name in ("content", "tool_calls"):
            if isinstance(message, dict) and isinstance(message.get(name), list):
                parts += len(message[name])
    if parts > MOST_PARTS:
        fault = f"have {parts} parts of content and calls of tools, and a request has {MOST_PARTS} at most"
        raise _wrong([Problem("messages", fault, "put texts together")])


def _message_problems(place: str, message: dict[str, Any]) -> list[Problem]:
    problems = []
    role = message.get("role")
    if role not in _ROLES:
        fault = "is missing" if "role" not in message else f"{shown(role)} is no role"
        problems.append(Problem(f"{place}.role", fault, f"one of {', '.join(_ROLES)}"))
    content = message.get("content")
    if isinstance(content, list):
        for at, part in enumerate(content):
            problems += _part_problems(f"{place}.content.{at}", part)
    elif content is not None and not isinstance(content, str):
        problems.append(Problem(f"{place}.content", "must be a string or a list of parts"))
    for name in _STRINGS:
        if message.get(name) is not None and not isinstance(message[name], str):
            problems.append(Problem(f"{place}.{name}", "must be a string"))
    for name, (fault, cure) in _REFUSED.items():
        if message.get(name) is not None:
            problems.append(Problem(f"{place}.{name}", fault, cure))
    if message.get("tool_calls") is not None:
        problems += _calls_problems(f"{place}.tool_calls", role, message["tool_calls"])
    return problems


def _part_problems(place: str, part: Any) -> list[Problem]:
    if not isinstance(part, dict) or not isinstance(part.get("type"), str):
        return [Problem(place, "must be an object with a type")]
    kind: str = part["type"]
    if kind not in _TEXT_PARTS:
        return [
            Problem(f"{place}.type", f"{kind[:80]!r} is not taken here", "send text: nothing else reaches the model")
        ]
    if not isinstance(part.get(_TEXT_PARTS[kind]), str):
        return [Problem(f"{place}.{_TEXT_PARTS[kind]}", "must be a string")]
    return []


def _calls_problems(place: str, role: Any, calls: Any) -> list[Problem]:
    if not isinstance(calls, list):
        return [Problem(place, "must be a list")]
    if calls and role in _ROLES and role != "assistant":
        return [Problem(place, f"are an assistant's, and this is a message of {role}", "leave it out")]
    problems = []
    for at, call in enumerate(calls):
        here = f"{place}.{at}"
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(call, dict):
            problems.append(Problem(here, "must be an object with id, type and function"))
        elif call.get("type", "function") != "function":
            problems.append(Problem(f"{here}.type", f"{shown(call['type'])} is not taken here", "function"))
        elif not isinstance(function, dict):
            problems.append(Problem(f"{here}.function", "must be an object with name and arguments"))
        else:
            if call.get("id") is not None and not isinstance(call["id"], str):
                problems.append(Problem(f"{here}.id", "must be a string"))
            if not isinstance(function.get("name"), str):
                problems.append(Problem(f"{here}.function.name", "must be a string"))
            if not isinstance(function.get("arguments", ""), str | dict | None):
                problems.append(Problem(f"{here}.function.arguments", "must be JSON in a string"))
    return problems


def _plain(message: dict[str, Any]) -> dict[str, Any]:
    """What a chat template may read of a message. Parts hold their type and their text alone: vLLM takes a part with a
    `uuid` for an image.
    """
    plain = {name: message[name] for name in _KEPT if name in message}
    if message.get("reasoning_content") is not None:
        plain.setdefault("reasoning", message["reasoning_content"])  # the older word for it
    content = message.get("content")
    if isinstance(content, list):
        plain["content"] = [{key: part[key] for key in ("type", _TEXT_PARTS[part["type"]])} for part in content]
    return plain


def _wrong(problems: list[Problem]) -> InvalidInput:
    return InvalidInput("The request is not valid:", problems)
