"""What a row can be: a conversation (`lifecycle/conversation.py`), or one of these, which other methods learn from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lifecycle.conversation import Conversation, Message


@dataclass(frozen=True, slots=True)
class Preference:
    """A prompt with a better and a worse answer."""

    place: str
    id: str
    messages: tuple[Message, ...]
    """The prompt: it ends before the answers."""
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]
    meta: dict[str, Any] = field(default_factory=dict)
    tools: tuple[dict[str, Any], ...] = ()
    parallel_tool_calls: bool | None = None

    @property
    def question(self) -> str:
        """All user turns; what a duplicate or a leak is judged by."""
        return "\n".join(turn.content for turn in self.messages if turn.role == "user")


@dataclass(frozen=True, slots=True)
class Judged:
    """A conversation whose answer was called good or bad. A bad one must never be trained as a good one."""

    conversation: Conversation
    good: bool

    @property
    def place(self) -> str:
        return self.conversation.place

    @property
    def id(self) -> str:
        return self.conversation.id

    @property
    def question(self) -> str:
        return self.conversation.question


@dataclass(frozen=True, slots=True)
class Labelled:
    """A text and its class."""

    place: str
    id: str
    text: str
    label: str | int
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def question(self) -> str:
        """The text, whose label is the answer."""
        return self.text


@dataclass(frozen=True, slots=True)
class PlainText:
    """A text with nothing to answer."""

    place: str
    id: str
    text: str
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def question(self) -> str:
        """The text: two rows that hold the same one are the same."""
        return self.text


@dataclass(frozen=True, slots=True)
class Question:
    """A conversation that nobody has answered. Read only where it is asked for (`Reading(path, questions=True)`)."""

    place: str
    id: str
    messages: tuple[Message, ...]
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def question(self) -> str:
        """All user turns."""
        return "\n".join(message.content for message in self.messages if message.role == "user")


Row = Conversation | Preference | Judged | Labelled | PlainText
Kinds = tuple[type[Row], ...]


@dataclass(frozen=True, slots=True)
class Kind:
    """What a kind of row is called, and the method that learns from it."""

    name: str
    method: str


KINDS: dict[type[Row | Question], Kind] = {
    Conversation: Kind("conversations", "LoRA"),
    Preference: Kind("preference rows", "DPO"),
    Judged: Kind("judged answers", "KTO, which `dabt train` does not have,"),
    Labelled: Kind("texts with labels", "sequence classification"),
    PlainText: Kind("plain texts", "continued pre-training"),
    Question: Kind("questions without answers", "no method"),
}
