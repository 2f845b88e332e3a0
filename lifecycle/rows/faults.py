"""What is wrong with a row: a code that stays, the field, words, and the cure; and how many of them are told.

Every reader here raises `Unreadable` with all faults of a row; `files.py` places them by file and line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lifecycle.errors import InvalidData, Problem
from lifecycle.text.counting import counted

_OF_THE_FILE = ("broken_array", "broken_file", "behind_the_array", "too_long", "no_file", "no_rows")
"""Codes of what is wrong with a file and no row of it, even where a line says where."""

TOLD = 20
"""Faults that are told of one file; a file in the wrong form has one for each line."""


@dataclass(frozen=True, slots=True)
class Fault:
    """`code` is stable, for programs; `docs/guides/data.md` lists them."""

    code: str
    says: str
    cure: str = ""
    field: str = ""
    """Where in the row, such as `messages[1].content`; empty for the row as a whole."""


@dataclass(frozen=True)
class RowProblem(Problem):
    """A fault with its place. `line` is 0 where the file as a whole is meant."""

    file: str = ""
    line: int = 0
    field: str = ""
    code: str = ""
    count: int = 1
    """How many faults it stands for."""

    def __str__(self) -> str:
        return f"{self.place}: {self.fault} [{self.code}]" + (f" → {self.cure}" if self.cure else "")


class Unreadable(ValueError):
    """The row cannot be understood; `faults` says why. It never leaves this package."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(fault.says for fault in self.faults))


def unreadable(code: str, says: str, cure: str = "", field: str = "") -> Unreadable:
    """With one fault."""
    return Unreadable([Fault(code, says, cure, field)])


def placed(fault: Fault, file: str, line: int = 0) -> RowProblem:
    place = f"{file}:{line}" if line else file
    return RowProblem(place, fault.says, fault.cure, file, line, fault.field, fault.code)


class Told:
    """The faults of one file as they are found: how many, and the first `TOLD`. Iterating gives what to show."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.count = 0
        self.lines = 0
        """Rows with a fault; 0 where the file itself is what is wrong."""
        self._first: list[Problem] = []
        self._last_line = -1

    def add(self, fault: Fault, line: int = 0) -> None:
        self.count += 1
        self.lines += line not in (0, self._last_line) and fault.code not in _OF_THE_FILE
        self._last_line = line
        if len(self._first) < TOLD:
            self._first.append(placed(fault, self.file, line))

    def __iter__(self) -> Iterator[Problem]:
        yield from self._first
        if more := self.count - len(self._first):
            yield _more(self.file, more)


def bad_rows(problems: Iterable[Problem], where: str) -> InvalidData:
    """One error for all of them, of which the first `TOLD` of each file are told."""
    files: dict[str, list[Problem]] = {}
    for problem in problems:
        whole = isinstance(problem, RowProblem) and not problem.line
        files.setdefault(problem.place if whole else problem.place.rpartition(":")[0], []).append(problem)
    told: list[Problem] = []
    for file, wrong in files.items():
        told += wrong[:TOLD]
        told += [_more(file, len(wrong) - TOLD)] if len(wrong) > TOLD else []
    rows = {problem.place for wrong in files.values() for problem in wrong if problem.place not in files}
    return nothing_done(len(rows), where, told)


def nothing_done(rows: int, where: str, told: Iterable[Problem]) -> InvalidData:
    """The error that names so many bad rows, or files that are no rows; `told` are those that are shown."""
    if not rows:
        return InvalidData(f"{where} cannot be used; nothing was done", told)
    return InvalidData(f"{counted(rows, 'bad row')} in {where}; nothing was done", told)


def _more(file: str, count: int) -> Problem:
    return RowProblem(file, f"and {count:,} more", "mend these first", file, code="more", count=count)
