"""A row of any kind as the checks see it: what it asks, what is learnt from it, and all of its texts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from lifecycle.conversation import Message
from lifecycle.rows.kinds import Judged, Labelled, PlainText, Preference, Row


@dataclass(frozen=True, slots=True)
class Content:
    """Two rows with one `context` are asked the same; with one `answer` too, they are equal."""

    place: str
    question: str
    """What a near duplicate or a leak is judged by."""
    context: str
    """All that stands before the answer: the same words after other turns are another question."""
    answer: str
    texts: tuple[str, ...]
    """Everything that the row says."""
    meta: dict[str, Any] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    """What the row says of itself beside its texts: its label, or how its answer was judged."""
    system: str = ""


def content(row: Row) -> Content:
    """The row's content. What is learnt of a preference is which answer is better, and of a text all of it."""
    if isinstance(row, Labelled):
        label = str(row.label)
        return Content(row.place, row.text, row.text, label, (row.text,), row.meta, {"label": label})
    if isinstance(row, PlainText):
        return Content(row.place, row.text, row.text, "", (row.text,), row.meta)
    if isinstance(row, Preference):
        chosen, rejected = _said(row.chosen), _said(row.rejected)
        before = (_said(row.messages), *sorted((chosen, rejected)))
        texts = _texts((*row.messages, *row.chosen, *row.rejected))
        return Content(row.place, _asked(row.messages), "\n".join(before), chosen, texts, row.meta)
    if isinstance(row, Judged):
        talk, verdict = row.conversation, "good" if row.good else "bad"
        asked, said = _asked(talk.messages), _said(talk.messages)
        return Content(talk.place, asked, said, verdict, _texts(talk.messages), talk.meta, {"judged": verdict})
    messages = row.messages
    if len(messages) == 2 and not messages[0].name:
        asked = context = messages[0].content
    else:
        asked, context = _asked(messages), _said(messages[:-1])
    return Content(row.place, asked, context, row.answer, _texts(messages), row.meta, {}, row.system)


def _asked(messages: Iterable[Message]) -> str:
    return "\n".join(message.content for message in messages if message.role == "user")


def _said(messages: Iterable[Message]) -> str:
    return "\n".join(_texts(messages))


def _texts(messages: Iterable[Message]) -> tuple[str, ...]:
    return tuple(text for message in messages for text in message.texts)
