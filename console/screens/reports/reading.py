"""The evaluations that a person may see: found in memory, and read where the event loop does not wait for it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Generic, TypeVar
from urllib.parse import quote, urlencode

from fastapi import Request
from starlette.datastructures import URL

from console.paging import Paging
from console.viewer import Viewer, viewer_of
from evals.archive.diff import ReportDiff
from evals.archive.item_index import Indexes, ItemIndex
from evals.archive.library import Kept, Library
from evals.archive.report_index import ReportIndex, ReportLine, Unreadable
from evals.report.evaluation import Evaluation
from evals.report.words import Words
from lifecycle.errors import DabtError, InvalidInput, NotFound
from lifecycle.home import Home
from lifecycle.registry import Registry
from lifecycle.report import ArmResult
from lifecycle.version import Ref, VersionSpec
from service.concurrency import Background, Bulkhead

T = TypeVar("T")
PLACE = "/ui/reports"
_AT_ONCE, _WAITING, _SECONDS = 3, 40, 120.0
_EVALUATIONS = 8
"""Whole evaluations that are kept in memory."""
_DIFFERENCES = 4
"""With every item whose score is another."""


@dataclass
class Archive:
    """One for the service. Evaluations are read by threads of their own kind."""

    home: Home
    registry: Registry
    index: ReportIndex
    items: Indexes = field(default_factory=Indexes)
    files: Bulkhead = field(default_factory=lambda: Bulkhead("evaluations", _AT_ONCE, _WAITING, _SECONDS))
    evaluations: OrderedDict[tuple[object, ...], Evaluation] = field(default_factory=OrderedDict)
    differences: OrderedDict[tuple[object, ...], ReportDiff] = field(default_factory=OrderedDict)
    background: Background = field(default_factory=Background)

    async def difference(self, key: tuple[object, ...], make: Callable[[], ReportDiff]) -> ReportDiff:
        """Made by a thread when it is asked for the first time: both reports are read through for it."""
        return await _remembered(self.differences, key, _DIFFERENCES, lambda: self.files.run(make))

    def read(self, line: ReportLine) -> Evaluation:
        """Of a folder, or of the registry, which another machine wrote into."""
        from evals.report import stored

        if line.folder is not None:
            return stored.read(line.folder)
        library = Library(self.registry, self.home)
        return library.find(line.digest).evaluation(library.policy_of)


@dataclass(frozen=True)
class Found:
    """All that the viewer may see, newest first."""

    lines: Sequence[ReportLine]
    unreadable: Sequence[Unreadable]
    problem: str
    """Why the registry could not be asked, or ""; the folders are there all the same."""


def report_words(request: Request) -> Words:
    """The sentences of reports, in the reader's language and digits."""
    preferences = viewer_of(request).preferences
    return Words.of(preferences.language, preferences.digits)


def archive_of(request: Request) -> Archive:
    state = request.app.state
    if not hasattr(state, "archive"):
        items = Indexes(cache=state.home.cache / "console" / "items")
        state.archive = Archive(state.home, state.registry, ReportIndex(state.home), items)
    archive: Archive = state.archive
    return archive


async def reports_of(request: Request) -> Found:
    archive, viewer, parts = archive_of(request), viewer_of(request), request.app.state.parts
    await archive.files.run(archive.index.look)
    problem = parts.catalogue.problem or ""
    if not problem:  # a registry that is known to be away is not waited for
        try:
            await parts.at_registry.run(archive.index.ask, archive.registry)
        except DabtError as error:
            problem = str(error)
    lines = [line for line in archive.index.lines if covers(viewer, line)]
    # A folder that cannot be read says not of which versions it is.
    told = archive.index.unreadable if viewer.key is None or "*" in viewer.key.models else []
    return Found(lines, told, problem)


def covers(viewer: Viewer, line: ReportLine) -> bool:
    """Whether the key covers all versions that the report names; one that names none is everybody's."""
    return all(viewer.sees(name) for name in line.names)


async def report_of(request: Request, id_: str) -> tuple[ReportLine, Evaluation]:
    """By the beginning of its digest. Raises `NotFound`, also for what the key does not cover."""
    archive = archive_of(request)
    line = archive.index.find(id_, (await reports_of(request)).lines)
    key = (line.digest, archive.index.stamp(line))
    threads = archive.files if line.folder else request.app.state.parts.at_registry
    read = _remembered(archive.evaluations, key, _EVALUATIONS, lambda: threads.run(archive.read, line))
    return line, await read


async def _remembered(
    known: OrderedDict[tuple[object, ...], T], key: tuple[object, ...], most: int, make: Callable[[], Awaitable[T]]
) -> T:
    """What is known under the key, or is made now; of all the `most` that were asked for last stay."""
    value = known[key] if key in known else await make()
    known[key] = value
    known.move_to_end(key)
    while len(known) > most:
        known.popitem(last=False)
    return value


def kept(line: ReportLine, evaluation: Evaluation) -> Kept:
    return Kept(evaluation.report, evaluation.verdicts, line.folder or evaluation.folder)


async def index_of(request: Request, line: ReportLine, evaluation: Evaluation) -> ItemIndex:
    """Raises `NotFound` when the items are on another machine, and `Corrupt`."""
    archive, report = archive_of(request), evaluation.report
    if line.folder is None or not line.has_items:
        raise NotFound("the items of this evaluation are on the machine that ran it: copy its folder to this one")
    arms = [arm.arm for arm in report.arms]
    return await archive.files.run(archive.items.of, line.folder, arms, report.of_items)


def spec_of(request: Request) -> Callable[[ArmResult], VersionSpec | None]:
    """The recipe of an arm's version, where the registry's snapshot has it."""
    snapshot = request.app.state.parts.catalogue.snapshot

    def spec(arm: ArmResult) -> VersionSpec | None:
        ref = _ref(arm.ref)
        version = snapshot.version(ref.name, ref.number) if ref and ref.number is not None else None
        return version.spec if version is not None and version.digest == arm.version_digest else None

    return spec


def version_link(ref: str) -> str:
    """Where a version is shown; "" for what is none."""
    parsed = _ref(ref)
    return f"/ui/versions/{quote(parsed.name, safe='')}/{parsed.number}" if parsed and parsed.number is not None else ""


def address(place: str, **asked: object) -> str:
    """Below /ui/reports, with what is asked for and not empty."""
    said = {name: str(value) for name, value in asked.items() if value not in ("", None, False, ())}
    return f"{PLACE}{place}" + (f"?{urlencode(said)}" if said else "")


def day(text: str) -> date | None:
    """Raises `InvalidInput`."""
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise InvalidInput(f"'{text[:40]}' is no day: write it as 2026-05-01") from None


@dataclass(frozen=True, slots=True)
class Paged(Generic[T]):
    """One page of many rows."""

    rows: Sequence[T]
    count: int
    page: int
    pages: int
    link: Callable[[int], str]

    @classmethod
    def of(cls, rows: Sequence[T], page: str, size: int, link: Callable[[int], str]) -> Paged[T]:
        """A page that is not there is the nearest that is."""
        paging = Paging.of(page, len(rows), URL(PLACE), size)
        return cls(paging.of_all(rows), len(rows), paging.page, paging.pages, link)


def _ref(text: str) -> Ref | None:
    try:
        return Ref.parse(text)
    except DabtError:
        return None
