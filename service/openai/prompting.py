"""A version's recipe applied to a request: prompt and passages around the caller's messages.

The service does this, and not the caller, so that what is served is what was evaluated; how a prompt is put around
messages is `lifecycle/conversation.py`'s, so that it is what was trained too. Read `decoding.py` next.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lifecycle.conversation import with_prompt
from lifecycle.errors import InvalidInput, Problem
from lifecycle.version import Version
from service.engine.interface import Kind
from service.openai.allowed_fields import has_recipe

if TYPE_CHECKING:
    from retrieval.passage import Passage

_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_TEXT_PARTS = {
    "text": "text",
    "input_text": "text",
    "output_text": "text",
    "refusal": "refusal",
    "thinking": "thinking",
}
"""Type of a part → its field with the text."""


def check_messages(body: dict[str, Any]) -> dict[str, Any]:
    """`body` with messages of text alone, to put a recipe around; it stays as it was.

    Images, audio and files are refused here, in every role: an engine that was given the address of one might fetch
    it. Raises `InvalidInput` with all faults and their places.
    """
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise InvalidInput("The request is not valid:", [Problem("messages", "must be a list of one or more messages")])
    problems = []
    for at, message in enumerate(messages):
        if not isinstance(message, dict):
            problems.append(Problem(f"messages.{at}", "must be an object with role and content"))
        else:
            problems += _message_problems(f"messages.{at}", message)
    if problems:
        raise InvalidInput("The request is not valid:", problems)
    if any(isinstance(message.get("content"), list) for message in messages):
        return {**body, "messages": [_plain(message) for message in messages]}
    return body


def with_recipe(
    version: Version, kind: Kind, body: dict[str, Any], passages: Sequence[Passage] | None
) -> dict[str, Any]:
    """A body with the recipe's messages; `body` stays as it was.

    Its messages have passed `check_messages`; `passages` are those retrieved for a version with knowledge, None for
    one without. Raises `InvalidInput` for a plain completion on a version whose recipe needs messages.
    """
    spec = version.spec
    if kind == "completion":
        if has_recipe(version):
            raise InvalidInput(
                f"{version.ref} has a prompt or knowledge, which /v1/completions has no place for; "
                "call /v1/chat/completions instead"
            )
        return body
    messages: list[dict[str, Any]] = body["messages"]
    if spec.knowledge is not None and passages is not None:
        from retrieval.prompting import apply

        messages = apply(spec.knowledge, messages, passages)
    return {**body, "messages": with_prompt(spec.prompt, messages)}


def _message_problems(place: str, message: dict[str, Any]) -> list[Problem]:
    problems = []
    if message.get("role") not in _ROLES:
        problems.append(Problem(f"{place}.role", f"{message.get('role')!r} is no role", f"one of {', '.join(_ROLES)}"))
    content = message.get("content")
    if isinstance(content, list):
        for at, part in enumerate(content):
            problems += _part_problems(f"{place}.content.{at}", part)
    elif content is not None and not isinstance(content, str):
        problems.append(Problem(f"{place}.content", "must be a string or a list of parts"))
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


def _plain(message: dict[str, Any]) -> dict[str, Any]:
    """The same with parts that hold their type and their text alone: vLLM takes a part with a `uuid` for an image."""
    content = message.get("content")
    if not isinstance(content, list):
        return message
    return {**message, "content": [{key: part[key] for key in ("type", _TEXT_PARTS[part["type"]])} for part in content]}
