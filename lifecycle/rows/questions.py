"""Rows that ask and have no answer, for a teacher to answer (`dabt data distill`). No other reader takes them.

{"messages": [{"role": "user", "content": "…"}]}, {"prompt": "…"}, {"question": "…"}, {"instruction": "…", "input": "…"}
"""

from __future__ import annotations

from typing import Any

from lifecycle.rows.conversations import Head, asked
from lifecycle.rows.faults import Fault, Unreadable
from lifecycle.rows.kinds import Question
from lifecycle.rows.turns import messages, order_faults, text_message

_KEYS = ("messages", "prompt", "instruction", "question", "query", "user", "patient", "human")
_BESIDE = {"id", "meta", "system"}


def question(row: Any, place: str) -> Question | None:
    """The question, or None for a row that is something else. Raises `Unreadable` with every fault of it."""
    if not isinstance(row, dict):
        return None
    given = {key for key, value in row.items() if value is not None}
    keys = [key for key in _KEYS if key in given]
    beside = _BESIDE | ({"input", "context"} if keys == ["instruction"] else set())
    more = given - {*keys} - beside
    if len(keys) != 1 or (more and keys != ["messages"]):
        return None
    (key,) = keys
    if key == "instruction":
        said = asked(row)
    elif isinstance(row[key], list):
        said = messages(row[key], key)
    else:
        said = (text_message(row, key, "user"),)
    if said and said[-1].role == "assistant":
        return None
    head = Head(row, said)
    faults = [Fault("unknown_key", f"{key} is no key of a question", "leave it out", key) for key in sorted(more)]
    if faults := [*faults, *head.faults, *order_faults(head.messages, answered=False)]:
        raise Unreadable(faults)
    return Question(place, head.id, head.messages, head.meta)
