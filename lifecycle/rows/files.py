"""Files of rows, read one row at a time, with the bad rows of all files reported together as `file:line`.

Training (`training/run.py`), evaluation (`evals/chat_rows.py`), worked examples (`prompt_files.py`) and `dabt data`
read by this. A `Reading` holds one row at a time, so that a file may be larger than the memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

from lifecycle.conversation import Conversation
from lifecycle.errors import Problem
from lifecycle.rows import forms, hub
from lifecycle.rows.faults import Fault, Told, Unreadable, nothing_done
from lifecycle.rows.json_records import Record
from lifecycle.rows.kinds import KINDS, Kind, Kinds, Row
from lifecycle.rows.questions import question
from lifecycle.rows.records import container, records
from lifecycle.rows.sources import NotText, source
from lifecycle.rows.writing import write_rows
from lifecycle.text.counting import counted

__all__ = ["Reading", "Scan", "read_rows", "scan", "write_rows"]


class Reading:
    """One file, or one split of a hub's data set (`hub.py`).

    Iterating gives its good rows in order; afterwards the other attributes say what it was.
    """

    def __init__(
        self,
        path: Path,
        *,
        put: dict[str, str] | None = None,
        questions: bool = False,
        becomes: Callable[[object], object] | None = None,
    ) -> None:
        """`put` says for a key that no form has what becomes of it: "meta", "text" for the row's text, "" for nothing.

        With `questions`, a row may end in its question. `becomes` makes of each row one of a form that there is, or
        raises `Unreadable`. Raises `NotFound` and `Unavailable` as the hub says.
        """
        self.name = str(path)
        """By which places are told."""
        self.path = hub.file_of(path)
        self.told = Told(self.name)
        self.rows = 0
        self.forms: Counter[forms.Form] = Counter()
        self.kind: Kind | None = None
        """Of the first row, and so of all: a file of two kinds is refused."""
        self.words = ""
        """What the file is: JSON lines, CSV, …"""
        self._put = put or {}
        self._questions = questions
        self._becomes = becomes

    def __iter__(self) -> Iterator[Row]:
        return (row for row, _ in self.records())

    def records(self) -> Iterator[tuple[Row, Record]]:
        """Each good row with the record that it was read from."""
        plain, file = not (self._put or self._questions or self._becomes), f"{self.name}:"
        for record in self._values():
            try:
                place = f"{file}{record.line}"
                form, row = forms.read(record.value, place) if plain else self._read(self._placed(record.value), place)
                if KINDS[type(row)] is not self.kind:
                    self._one_kind(row)
            except Unreadable as unreadable:
                for fault in unreadable.faults:
                    self.told.add(fault, record.line)
                continue
            self.rows += 1
            self.forms[form] += 1
            yield row, record
        self._empty()

    def values(self) -> Iterator[Any]:
        """The rows as they are written, of whatever form: JSON values. A row that is no JSON is in `told`."""
        for record in self._values():
            self.rows += 1
            yield record.value
        self._empty()

    def _values(self) -> Iterator[Record]:
        try:
            file = source(self.path)
            self.words = container(file)
            for record in records(file):
                if record.fault:
                    self.told.add(record.fault, record.line)
                else:
                    yield record
        except NotText as wrong:
            self.told.add(wrong.faults[0], wrong.line)
        except Unreadable as wrong:
            for fault in wrong.faults:
                self.told.add(fault)

    def _empty(self) -> None:
        if not self.rows and not self.told.count:
            self.told.add(Fault("no_rows", "has no rows", "write rows into it, or name another file"))

    @property
    def summary(self) -> list[str]:
        """Which forms it took, and how sure it is of each."""
        sure = {True: "certain", False: "likely, by the words of its keys"}
        return [f"{form}: {counted(count, 'row')}, {sure[form.sure]}" for form, count in self.forms.most_common()]

    def _read(self, value: object, place: str) -> tuple[forms.Form, Row]:
        asked = question(value, place) if self._questions else None
        if asked:
            return forms.QUESTION, cast("Row", asked)  # only for who asked for questions, and no user of rows must
        return forms.read(value, place)

    def _placed(self, value: object) -> object:
        """The row in a form that there is, with the keys of `put` where they were told to be."""
        if self._becomes:
            value = self._becomes(value)
        if not self._put or not isinstance(value, dict):
            return value
        row = {key: part for key, part in value.items() if key not in self._put}
        for key, where in self._put.items():
            if where == "text" and key in value:
                row["text"] = value[key]
        moved = {key: value[key] for key, where in self._put.items() if where == "meta" and value.get(key) is not None}
        if moved:
            meta = row.get("meta") or {}
            if not isinstance(meta, dict) or meta.keys() & moved.keys():
                raise Unreadable([Fault("wrong_type", "meta has a value in this place", "leave the key out", "meta")])
            row["meta"] = {**meta, **moved}
        return row

    def _one_kind(self, row: Row) -> None:
        kind = KINDS[type(row)]
        if self.kind is None:
            self.kind = kind
        elif kind != self.kind:
            says = f"is one of {kind.name}, and the rows before it are {self.kind.name}"
            raise Unreadable([Fault("two_forms", says, "put them into files of their own")])


_CONVERSATIONS: Kinds = (Conversation,)


def read_rows(*paths: Path) -> tuple[tuple[Conversation, ...], ...]:
    """For each path its conversations, in order. Raises as `read_kinds` does."""
    return read_kinds(_CONVERSATIONS, *paths)


def read_kinds(kinds: Kinds, *paths: Path) -> tuple[tuple[Any, ...], ...]:
    """For each path its rows, all of which must be of one of these kinds, in order.

    Raises `InvalidData` with the places of the bad rows of all `paths`, and for a file that has none or other rows.
    """
    rows: list[tuple[Any, ...]] = []
    problems: list[Problem] = []
    bad = 0
    for path in paths:
        good, reading = _read(kinds, path)
        rows.append(tuple(good))
        problems += reading.told
        bad += reading.told.lines
    if problems:
        raise nothing_done(bad, ", ".join(map(str, paths)), problems)
    return tuple(rows)


def scan(path: Path, kinds: Kinds = _CONVERSATIONS) -> tuple[list[Any], list[Problem]]:
    """The readable rows of these kinds, and the faults of the others: the first of them, and how many there are."""
    rows, reading = _read(kinds, path)
    return rows, list(reading.told)


class Scan:
    """The same, row by row: iterating gives the rows; afterwards `problems` and `kind` say what else there was."""

    def __init__(
        self, path: Path, kinds: Kinds = _CONVERSATIONS, *, becomes: Callable[[object], object] | None = None
    ) -> None:
        self.reading = Reading(path, becomes=becomes)
        self._kinds = kinds

    def __iter__(self) -> Iterator[Any]:
        for row in self.reading:
            if isinstance(row, self._kinds):
                yield row
        if self.reading.kind is not None and self.reading.kind not in {KINDS[kind] for kind in self._kinds}:
            self.reading.told.add(_not_wanted(self.reading, self._kinds))

    @property
    def problems(self) -> list[Problem]:
        return list(self.reading.told)

    @property
    def kind(self) -> str:
        """By its name; "" of a file without rows."""
        return self.reading.kind.name if self.reading.kind else ""


def _read(kinds: Kinds, path: Path) -> tuple[list[Any], Reading]:
    rows = Scan(path, kinds)
    return list(rows), rows.reading


def _not_wanted(reading: Reading, kinds: Kinds) -> Fault:
    """Why nothing was taken from a file of another kind."""
    assert reading.kind is not None
    wanted = " or ".join(KINDS[kind].name for kind in kinds)
    says = f"holds {reading.rows:,} {reading.kind.name}, and no {wanted}"
    return Fault("wrong_kind", says, f"{reading.kind.method} learns from them; here are needed {wanted}")
