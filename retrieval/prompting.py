"""Passages → prompt: the last user message, wrapped by the version's template for its language."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from lifecycle.conversation import texts_in
from lifecycle.errors import InvalidInput
from lifecycle.version import Knowledge
from retrieval.analysis import is_arabic
from retrieval.passage import Passage

_SLOT = re.compile(r"\{(passages|question)\}")


def question(messages: Sequence[dict[str, Any]]) -> str:
    """The text of the last user message: what to search for. Raises `InvalidInput` when no user has spoken."""
    return texts_in(messages[_last_user(messages)].get("content"))


def render(passages: Sequence[Passage]) -> str:
    """One `[id] text` line per passage, best first; `(none)` when nothing was found."""
    return "\n".join(f"[{p.id}] {p.text}" for p in passages) or "(none)"


def apply(
    knowledge: Knowledge, messages: Sequence[dict[str, Any]], passages: Sequence[Passage]
) -> list[dict[str, Any]]:
    """`messages` with the last user message put into the template of its language; the input is left as it was.

    Parts of that message that are no text (images) stay behind the text. Raises `InvalidInput` when no user has spoken.
    """
    at = _last_user(messages)
    asked = texts_in(messages[at].get("content"))
    template = knowledge.arabic_template if knowledge.arabic_template and is_arabic(asked) else knowledge.template
    filling = {"passages": render(passages), "question": asked}
    # One pass, not str.format: templates show JSON braces, and a passage that says "{question}" must stay as it is.
    text = _SLOT.sub(lambda slot: filling[slot.group(1)], template)
    content = messages[at].get("content")
    wrapped: str | list[dict[str, Any]] = text
    if isinstance(content, list):
        wrapped = [{"type": "text", "text": text}, *(part for part in content if part.get("type") != "text")]
    return [*messages[:at], {**messages[at], "content": wrapped}, *messages[at + 1 :]]


def _last_user(messages: Sequence[dict[str, Any]]) -> int:
    for at in reversed(range(len(messages))):
        if messages[at].get("role") == "user":
            return at
    raise InvalidInput("A version with knowledge answers a question; send at least one message with the role 'user'")
