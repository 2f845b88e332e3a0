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

if TYPE_CHECKING:
    from retrieval.passage import Passage

_ROLES = ("system", "developer", "user", "assistant", "tool", "function")


def check_messages(body: dict[str, Any]) -> None:
    """Whether there are messages to put a recipe around. Raises `InvalidInput` with all faults and their places."""
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


def with_recipe(
    version: Version, kind: Kind, body: dict[str, Any], passages: Sequence[Passage] | None
) -> dict[str, Any]:
    """A body with the recipe's messages; `body` stays as it was.

    Its messages have passed `check_messages`; `passages` are those retrieved for a version with knowledge, None for
    one without. Raises `InvalidInput` for a plain completion on a version whose recipe needs messages.
    """
    spec = version.spec
    if kind == "completion":
        if spec.prompt.system or spec.prompt.shots or spec.knowledge:
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
            if not isinstance(part, dict) or not isinstance(part.get("type"), str):
                problems.append(Problem(f"{place}.content.{at}", "must be an object with a type"))
            elif part["type"] == "text" and not isinstance(part.get("text"), str):
                problems.append(Problem(f"{place}.content.{at}.text", "must be a string"))
    elif content is not None and not isinstance(content, str):
        problems.append(Problem(f"{place}.content", "must be a string or a list of parts"))
    return problems
