"""What the checks say: findings, graded, each with its places; and the report that gathers them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from lifecycle.version import Frozen
from training.data.balance import Balance, Lengths
from training.data.estimate import Expected

Severity = Literal["error", "warning", "note"]

MOST_PLACES = 1000
"""Places that a finding names; it counts all of them. A leak of a million rows would fill the memory."""


class Finding(Frozen):
    """One thing found: which check, how grave, in words, and the places that show it."""

    level: Severity
    check: str
    message: str
    places: tuple[str, ...] = ()
    """`file:line`; a pair or group is written `file:line = file:line`. The first `MOST_PLACES` of them."""
    count: int = 0
    """How many places there are in all; 0 for what is said of the file as a whole."""
    cure: str = ""


class Places:
    """Places as they are found: how many, and the first of them."""

    def __init__(self, places: Iterable[str] = ()) -> None:
        self.count = 0
        self._first: list[str] = []
        for place in places:
            self.add(place)

    def add(self, place: str) -> None:
        self.count += 1
        if len(self._first) < MOST_PLACES:
            self._first.append(place)

    def __iter__(self) -> Iterator[str]:
        return iter(self._first)


def finding(level: Severity, check: str, message: str, places: Places, cure: str) -> list[Finding]:
    """One finding, or none when there are no places. `message` says what there are several of: `rows that …`."""
    if not places.count:
        return []
    noun, _, rest = message.partition(" ")
    text = f"1 {noun.removesuffix('s')} {rest}" if places.count == 1 else f"{places.count:,} {message}"
    return [Finding(level=level, check=check, message=text, places=tuple(places), count=places.count, cure=cure)]


class DataReport(Frozen):
    """Everything about one set of training rows."""

    rows: int
    file: str = ""
    """What the file is: JSON, CSV, Parquet, gzip, …"""
    forms: tuple[str, ...] = ()
    """The forms that its rows have, and how sure that is."""
    against: dict[str, int]
    """Rows of each set that it was held against."""
    findings: tuple[Finding, ...]
    balance: Balance | None
    tokens: Lengths | None = None
    """Of a row, by the base's tokenizer."""
    expected: Expected | None = None
    """Of a run over these rows."""

    def of(self, level: Severity) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.level == level)
