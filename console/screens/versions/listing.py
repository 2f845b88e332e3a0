"""All versions as a list that is searched and paged: from memory, so that ten thousand cost no more than ten.

The rows are made once for a snapshot of the registry, and those of a name that did not change are taken over. What is
asked for is looked for in them in a thread, which takes a few milliseconds at ten thousand.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, get_args

from fastapi import APIRouter, Request
from starlette.responses import Response

from console.language import N_
from console.paging import Paging
from console.rendering import show
from console.viewer import Viewer, viewer_of
from lifecycle.access.keys import Role
from lifecycle.aliases import Alias
from lifecycle.states import CALLABLE, State
from lifecycle.version import ArmKind, Version
from service.catalogue import EMPTY, Catalogue, Snapshot

STATE_WORDS = {
    State.DRAFT: N_("draft"),
    State.EVALUATED: N_("evaluated"),
    State.APPROVED: N_("approved"),
    State.DOUBTED: N_("doubted"),
    State.REJECTED: N_("rejected"),
    State.RETIRED: N_("retired"),
}
_KINDS_OF_READERS = 64
"""Sets of patterns of keys whose rows are kept for a snapshot."""

router = APIRouter(prefix="/ui/versions")


@dataclass(frozen=True, slots=True)
class VersionRow:
    """With what is looked at for each of ten thousand kept apart from the version, whose properties cost more."""

    version: Version
    aliases: tuple[tuple[str, float], ...]
    """Those that point at it, with its share."""
    words: str
    """What a search looks in, in lower case."""
    state: str
    kind: str
    base: str
    order: tuple[float, int]
    """The newest is the largest."""
    is_callable: bool
    """Whether a caller's key may know of it: what it may call."""


@dataclass(frozen=True, slots=True)
class VersionQuery:
    """What of the list is asked for, as the address says it."""

    q: str = ""
    state: str = ""
    kind: str = ""
    base: str = ""
    """A fingerprint."""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> VersionQuery:
        return cls(**{name: query.get(name, "").strip() for name in ("q", "state", "kind", "base")})


class Listing:
    """Of one snapshot."""

    def __init__(self, snapshot: Snapshot, catalogue: Catalogue, before: Listing | None) -> None:
        self.snapshot = snapshot
        self._of_name: dict[str, tuple[Any, Any, tuple[VersionRow, ...]]] = {}
        fresh: list[VersionRow] = []
        changed: set[str] = set()
        known = before._of_name if before is not None else {}
        for name, numbers in snapshot.versions.items():
            aliases = snapshot.aliases.get(name)
            if name in known and known[name][0] is numbers and known[name][1] is aliases:
                self._of_name[name] = known[name]
                continue
            changed.add(name)
            self._of_name[name] = (numbers, aliases, _rows(numbers, aliases or {}))
            fresh += self._of_name[name][2]
        kept = before._rows if before is not None else ()
        gone = changed | (known.keys() - self._of_name.keys())
        # Nearly in order already, which sorting makes use of.
        rows = [row for row in kept if row.version.name not in gone] if gone else list(kept)
        self._rows: tuple[VersionRow, ...] = tuple(sorted([*rows, *fresh], key=attrgetter("order"), reverse=True))
        self._seen: dict[object, tuple[VersionRow, ...]] = {}
        known_bases = {digest: name for digest, name in before.bases.items() if name} if before is not None else {}
        self.bases: dict[str, str] = {**_bases(fresh, catalogue), **known_bases}
        """Name of every base, by its fingerprint, where an artifact says it."""

    def seen(self, viewer: Viewer) -> tuple[VersionRow, ...]:
        """Newest first: of names that the key covers, and for a caller what it may call."""
        everything = viewer.may(Role.EVALUATOR)
        models = None if viewer.key is None or "*" in viewer.key.models else viewer.key.models
        if (everything, models) not in self._seen:
            if len(self._seen) >= _KINDS_OF_READERS:
                self._seen.clear()
            rows = self._rows
            if models is not None:
                names = {name for name in self._of_name if viewer.sees(name)}
                rows = tuple(row for row in rows if row.version.name in names)
            self._seen[everything, models] = rows if everything else tuple(row for row in rows if row.is_callable)
        return self._seen[everything, models]

    def chosen(self, asked: VersionQuery, viewer: Viewer) -> Sequence[VersionRow]:
        """What of it was asked for, newest first."""
        rows: Sequence[VersionRow] = self.seen(viewer)
        if asked.state:
            rows = [row for row in rows if row.state == asked.state]
        if asked.kind:
            rows = [row for row in rows if row.kind == asked.kind]
        if asked.base:
            rows = [row for row in rows if row.base == asked.base]
        for word in asked.q.lower().split():
            rows = [row for row in rows if word in row.words]
        return rows


