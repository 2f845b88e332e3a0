"""What the registry has on one version: evaluations, verdicts, trail, use. Read in a thread, within a few queries.

What of it cannot be read (the registry is away, or another release wrote it) is left out, and `problem` says why: the
recipe itself is in memory and is shown all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial
from typing import TypeVar

from lifecycle.access.usage import Usage
from lifecycle.errors import DabtError, NotFound
from lifecycle.gates import Gate
from lifecycle.manifests import Manifest
from lifecycle.registry import Registry
from lifecycle.registry.audit import AuditEntry
from lifecycle.registry.listings import ReportRow
from lifecycle.registry.records import IndexRecord
from lifecycle.report import ArmResult
from lifecycle.standing import objections
from lifecycle.states import State
from lifecycle.verdict import Verdict
from lifecycle.version import Digest, Version

NEWEST_REPORTS = 5
_ENTRIES = 200
"""Of the trail, of the version and of each alias of its name."""
DAYS = 30
"""Of use, today included."""

T = TypeVar("T")


@dataclass(slots=True)
class Reading:
    manifest: Manifest | None = None
    index: IndexRecord | None = None
    reports: tuple[ReportRow, ...] = ()
    """The newest that name the version, newest first."""
    verdicts: Sequence[Verdict] = ()
    """Newest first."""
    gate: Gate | None = None
    objections: Sequence[str] = ()
    """What stands between it and its `prod`."""
    doubt: str | None = None
    trail: Sequence[AuditEntry] = ()
    """Newest first: of the version, and moves of aliases to it and away from it."""
    uses: Sequence[Usage] = ()
    problem: str = ""
    unread: list[str] = field(default_factory=list)
    """What another release wrote, by name."""

    def figures(self, version: Version) -> list[tuple[ReportRow, ArmResult]]:
        """The version's own arm in each report, by its digest."""
        told = []
        for row in self.reports:
            arm = next((arm for arm in row.report.arms if arm.version_digest == version.digest), None)
            if arm is not None:
                told.append((row, arm))
        return told

    def moves(self) -> list[AuditEntry]:
        return [entry for entry in self.trail if entry.action in MOVES]


MOVES = frozenset({"alias.move", "alias.force", "alias.rollback"})


def read(
    registry: Registry,
    version: Version,
    manifest: Callable[[str], Manifest],
    aliases: Sequence[str],
    evaluations: Sequence[Digest],
    *,
    inside: bool,
    use_of: str | None,
    today: date,
) -> Reading:
    """`evaluations` are the newest that have it as an arm. `inside` is whether the reader may know how it was decided
    on; `use_of` the key whose use is told, or None for every key's."""
    told = Reading()

    def tried(look: Callable[[], T], otherwise: T) -> T:
        try:
            return look()
        except NotFound:
            return otherwise
        except DabtError as error:
            told.problem = told.problem or str(error)
            return otherwise

    if (made := version.spec.artifact) is not None:
        told.manifest = tried(lambda: manifest(made[1]), None)
    if version.spec.knowledge is not None:
        index = version.spec.knowledge.index
        told.index = tried(lambda: registry.index(index), None)
    since = today - timedelta(days=DAYS - 1)
    told.uses = tried(lambda: registry.usage.between(since, None, use_of, version.ref), [])
    if not inside:
        return told
    listed = tried(lambda: registry.listings.reports(digests=evaluations), None) if evaluations else None
    if listed is not None:
        told.reports, told.unread = listed.rows, [row.ref for row in listed.left_out]
    told.verdicts = tried(lambda: registry.verdicts(version.ref), [])
    told.gate = tried(lambda: registry.gate(version.name), None)
    if not told.problem and version.state is not State.RETIRED:
        told.objections = objections(told.gate, version, told.verdicts)
    told.doubt = tried(lambda: registry.doubt(version.ref), None)
    none: list[AuditEntry] = []
    entries = tried(lambda: registry.audit(version.ref, _ENTRIES), none)
    for alias in aliases:
        of_alias = tried(partial(registry.audit, f"{version.name}:{alias}", _ENTRIES), none)
        entries = [*entries, *(entry for entry in of_alias if _concerns(entry, version))]
    told.trail = sorted(entries, key=lambda entry: -entry.id)
    return told


def _concerns(entry: AuditEntry, version: Version) -> bool:
    """Whether a move gave it a share or took one away."""
    if entry.action not in MOVES:
        return False
    before, after = (entry.detail.get(side) or {} for side in ("from", "to"))
    return bool(before.get(version.ref) != after.get(version.ref))
