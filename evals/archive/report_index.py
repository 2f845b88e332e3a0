"""What lists of evaluations show, kept in memory: a folder is read again when its files are others, and a report of the
registry when it has more verdicts.

Hundreds of reports have hundreds of megabytes of examples and slices; a line of a list has none of them. `library.py`
is for one look at the registry, this for whoever looks often. Safe to use from several threads.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, TypeGuard

from pydantic import ValidationError

from evals.archive import items
from evals.archive.history import name_of
from evals.archive.items import plain
from evals.archive.library import Kept, Word, imports_of
from lifecycle.errors import DabtError, InvalidInput, NotFound
from lifecycle.interval import Interval
from lifecycle.version import Digest

if TYPE_CHECKING:
    from lifecycle.home import Home
    from lifecycle.registry import Registry

_FILES = ("evaluation.json", "report.json", "verdicts.json", items.FILE)
_SHORT = 12
"""Letters of a digest that an address has."""


@dataclass(frozen=True, slots=True)
class ArmLine:
    arm: str
    ref: str
    """The arm's label again where no version stands behind it."""
    version_digest: Digest
    figure: Interval
    word: Word | None
    """None where it was not judged."""


@dataclass(frozen=True)
class Slim(Kept):
    """A report without what is large in it, for `history.py`; its digest is that of the whole one."""

    digest: Digest

    @property
    def name(self) -> str:
        return self.digest.removeprefix("sha256:")[:_SHORT]

    @classmethod
    def of(cls, kept: Kept, digest: Digest) -> Slim:
        report = kept.report
        arms = tuple(arm.model_copy(update={"tables": {}, "unscored": {}}) for arm in report.arms)
        less = {
            "arms": arms,
            "comparisons": (),
            "slices": (),
            "people": (),
            "advice": (),
            "grounds": (),
            "examples": (),
        }
        return cls(report.model_copy(update=less), kept.verdicts, kept.folder, digest)


@dataclass(frozen=True, slots=True)
class ReportLine:
    """A report in a list."""

    digest: Digest
    at: datetime
    task: str
    n_items: int
    metric: str
    arms: tuple[ArmLine, ...]
    provisional: bool
    tool: str
    """Which measured it; "" for our own."""
    folder: Path | None
    """None where it is in the registry alone."""
    has_items: bool
    slim: Slim = field(compare=False, repr=False)

    @property
    def id(self) -> str:
        return self.digest.removeprefix("sha256:")[:_SHORT]

    @property
    def names(self) -> frozenset[str]:
        """Of the versions that it measured. What another tool measured is no version of ours."""
        return frozenset() if self.tool else frozenset(name for arm in self.arms if (name := name_of(arm.ref)))

    @classmethod
    def of(cls, kept: Kept, digest: Digest, folder: Path | None) -> ReportLine:
        report = kept.report
        arms = tuple(
            ArmLine(arm.arm, arm.ref, arm.version_digest, arm.metrics[report.metric], kept.word(arm))
            for arm in report.arms
        )
        tool = report.imported.tool if report.imported else ""
        has_items = folder is not None and kept.has_items
        return cls(digest, report.created_at, report.task, report.n_items, report.metric, arms,
                   bool(report.provisional), tool, folder, has_items, Slim.of(kept, digest))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A folder, or a report of the registry, of which nothing can be shown."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Sought:
    """Which lines a list shows. All that is given must hold."""

    words: str = ""
    """Each of them is in the task, in an arm's label or version, in the tool's name, or begins the digest."""
    since: date | None = None
    until: date | None = None
    """The days themselves are in, as UTC has them."""
    word: Word | None = None

    def takes(self, line: ReportLine) -> bool:
        day = line.at.date()
        if (self.since and day < self.since) or (self.until and day > self.until):
            return False
        if self.word is not None and self.word not in {arm.word for arm in line.arms}:
            return False
        if not self.words:
            return True
        there = plain("\n".join([line.task, line.tool, *(f"{arm.arm}\n{arm.ref}" for arm in line.arms)]))
        digest = line.digest.removeprefix("sha256:")
        return all(
            plain(word) in there or digest.startswith(word.removeprefix("sha256:").lower())
            for word in self.words.split()
        )


@dataclass(frozen=True, slots=True)
class _Read:
    stamp: tuple[object, ...]
    line: ReportLine | Unreadable


