"""What a teacher is asked: the questions of any rows that `lifecycle/rows` reads, answered already or not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lifecycle.conversation import Conversation, Message, with_prompt
from lifecycle.rows.faults import Unreadable, nothing_done, unreadable
from lifecycle.rows.files import Reading
from lifecycle.rows.kinds import Judged, Labelled, PlainText, Preference, Question, Row
from lifecycle.text import strict_json
from lifecycle.version import Digest, Prompt, digest_of


@dataclass(frozen=True, slots=True)
class Asked:
    """One input. `given` is the answer that its row had, which the teacher is not shown."""

    place: str
    id: str
    messages: tuple[Message, ...]
    meta: dict[str, Any] = field(default_factory=dict)
    given: Any = None

    @property
    def key(self) -> Digest:
        """The same question is asked once, wherever it stands."""
        return digest_of(self.turns)

    @property
    def turns(self) -> list[dict[str, Any]]:
        return [message.sent() for message in self.messages]

    @property
    def text(self) -> str:
        """All that the user says: what a label is put on."""
        return "\n".join(message.content for message in self.messages if message.role == "user")

    def request(self, prompt: Prompt) -> list[dict[str, Any]]:
        """What the teacher is sent: the instructions and examples as a version's prompt."""
        return with_prompt(prompt, self.turns)


class Inputs:
    """A file of inputs, which may be larger than the memory: each iteration reads it again."""

    def __init__(self, path: Path, put: dict[str, str] | None = None) -> None:
        self.path, self._put = path, put
        self.count = 0
        """Of the last iteration."""
        self.summary: list[str] = []

    def __iter__(self) -> Iterator[Asked]:
        """Raises `InvalidData` at the end of the file, with every bad row of it."""
        reading = Reading(self.path, put=self._put, questions=True)
        self.count = 0
        for row in reading:
            try:
                asked = _asked(row)
            except Unreadable as wrong:
                for fault in wrong.faults:
                    reading.told.add(fault, int(row.place.rpartition(":")[2]))
                continue
            self.count += 1
            yield asked
        self.summary = reading.summary
        if reading.told.count:
            raise nothing_done(reading.told.lines, str(self.path), list(reading.told))


def _asked(row: Row | Question) -> Asked:
    if isinstance(row, Judged):
        row = row.conversation
    if isinstance(row, Labelled | PlainText):
        given = row.label if isinstance(row, Labelled) else None
        return Asked(row.place, row.id, (Message("user", row.text),), row.meta, given)
    given = None
    messages = row.messages
    if isinstance(row, Conversation):
        messages, given = row.messages[:-1], _value(row.answer)
    elif isinstance(row, Preference):
        given = _value(row.chosen[-1].content)
    if fault := _beyond_texts(row, messages):
        raise unreadable("would_be_lost", fault, "a teacher is sent texts alone; take it out")
    return Asked(row.place, row.id, messages, row.meta, given)


def _value(answer: str) -> Any:
    """An answer in JSON as its value."""
    try:
        return strict_json.parse(answer)
    except ValueError:
        return answer


def _beyond_texts(row: Row | Question, messages: tuple[Message, ...]) -> str:
    if getattr(row, "tools", ()):
        return "the row has tools"
    extra = next((key for message in messages for key in message.sent() if key not in ("role", "content")), "")
    return f"a turn has {extra}" if extra else ""
