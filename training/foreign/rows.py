"""Whether the one reader takes the same turns out of a data file as another trainer does, row by row.

Names of columns and tags can be said in a configuration; whether they come to the same is seen on the rows alone: a
column that is mapped away, a text that is joined in another way, a row that is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifecycle.conversation import Conversation
from lifecycle.errors import DabtError
from lifecycle.rows import forms, hub
from lifecycle.rows.faults import Unreadable
from lifecycle.rows.files import Reading
from lifecycle.rows.kinds import Judged, Labelled, Preference, Row

Turns = tuple[tuple[str, str], ...]
"""Role and text of each turn; of what is no conversation, what the text is (text, chosen, rejected, …)."""

Theirs = Callable[[Mapping[Any, Any]], Turns]
"""What a trainer takes out of a row: nothing where it drops it. Raises what a wrong row makes it raise."""

_TROUBLES = (KeyError, TypeError, IndexError, ValueError, AttributeError)
_SHOWN = 60


@dataclass(frozen=True)
class Agreement:
    """How a file is read here and there."""

    rows: int
    fault: str = ""
    """The first row that is read in another way or not at all, and how many there are; empty where none is."""
    cure: str = ""


def hub_rows(name: str, *, revision: Any = None, config: Any = None, split: Any = None) -> Path | None:
    """A data set's rows as they are named here in the place of a file; None for what no name says."""
    told = hub.HubRows(name, *(str(part or "") for part in (revision, config, split or ("train" if config else ""))))
    return Path(str(told)) if hub.named(str(told)) == told else None


def agreement(path: Path, theirs: Theirs) -> Agreement:
    """Of all rows of a file, or of a hub's data set, by its name."""
    try:
        there = hub.file_of(path).is_file()
    except DabtError as error:
        return Agreement(0, str(error))
    if not there:
        return Agreement(0, f"there is no file {path}", "name the folder that the tool is started in with --root")
    reading = Reading(path)
    wrong, first, cure = 0, "", ""
    for at, value in enumerate(reading.values(), 1):
        said, help_ = _difference(value, theirs)
        if said:
            wrong += 1
            first, cure = (first, cure) if first else (f"row {at} of {path.name}: {said}", help_)
    if faults := list(reading.told):
        return Agreement(reading.rows, f"cannot be read here: {faults[0]}", faults[0].cure)
    more = f" ({wrong:,} of {reading.rows:,} rows differ)" if wrong > 1 else ""
    return Agreement(reading.rows, first + more * bool(first), cure)


def _difference(value: Any, theirs: Theirs) -> tuple[str, str]:
    try:
        there = theirs(value)
    except _TROUBLES:
        return "the tool cannot read it by this mapping", "look at the columns that are named"
    try:
        here = turns(forms.read(value, "")[1])
    except Unreadable as wrong:
        fault = wrong.faults[0]
        return f"no form of rows here fits it: {fault.says}", fault.cure
    if here == there:
        return "", ""
    if not there:
        return "the tool drops it, and it is learnt here", "take it out of the file"
    for ours, other in zip(here, there, strict=False):
        if ours != other:
            return f"the tool reads {_short(other)}, and here it is {_short(ours)}", ""
    return f"the tool reads {len(there)} turns, and here it has {len(here)}", ""


def turns(row: Row) -> Turns:
    """What is read here."""
    if isinstance(row, Conversation):
        return tuple((message.role, message.content) for message in row.messages)
    if isinstance(row, Preference):
        answers = (("chosen", row.chosen), ("rejected", row.rejected))
        prompt = tuple((message.role, message.content) for message in row.messages)
        return (*prompt, *((which, message.content) for which, said in answers for message in said))
    if isinstance(row, Judged):
        return (*turns(row.conversation), ("judged", str(row.good)))
    if isinstance(row, Labelled):
        return (("text", row.text), ("label", str(row.label)))
    return (("text", row.text),)


def _short(turn: tuple[str, str]) -> str:
    role, text = turn
    return f"{role} {text if len(text) <= _SHOWN else text[: _SHOWN - 1] + '…'!r}"
