"""Passages → prompt: the last user message, wrapped by the version's template."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from lifecycle.errors import InvalidConfig, InvalidInput, Problem
from lifecycle.version import Knowledge
from retrieval.passage import Passage

_SLOT = re.compile(r"\{(passages|question)\}")


def question(messages: Sequence[dict[str, Any]]) -> str:
    """The text of the last user message: what to search for. Raises `InvalidInput` when no user has spoken."""
    return _text(messages[_last_user(messages)])


def render(passages: Sequence[Passage]) -> str:
    """One `[id] text` line per passage, best first; `(none)` when nothing was found."""
    return "\n".join(f"[{p.id}] {p.text}" for p in passages) or "(none)"


def apply(
    knowledge: Knowledge, messages: Sequence[dict[str, Any]], passages: Sequence[Passage]
) -> list[dict[str, Any]]:
    """`messages` with the last user message put into `knowledge.template`; the input is left as it was.

    Parts of that message that are no text (images) stay behind the text. Raises `InvalidInput` when no user has
    spoken and `InvalidConfig` when the template has no place for the passages or for the question.
    """
    check_template(knowledge.template)
    at = _last_user(messages)
    filling = {"passages": render(passages), "question": _text(messages[at])}
    # One pass, not str.format: templates show JSON braces, and a passage that says "{question}" must stay as it is.
    text = _SLOT.sub(lambda slot: filling[slot.group(1)], knowledge.template)
    content = messages[at]["content"]
    if not isinstance(content, str):
        content = [{"type": "text", "text": text}, *(part for part in content if part.get("type") != "text")]
    else:
        content = text
    return [*messages[:at], {**messages[at], "content": content}, *messages[at + 1 :]]


def check_template(template: str) -> None:
    """Raises `InvalidConfig` unless `template` holds both `{passages}` and `{question}`."""
    missing = [slot for slot in ("passages", "question") if "{" + slot + "}" not in template]
    if missing:
        raise InvalidConfig(
            "The knowledge template is incomplete",
            [
                Problem("knowledge.template", f"{{{slot}}} is missing", f"write {{{slot}}} where it belongs")
                for slot in missing
            ],
        )


def _last_user(messages: Sequence[dict[str, Any]]) -> int:
    for at in reversed(range(len(messages))):
        if messages[at].get("role") == "user":
            return at
    raise InvalidInput("A version with knowledge answers a question; send at least one message with the role 'user'")


def _text(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if part.get("type") == "text")
