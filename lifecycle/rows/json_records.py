"""JSON rows out of a file, one at a time: a row a line, arrays of rows, rows over several lines, lists of turns.

A list of turns is one conversation: a line of a `.jsonl` file, an element of an array, or a whole array of `role` and
`content`. Pairs such as `{"user": …, "assistant": …}` in one array are a row each; in several arrays of a `.json` file
they could be either, which is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lifecycle.rows.faults import Fault, unreadable
from lifecycle.rows.pairs import is_pair, is_turn
from lifecycle.rows.sources import LONGEST, Source
from lifecycle.text import strict_json

_SPACE = " \t\r\n"
_LINES = (".jsonl", ".ndjson")
_NEAR_THE_END = 16
"""Characters before the end of a text in which JSON that is cut off breaks, unless it is inside a string."""


@dataclass(slots=True)  # not frozen: there is one for every row
class Record:
    """One row as it is written, or what is wrong with it."""

    line: int
    """Where it starts. In Parquet, its number."""
    value: Any = None
    fault: Fault | None = None
    text: str = ""
    """As it stands in a JSON file or a table of texts; empty for what was no text."""


def json_records(file: Source) -> Iterator[Record]:
    """The rows in order. Raises `Unreadable` where reading cannot go on."""
    first = next(((line, text) for line, text in file.lines() if isinstance(text, Fault) or text.strip()), None)
    if first is None:
        return
    _, text = first
    start = text.lstrip()[:1] if isinstance(text, str) else "{"
    if start not in ("{", "["):
        shown = str(text).strip()[:40]
        cure = "a CSV or TSV file is read as such where its name ends in .csv or .tsv; otherwise write JSONL"
        raise unreadable("wrong_kind", f"the file is no JSON: it starts with {shown!r}", cure)
    elif start == "[" and not _list_of_turns_a_line(file, str(text)):
        yield from _arrays(_Window(file.pieces()))
    elif start == "{" and _over_lines(file, text):
        yield from _values(_Window(file.pieces()))
    else:
        yield from _a_line(file)


def _list_of_turns_a_line(file: Source, line: str) -> bool:
    try:
        value = strict_json.parse(line)
    except ValueError:
        return False
    return file.suffix in _LINES and _has_turns(value)


def _over_lines(file: Source, line: str | Fault) -> bool:
    """Whether the first value is whole, and ends behind its first line."""
    if isinstance(line, Fault) or _parsed(0, line).fault is None:
        return False
    window = _Window(file.pieces())
    try:
        window.skip(_SPACE)
        return "\n" in window.take()[1].rstrip()
    except (ValueError, RecursionError):
        return False


def _a_line(file: Source) -> Iterator[Record]:
    for number, text in file.lines():
        if isinstance(text, Fault):
            yield Record(number, fault=text)
        elif text.strip():
            record = _parsed(number, text)
            if isinstance(record.value, list) and not _has_turns(record.value):
                fault = Fault("not_an_object", "the row is a list, not a JSON object", "one object a line")
                record = Record(number, fault=fault)
            yield record


def _parsed(line: int, text: str) -> Record:
    try:
        return Record(line, strict_json.kept(text.strip()), text=text)
    except ValueError as error:
        return Record(line, fault=_no_json(str(error)))


def _no_json(why: str) -> Fault:
    for sign, code, cure in (
        ("twice", "duplicate_key", "keep one of them"),
        ("surrogate", "half_character", "write the whole character"),
        ("nested", "too_deep", "write what is inside as a text"),
        ("too large", "number_too_large", "write it as a text"),
    ):
        if sign in why:
            return Fault(code, why, cure)
    # The parser counts lines from the row's own start; the place has the file's.
    return Fault("not_json", re.sub(r" at line \d+ column", " at character", why), "one JSON object a line")


def _has_turns(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(is_turn(part) or is_pair(part) for part in value)


def _values(window: _Window) -> Iterator[Record]:
    """Objects that go over several lines, one behind the other."""
    window.skip(_SPACE)
    while char := window.peek():
        if char != "{":
            yield Record(window.line, fault=Fault("not_json", "stands between the rows", "write JSON objects alone"))
            return
        try:
            line, text = window.take()
        except (ValueError, RecursionError) as error:
            yield Record(window.line, fault=_breaks("not_json", "the JSON object breaks here", error))
            return
        yield _parsed(line, text)
        window.skip(_SPACE)


def _arrays(window: _Window) -> Iterator[Record]:
    """The rows of one array or of several."""
    pairs: list[int] = []
    """For each array so far, how many pairs it has."""
    while True:
        window.skip(_SPACE)
        char = window.peek()
        if not char:
            return
        line = window.line
        if char != "[":
            cure = "write one array, or one object a line"
            yield Record(line, fault=Fault("behind_the_array", "stands after the end of a JSON array", cure))
            return
        window.pass_one()
        turns: list[Any] = []
        pairs.append(0)
        for record in _elements(window):
            if record.fault and record.fault.code == "broken_array":
                yield record
                return
            if is_turn(record.value):
                turns.append(record.value)
                continue
            pairs[-1] += is_pair(record.value)
            yield record
        if turns:
            yield Record(line, turns)
        if len(pairs) > 1 and max(pairs) > 1:
            both = "these lists of pairs could be one conversation each, or a row for each pair"
            cure = "name the file .jsonl for the first, or write one array for the second"
            yield Record(line, fault=Fault("two_forms", both, cure))
            return


def _elements(window: _Window) -> Iterator[Record]:
    """What stands in an array, up to its end."""
    comma = True
    while True:
        window.skip(_SPACE)
        char = window.peek()
        if char == "]":
            window.pass_one()
            return
        if char == "," and not comma:
            window.pass_one()
            comma = True
            continue
        try:
            if not comma and char:
                raise ValueError("a comma is missing")
            line, text = window.take()
        except (ValueError, RecursionError) as error:
            yield Record(window.line, fault=_breaks("broken_array", "the JSON array breaks here", error))
            return
        comma = False
        yield _parsed(line, text)


class _CutOff(ValueError):
    """The text ends before its JSON does."""


def _breaks(code: str, what: str, error: Exception) -> Fault:
    why = strict_json.TOO_DEEP if isinstance(error, RecursionError) else str(error)
    cure = "mend the JSON from here on; the rows behind it were not read"
    if isinstance(error, _CutOff):
        why, cure = "the file ends before it does", "fetch or save the file again, or write its end"
    return Fault(code, f"{what}: {why}", cure)


class _Window:
    """A text that is read piece by piece. Only the value in hand is in memory."""

    def __init__(self, pieces: Iterator[str]) -> None:
        self.line = 1
        self._pieces = pieces
        self._text = ""
        self._at = 0
        self._ended = False
        self._decoder = json.JSONDecoder()

    def peek(self) -> str:
        """The next character; empty at the end."""
        while self._at == len(self._text) and not self._ended:
            self._read()
        return self._text[self._at : self._at + 1]

    def pass_one(self) -> None:
        self._pass(self._at + 1)

    def skip(self, chars: str) -> None:
        while (char := self.peek()) and char in chars:
            self._pass(self._at + 1)

    def take(self) -> tuple[int, str]:
        """The line and the text of the JSON value that starts here. Raises ValueError or RecursionError."""
        while True:
            try:
                _, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                inside = error.msg.startswith("Unterminated string") or error.pos >= len(self._text) - _NEAR_THE_END
                if self._ended or not inside:
                    cut = error.msg.startswith("Unterminated string") or not self._text[error.pos :].strip()
                    raise (_CutOff if cut else ValueError)(error.msg) from error
            else:
                # A number may go on in the next piece.
                if end + _NEAR_THE_END <= len(self._text) or self._ended:
                    line, text = self.line, self._text[self._at : end]
                    self._pass(end)
                    return line, text
            if len(self._text) - self._at > LONGEST:
                raise unreadable("too_long", f"the row is longer than {LONGEST >> 20} MiB", "cut it into several rows")
            self._read()

    def _pass(self, to: int) -> None:
        self.line += self._text.count("\n", self._at, to)
        self._at = to

    def _read(self) -> None:
        """Twice as much as is in hand, so that a long value is not looked at again and again."""
        kept = [self._text[self._at :]]
        wanted = len(kept[0])
        self._at = 0
        while True:
            piece = next(self._pieces, None)
            if piece is None:
                self._ended = True
                break
            kept.append(piece)
            wanted -= len(piece)
            if wanted <= 0:
                break
        self._text = "".join(kept)
