"""A row of any kind as the checks see it: what it asks, what is learnt from it, and all of its texts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from lifecycle.conversation import Conversation, Message
from lifecycle.rows.kinds import Labelled, PlainText, Preference, Row
from lifecycle.text.normaliser import LIGHT_1


@dataclass(slots=True)  # not frozen: there is one for every row
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


class Normal(NamedTuple):
    """A text as it is normalised."""

    text: str
    words: frozenset[str]


def normal(text: str) -> Normal:
    """Of a text that may come again and again, as answers and system texts do."""
    return _kept(text) if len(text) <= MANY_TIMES else _normal(text)


MANY_TIMES = 500
"""Characters up to which a text is kept in mind, since it may come again; longer ones would fill the memory."""


def _normal(text: str) -> Normal:
    written = LIGHT_1.normal(text)
    return Normal(written, frozenset(written.split()))


_kept = lru_cache(maxsize=4096)(_normal)


def content(row: Row) -> Content:
    """The row's content. What is learnt of a preference is which answer is better, and of a text all of it."""
    if isinstance(row, Conversation):
        return _of_talk(row)
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
    talk, verdict = row.conversation, "good" if row.good else "bad"
    asked, said = _asked(talk.messages), _said(talk.messages)
    return Content(talk.place, asked, said, verdict, _texts(talk.messages), talk.meta, {"judged": verdict})


def _of_talk(row: Conversation) -> Content:
    messages = row.messages
    if len(messages) == 2 and messages[0].role == "user" and not messages[0].name:
        asked = context = messages[0].content
        last = messages[1]
        if not (last.tool_calls or last.reasoning or last.name) and asked and last.content:
            return Content(row.place, asked, asked, last.content, (asked, last.content), row.meta)
    else:
        asked, context = _asked(messages), _said(messages[:-1])
    return Content(row.place, asked, context, row.answer, _texts(messages), row.meta, {}, row.system)


def _asked(messages: Iterable[Message]) -> str:
    return "\n".join(message.content for message in messages if message.role == "user")


def _said(messages: Iterable[Message]) -> str:
    return "\n".join(_texts(messages))


def _texts(messages: Iterable[Message]) -> tuple[str, ...]:
    return tuple(text for message in messages for text in message.texts)
