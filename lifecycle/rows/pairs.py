"""One question and one answer under two words: `{"user": …, "assistant": …}`, `{"patient": …, "chatbot": …}`."""

from __future__ import annotations

from typing import Any

PAIRS = (
    ("user", "assistant"),
    ("patient", "chatbot"),
    ("patient", "doctor"),
    ("human", "assistant"),
    ("human", "bot"),
    ("question", "answer"),
    ("query", "response"),
)
"""(who asks, who answers). Only the first is a format's own."""

_TURN = (("role", "content"), ("from", "value"))


def pair_of(row: dict[str, Any]) -> tuple[str, str] | None:
    """The two words of a row that has both."""
    return next((pair for pair in PAIRS if pair[0] in row and pair[1] in row), None)


def is_pair(value: Any) -> bool:
    """One exchange of a list of them: nothing but its two texts."""
    return isinstance(value, dict) and len(value) == 2 and pair_of(value) is not None


def is_turn(value: Any) -> bool:
    """One turn of a list of them."""
    return isinstance(value, dict) and any(role in value and text in value for role, text in _TURN)