def _rows(numbers: Mapping[int, Version], aliases: Mapping[str, Alias]) -> tuple[VersionRow, ...]:
    behind: dict[int, list[tuple[str, float]]] = {}
    for alias in aliases.values():
        for target in alias.targets:
            behind.setdefault(target.number, []).append((alias.alias, target.weight))
    return tuple(_row(version, tuple(behind.get(number, ()))) for number, version in numbers.items())


def _row(version: Version, aliases: tuple[tuple[str, float], ...]) -> VersionRow:
    spec, lineage = version.spec, version.lineage
    made = spec.artifact[1] if spec.artifact is not None else ""
    knowledge = spec.knowledge.index if spec.knowledge is not None else ""
    words = (version.ref, version.digest, made, knowledge, spec.base, lineage.run, lineage.data_digest)
    return VersionRow(
        version,
        aliases,
        " ".join([*words, *(alias for alias, _ in aliases)]).lower(),
        version.state.value,
        spec.kind,
        spec.base,
        (version.created_at.timestamp(), version.number),
        bool(aliases) or version.state in CALLABLE,
    )


def _bases(rows: Sequence[VersionRow], catalogue: Catalogue) -> dict[str, str]:
    """One artifact of each base tells its name."""
    named: dict[str, str] = {}
    for row in rows:
        if named.get(row.base):
            continue
        made = row.version.spec.artifact
        left_out = made is None or ("artifact", made[1]) in catalogue.snapshot.left_out
        manifest = None if made is None or left_out else catalogue.known_manifest(made[1])
        named[row.base] = manifest.base_name if manifest is not None else ""
    return named


class VersionList:
    """The listing of the newest snapshot. Safe in any thread."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._lock = threading.Lock()
        self._listing: Listing | None = None

    def now(self) -> Listing:
        with self._lock:
            snapshot = self._catalogue.snapshot
            if self._listing is None or self._listing.snapshot is not snapshot:
                self._listing = Listing(snapshot, self._catalogue, self._listing)
            return self._listing


def list_of(request: Request) -> VersionList:
    """Of the service that this page belongs to."""
    state = request.app.state
    if not hasattr(state, "version_list"):
        state.version_list = VersionList(state.parts.catalogue)
    versions: VersionList = state.version_list
    return versions


@router.get("")
async def versions(request: Request) -> Response:
    asked, viewer, known = VersionQuery.of(request.query_params), viewer_of(request), list_of(request)
    base = request.app.state.parts.base

    def look() -> tuple[Listing, Sequence[VersionRow]]:
        listing = known.now()
        return listing, listing.chosen(asked, viewer)

    listing, chosen = await asyncio.to_thread(look)
    paged = Paging.of(request.query_params.get("page", ""), len(chosen), request.url)
    bases = {**listing.bases, base.digest: base.name} if listing.bases else {}
    return show(
        request,
        "versions/list.html",
        asked=asked,
        paged=paged,
        rows=paged.of_all(chosen),
        bases=bases,
        here_base=base,
        states=STATE_WORDS,
        kinds=get_args(ArmKind),
        unread=listing.snapshot is EMPTY,
        left_out=[row.ref for row in listing.snapshot.left_out.values() if row.kind == "version"],
    )