@dataclass
class ReportIndex:
    """`lines` after `look` (folders) and `ask` (the registry) is all that there is, newest first."""

    home: Home
    _folders: dict[Path, _Read] = field(default_factory=dict)
    _of_registry: dict[Digest, _Read] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def look(self) -> None:
        """Reads the folders that are new or changed, and forgets those that are gone."""
        places = [*_folders_in(self.home.evaluations, imports_of(self.home)), *_folders_in(imports_of(self.home))]
        with self._lock:
            stamps = {place: _stamp(place) for place in places}
            for place in [place for place in self._folders if place not in stamps]:
                del self._folders[place]
            for place, stamp in stamps.items():
                known = self._folders.get(place)
                if known is None or known.stamp != stamp:
                    self._folders[place] = _Read(stamp, _line_of(place))

    def ask(self, registry: Registry) -> None:
        """Reads the reports of the registry of which no folder is here, and whether others were judged since."""
        listings = registry.listings
        given = listings.report_digests()
        with self._lock:
            for digest in [digest for digest in self._of_registry if digest not in given]:
                del self._of_registry[digest]
            for digest, verdicts in given.items():
                known = self._of_registry.get(digest)
                if known is not None and known.stamp == (verdicts,):
                    continue
                self._of_registry[digest] = _Read((verdicts,), _asked(registry, digest))

    @property
    def lines(self) -> list[ReportLine]:
        """Newest first. A report that is in a folder and in the registry is one."""
        with self._lock:
            reads = [*self._of_registry.values(), *self._folders.values()]
        by_digest = {read.line.digest: read.line for read in reads if isinstance(read.line, ReportLine)}
        return sorted(by_digest.values(), key=lambda line: (line.at, line.digest), reverse=True)

    @property
    def unreadable(self) -> list[Unreadable]:
        """By name. What cannot be read in the registry and can be in its folder is not among them."""
        with self._lock:
            folders, asked = list(self._folders.values()), list(self._of_registry.items())
        there = {read.line.digest for read in folders if isinstance(read.line, ReportLine)}
        told = [read.line for read in folders if isinstance(read.line, Unreadable)]
        told += [read.line for digest, read in asked if isinstance(read.line, Unreadable) and digest not in there]
        return sorted(told, key=lambda it: it.what)

    def stamp(self, line: ReportLine) -> object:
        """Another one when what the line was read from is another."""
        with self._lock:
            read = self._of_registry.get(line.digest) if line.folder is None else self._folders.get(line.folder)
            return read.stamp if read else None

    def find(self, id_: str, among: Iterable[ReportLine]) -> ReportLine:
        """By the beginning of its digest. Raises `NotFound`, and `InvalidInput` when several begin so."""
        short = id_.removeprefix("sha256:").lower()
        there = [line for line in among if short and line.digest.removeprefix("sha256:").startswith(short)]
        if not there:
            raise NotFound(f"no evaluation {id_[:80]} is kept here; the list of reports shows what there is")
        if len(there) > 1:
            several = ", ".join(line.id for line in there[:5])
            raise InvalidInput(f"several reports begin with {id_[:80]}: {several}; write more of the digest")
        return there[0]


def _folders_in(place: Path, *left_out: Path) -> list[Path]:
    try:
        with os.scandir(place) as entries:
            return [path for entry in entries if entry.is_dir() and (path := Path(entry.path)) not in left_out]
    except FileNotFoundError:
        return []


def _stamp(folder: Path) -> tuple[object, ...]:
    stamps: list[object] = []
    for name in _FILES:
        try:
            told = os.stat(folder / name)
            stamps.append((told.st_mtime_ns, told.st_size))
        except OSError:
            stamps.append(None)
    return tuple(stamps)


def _line_of(folder: Path) -> ReportLine | Unreadable:
    from evals.report import stored

    if not any((folder / name).is_file() for name in _FILES[:2]):
        return Unreadable(
            str(folder), f"it has neither {_FILES[0]} nor {_FILES[1]}: copy the whole folder, or remove it"
        )
    try:
        evaluation = stored.read(folder)
        kept = Kept(evaluation.report, evaluation.verdicts, folder)
        return ReportLine.of(kept, evaluation.report.digest, folder)
    except (DabtError, OSError) as error:
        cause = error.__cause__
        first = next(iter(cause.errors(include_url=False, include_input=False)), None) if _is_told(cause) else None
        where = ".".join(map(str, first["loc"])) if first else ""
        more = f" ({f'{where}: ' if where else ''}{first['msg']})" if first else ""
        return Unreadable(str(folder), f"{error}{more}")


def _is_told(cause: BaseException | None) -> TypeGuard[ValidationError]:
    return isinstance(cause, ValidationError)


def _asked(registry: Registry, digest: Digest) -> ReportLine | Unreadable:
    listed = registry.listings.reports(digest=digest)
    for row in listed.rows:
        return ReportLine.of(Kept(row.report, row.verdicts, Path()), digest, None)
    why = next((left_out.why for left_out in listed.left_out), "it is gone")
    return Unreadable(digest, f"this release cannot read it: {why}")
