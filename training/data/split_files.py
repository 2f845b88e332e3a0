"""Rows into training, validation and test files, so that none of them holds what another asks, in any words.

Rows whose questions are equal or nearly equal, or that share a field of `meta`, stay together; each file has its share
of every label (`placing.py`); rows are written as they stood. `split.py` holds out a share inside a run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any

from numpy.typing import NDArray

from lifecycle.errors import InvalidData, InvalidInput, Problem
from lifecycle.rows import hub
from lifecycle.rows.faults import nothing_done
from lifecycle.rows.files import Reading
from lifecycle.rows.json_records import Record
from lifecycle.rows.table_records import SEPARATORS
from lifecycle.rows.writing import replaced
from lifecycle.text.counting import counted
from lifecycle.text.normaliser import LIGHT_1
from training.data.checks import SIMILARITY
from training.data.content import content
from training.data.duplicates import Clusters, Near
from training.data.placing import Counts, Labels, place
from training.data.spool import Spool

_BATCH = 4096


@dataclass(frozen=True)
class Side:
    """A file to write, and how much goes there: a share below 1, a count of rows from 1, None for the rest."""

    name: str
    path: Path
    size: float | None


@dataclass(frozen=True)
class Way:
    """By what rows are kept together and spread."""

    group: str = ""
    """A field of `meta`; rows that share its value stay together."""
    stratify: str = ""
    """A field of `meta` or of a JSON answer; by default the label of a labelled or judged row."""
    similarity: float = SIMILARITY
    seed: int = 17


@dataclass(frozen=True)
class Split:
    """Rows by side and label, and how many groups there were."""

    labels: dict[str, Counts]
    groups: int
    largest: int
    """Rows of the largest group."""

    def rows(self, side: str) -> int:
        return self.labels[side].total()


def split(source: Path, sides: Sequence[Side], way: Way | None = None, *, force: bool = False) -> Split:
    """Read `source` twice, and write the files of `sides`, all or none.

    Raises `InvalidInput` for sizes that cannot be and files that exist (unless `force`), `InvalidData` for rows that
    cannot be read, and where the groups are too large for the sizes.
    """
    way, source = way or Way(), hub.file_of(source)
    _check(source, sides, force=force)
    groups, labels = _grouped(source, way)
    wanted = _counts(sides, len(labels))
    placed = place(groups, labels, wanted, way.seed)
    told = Split({side.name: placed.labels[n] for n, side in enumerate(sides)}, placed.groups, placed.largest)
    if empty := [side.name for side in sides if not told.rows(side.name)]:
        few = {side.name: side.size for side, count in zip(sides, wanted, strict=True) if not count}
        raise InvalidData("nothing was written", [_nothing_for(name, few, len(labels), told) for name in empty])
    with ExitStack() as stack:
        files = [stack.enter_context(replaced(side.path)) for side in sides]
        _write(source, files, placed.sides)
    return told


def _nothing_for(name: str, few: Mapping[str, float | None], rows: int, told: Split) -> Problem:
    """Why a side has no row: its share comes to none, or the groups are too large."""
    if (share := few.get(name)) is not None:
        says = f"a share of {share:g} of {counted(rows, 'row')} is less than one row"
        return Problem(name, says, f"ask for a larger share, or a count: --{name}-size 1")
    groups, largest = counted(told.groups, "group"), counted(told.largest, "row")
    says = f"no group of rows is left for it: {groups}, the largest of {largest}"
    return Problem(name, says, "ask for fewer, raise --similarity, or take --group-by out")


def _check(source: Path, sides: Sequence[Side], *, force: bool) -> None:
    problems = []
    paths = [side.path.resolve() for side in sides]
    for side in sides:
        if paths.count(side.path.resolve()) > 1:
            problems.append(Problem(str(side.path), "is named for two sides", "a file for each"))
        elif side.path.resolve() == source.resolve():
            problems.append(Problem(str(side.path), "is the file that is read", "name another"))
        elif side.path.exists() and not force:
            problems.append(Problem(str(side.path), "exists", "name another, or overwrite it with --force"))
        kept = {".jsonl", ".ndjson"} if _suffix(source) not in SEPARATORS else {_suffix(source)}
        if _suffix(side.path) not in kept:
            cure = f"rows are written as they stand: end it in {' or '.join(sorted(kept))}"
            problems.append(Problem(str(side.path), f"its name ends in {side.path.suffix or 'nothing'}", cure))
        if side.size is not None and not (0 < side.size < 1 or (side.size >= 1 and side.size == int(side.size))):
            problems.append(Problem(f"--{side.name}-size", f"is {side.size:g}", "a share below 1, or a count of rows"))
    if len(sides) < 2:
        problems.append(Problem("--train, --validation, --test", "fewer than two are named", "name two or three"))
    if problems:
        raise InvalidInput("nothing was written", problems)


def _suffix(path: Path) -> str:
    return (Path(path.stem) if path.suffix == ".gz" else path).suffix.lower()


def _grouped(source: Path, way: Way) -> tuple[NDArray[Any], Labels]:
    """For each row its group, named by the first row in it, and its label."""
    index, labels, shared = Near(way.similarity), Labels(), _Shared(way.group)
    reading = Reading(source)
    for at, row in enumerate(reading):
        seen = content(row)
        index.add(LIGHT_1.normal(seen.question))
        labels.add(_label(seen.labels, seen.meta, seen.answer, way.stratify))
        shared.see(at, seen.meta)
    if reading.told.count:
        raise nothing_done(reading.told.lines, str(source), list(reading.told))
    if way.group and not shared.any:
        says, cure = f"no row has meta.{way.group}", "name a field that rows have under meta"
        raise InvalidInput("nothing was written", [Problem("--group-by", says, cure)])
    if way.stratify and not any(labels.names):
        says, cure = f"no row has {way.stratify}", "name a field of meta or of the JSON answers"
        raise InvalidInput("nothing was written", [Problem("--stratify", says, cure)])
    joined = Clusters(len(labels))
    for first, again in chain(shared.again(), index.equal()):
        joined.join(first, again)
    for pair in index.pairs(lambda left, right: joined.of(left) == joined.of(right)):
        joined.join(pair.left, pair.right)
    return joined.names(), labels


class _Shared:
    """Rows that share a value of a field of `meta`; the values lie on disk, by their hashes."""

    def __init__(self, field: str) -> None:
        self._field = field
        self._values = Spool([("value", "u8"), ("row", "u4")])
        self._waiting: list[tuple[int, int]] = []
        self.any = False

    def see(self, row: int, meta: Mapping[str, object]) -> None:
        value = meta.get(self._field) if self._field else None
        if value is not None:
            self.any = True
            self._waiting.append((hash(json.dumps(value, sort_keys=True)) & (1 << 64) - 1, row))
            if len(self._waiting) >= _BATCH:
                self._flush()

    def again(self) -> Iterator[tuple[int, int]]:
        """Each row whose value came before, behind the first that has it."""
        self._flush()
        return self._values.again()

    def _flush(self) -> None:
        if self._waiting:
            self._values.add(*zip(*self._waiting, strict=True))
            self._waiting = []


def _label(labels: dict[str, str], meta: dict[str, object], answer: str, field: str) -> str:
    if not field:
        return next(iter(labels.values()), "")
    value = labels.get(field, meta.get(field.removeprefix("meta.")))
    if value is None and answer.lstrip().startswith("{"):
        try:
            value = json.loads(answer).get(field)
        except (ValueError, AttributeError):
            value = None
    return "" if value is None else str(value)


def _counts(sides: Sequence[Side], rows: int) -> list[int]:
    """Rows wanted of each side. Raises `InvalidInput` when there are too few."""
    counts = [side.size if side.size is None or side.size >= 1 else round(side.size * rows) for side in sides]
    asked = int(sum(count or 0 for count in counts))
    rest = [n for n, count in enumerate(counts) if count is None]
    if asked + len(rest) > rows:
        raise InvalidInput(
            "nothing was written", [Problem("the sizes", f"{asked:,} rows are asked of {rows:,}", "ask for fewer")]
        )
    for n in rest:
        counts[n] = (rows - asked) // len(rest)
    if not rest:  # shares that make up less than the whole are shares of it
        counts = [round((count or 0) * rows / asked) for count in counts]
    wanted = [int(count or 0) for count in counts]
    wanted[wanted.index(max(wanted))] += rows - sum(wanted)
    return wanted


def _write(source: Path, files: Sequence[IO[bytes]], placed: bytearray) -> None:
    table = _suffix(source) in SEPARATORS
    for file in files if table else ():
        file.write(_header(source))
    count = 0
    for _, record in Reading(source).records():
        if count < len(placed):
            files[placed[count]].write(_line(record, table=table))
        count += 1
    if count != len(placed):
        raise InvalidInput(f"{source} changed while it was read; nothing was written")


def _line(record: Record, *, table: bool) -> bytes:
    """The row as it stands. JSON over several lines is drawn onto one; what was no text becomes JSON."""
    text = record.text.rstrip("\n") if table else record.text.strip().replace("\n", " ")
    return f"{text or json.dumps(record.value, ensure_ascii=False)}\n".encode()


def _header(source: Path) -> bytes:
    from lifecycle.rows import sources

    def first() -> Iterator[str]:
        for _, text in sources.source(source).lines():
            yield str(text)

    lines = ""
    for text in first():
        lines += text
        if lines.count('"') % 2 == 0:  # a name in quotes may hold a line feed
            break
    return f"{lines.rstrip(chr(10))}\n".encode()
