"""What lists of the registry show: all that this release can read, with what it cannot, by name: `registry.listings`.

A list decides nothing, so one row that another release wrote must not hide the rest. What decides reads by
`registry.py`, which raises.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, Text, cast, func, select, tuple_

from lifecycle.aliases import Alias
from lifecycle.gates import Gate
from lifecycle.registry import alias_stack, audit, changes, readable, records, tables
from lifecycle.registry.audit import AuditEntry
from lifecycle.registry.database import Database
from lifecycle.registry.readable import LeftOut
from lifecycle.registry.records import IndexRecord
from lifecycle.report import Report
from lifecycle.states import State
from lifecycle.verdict import Verdict
from lifecycle.version import Digest, Ref, Version

T = TypeVar("T")
_ENTRIES = 1000
"""Of the trail, at once."""


@dataclass(frozen=True, slots=True)
class Listed(Generic[T]):
    rows: tuple[T, ...]
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True, slots=True)
class VersionRow:
    """A version with what a list shows beside it."""

    version: Version
    aliases: tuple[Alias, ...]
    """Those that point at it."""
    verdicts: tuple[Verdict, ...]
    """Newest first."""
    doubt: str | None
    """Why it is doubted, in words."""


@dataclass(frozen=True, slots=True)
class ReportRow:
    """An evaluation with what was said of its arms."""

    report: Report
    verdicts: tuple[Verdict, ...]
    """In the order in which they were recorded."""


@dataclass(frozen=True, slots=True)
class AliasNow:
    """How an alias came to point where it does, and what is known of the versions behind it."""

    move: AuditEntry | None
    verdicts: Mapping[int, Verdict]
    """The newest of each version that has one, by its number."""
    doubts: Mapping[int, str]
    """Why a version is doubted, in words."""


@dataclass(frozen=True, slots=True)
class AliasRow:
    alias: Alias
    stuck: str | None
    """Why its canary, which broke a bound, is not rolled back."""


class Listings:
    """Each method is one transaction, and so one moment of the registry."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def indexes(self) -> list[IndexRecord]:
        """Every index of every name, the newest first."""
        with self._database.read() as tx:
            rows = tx.execute(select(tables.indexes).order_by(tables.indexes.c.created_at.desc()))
            return [records.to_index(row) for row in rows]

    def versions(self, name: str | None = None) -> Listed[VersionRow]:
        """By name and number."""
        with self._database.read() as tx:
            versions, left_out = changes.versions(tx, _refs(tx, tables.versions.c.name, tables.versions.c.number, name))
            aliases, unread = _aliases(tx, name)
            left_out += unread
            rows = []
            for version in sorted(versions, key=lambda version: (version.name, version.number)):
                verdicts, unread = _verdicts(tx, version)
                left_out += unread
                behind = tuple(a for a in aliases if a.name == version.name and version.number in a.numbers)
                doubt = audit.newest_of(tx, "version.state", version.ref) if version.state is State.DOUBTED else None
                rows.append(VersionRow(version, behind, tuple(verdicts), doubt.reason if doubt else None))
            return Listed(tuple(rows), tuple(left_out))

    def aliases(self, name: str | None = None) -> Listed[AliasRow]:
        """By name and alias."""
        with self._database.read() as tx:
            aliases, left_out = _aliases(tx, name)
            rows = tuple(AliasRow(alias, audit.stuck(tx, alias.ref)) for alias in aliases)
            return Listed(rows, tuple(left_out))

    def now(self, aliases: Sequence[Alias]) -> dict[str, AliasNow]:
        """Of each of the aliases, by its ref. What cannot be read of a verdict is left out."""
        refs = sorted({(alias.name, number) for alias in aliases for number in alias.numbers})
        with self._database.read() as tx:
            moves = audit.last_moves(tx, [alias.ref for alias in aliases])
            verdicts = _newest_verdicts(tx, refs)
            doubts = audit.newest_doubts(tx, [f"{name}:{number}" for name, number in refs])
        return {
            alias.ref: AliasNow(
                moves.get(alias.ref),
                {n: verdicts[alias.name, n] for n in alias.numbers if (alias.name, n) in verdicts},
                {n: doubts[ref] for n in alias.numbers if (ref := f"{alias.name}:{n}") in doubts},
            )
            for alias in aliases
        }

    def before(self, name: str, alias: str) -> Alias | None:
        """What a rollback would lead to; None when nothing came before. Raises `NotFound` for no such alias."""
        with self._database.read() as tx:
            return alias_stack.below(tx, name, alias)

    def rolled_back(self, actor: str, since: datetime) -> list[AuditEntry]:
        """By `actor`, among the newest 5,000 changes of the registry; newest first."""
        with self._database.read() as tx:
            return audit.rolled_back(tx, actor, since)

    def trail(self, *, after: int = 0, since: datetime | None = None, name: str | None = None) -> Iterator[AuditEntry]:
        """The changes whose ids are greater than `after`, and not from before `since`; oldest first, up to now.

        Read in parts, so that a trail of years needs no memory and holds up nobody.
        """
        while entries := self._part(after, since, name):
            yield from entries
            after = entries[-1].id

    def _part(self, after: int, since: datetime | None, name: str | None) -> list[AuditEntry]:
        with self._database.read() as tx:
            return audit.after(tx, after, since, name, _ENTRIES)

    def count_reports(self, task: str | None = None) -> int:
        """Of every task or of one, those that cannot be read among them."""
        table = tables.reports
        count = select(func.count()).select_from(table)
        with self._database.read() as tx:
            return int(tx.execute(count if task is None else count.where(table.c.task == task)).scalar_one())

    def report_digests(self) -> dict[Digest, int]:
        """Of all reports that are kept, those that cannot be read among them: how many verdicts there are on each."""
        table, given = tables.reports, tables.verdicts
        verdicts = func.count(given.c.id)
        counted = select(table.c.digest, verdicts).outerjoin(given, given.c.evaluation_digest == table.c.digest)
        with self._database.read() as tx:
            return {str(digest): int(n) for digest, n in tx.execute(counted.group_by(table.c.digest))}

    def reports(
        self,
        task: str | None = None,
        digest: str = "",
        *,
        digests: Sequence[Digest] | None = None,
        version: str | None = None,
        judged: bool = False,
        newest: int | None = None,
    ) -> Listed[ReportRow]:
        """Of every task or of one, and whose digest begins so; newest first. With `digests`, these and no others; with
        `version`, a ref or a name, not those that name it nowhere, for which all bodies are looked through; with
        `judged`, those with a verdict; with `newest`, the last so many of all these.

        The database looks for what is asked: of other reports nothing is read, and the body of one may be large.
        """
        table, given = tables.reports, tables.verdicts
        these = table.c.digest.startswith(digest, autoescape=True)
        if task is not None:
            these &= table.c.task == task
        if digests is not None:
            these &= table.c.digest.in_(digests)
        if version is not None:
            # As text: of a body that another release wrote, a database may refuse to look into the JSON.
            said = f'"{version}"' if ":" in version else f'"{version}:'
            these &= cast(table.c.body, Text).contains(said, autoescape=True)
        if judged:
            these &= table.c.digest.in_(select(given.c.evaluation_digest))
        if newest is not None:
            these = table.c.id.in_(select(table.c.id).where(these).order_by(table.c.id.desc()).limit(newest))
        wanted = select(table.c.id, table.c.digest).where(these)
        with self._database.read() as tx:
            named = {row.id: row.digest for row in tx.execute(wanted)}
            fetched, unfetched = readable.rows(tx, select(table), table.c.id, list(named))
            fetched.sort(key=lambda row: -int(row.id))
            reports, left_out = readable.nouns(
                "report", fetched, [named[id_] for id_ in unfetched], _with_digest, lambda row: str(row.digest)
            )
            of_these = select(given.c.id, given.c.digest).join(table, table.c.digest == given.c.evaluation_digest)
            here = {row.id: row.digest for row in tx.execute(of_these.where(these))}
            fetched, unfetched = readable.rows(tx, select(given), given.c.id, list(here))
            fetched.sort(key=lambda row: int(row.id))
            verdicts, unread = readable.nouns(
                "verdict", fetched, [here[id_] for id_ in unfetched], records.to_verdict, lambda row: str(row.digest)
            )
            of_report: dict[str, list[Verdict]] = {}
            for verdict in verdicts:
                of_report.setdefault(verdict.evaluation_digest, []).append(verdict)
            rows = tuple(ReportRow(report, tuple(of_report.get(digest, ()))) for digest, report in reports)
            return Listed(rows, (*left_out, *unread))

    def gates(self, name: str | None = None) -> Listed[Gate]:
        """Of every name that has one, or of `name`; by name."""
        table = tables.gates
        with self._database.read() as tx:
            newest = select(func.max(table.c.id).label("id"), table.c.name).group_by(table.c.name)
            if name is not None:
                newest = newest.where(table.c.name == name)
            named = {row.id: row.name for row in tx.execute(newest.order_by(table.c.name))}
            fetched, unfetched = readable.rows(tx, select(table), table.c.id, list(named))
            gates, left_out = readable.nouns(
                "gate", fetched, [named[id_] for id_ in unfetched], records.to_gate, lambda row: str(row.name)
            )
            return Listed(tuple(sorted(gates, key=lambda gate: gate.name)), tuple(left_out))


def _newest_verdicts(tx: Connection, refs: Sequence[tuple[str, int]]) -> dict[tuple[str, int], Verdict]:
    versions, table = tables.versions, tables.verdicts
    these = tuple_(versions.c.name, versions.c.number).in_(refs)
    newest = select(func.max(table.c.id)).join(versions, versions.c.id == table.c.version_id).where(these)
    ids = [row[0] for row in tx.execute(newest.group_by(table.c.version_id))]
    rows, _ = readable.rows(tx, select(table), table.c.id, ids)
    verdicts, _ = readable.nouns("verdict", rows, [], records.to_verdict, lambda row: str(row.digest))
    return {(ref.name, ref.number or 0): verdict for verdict in verdicts if (ref := Ref.parse(verdict.ref))}


def _with_digest(row: Any) -> tuple[str, Report]:
    """The digest that it was kept under, which an older release may have taken in another way."""
    return str(row.digest), records.to_report(row)


def _refs(tx: Connection, of_name: Any, tail: Any, name: str | None) -> list[str] | None:
    """Of all that have this name; None for everything there is."""
    if name is None:
        return None
    return [f"{name}:{row[0]}" for row in tx.execute(select(tail).where(of_name == name))]


def _aliases(tx: Connection, name: str | None) -> tuple[list[Alias], list[LeftOut]]:
    aliases, left_out = changes.aliases(tx, _refs(tx, tables.aliases.c.name, tables.aliases.c.alias, name))
    return sorted(aliases, key=lambda alias: (alias.name, alias.alias)), left_out


def _verdicts(tx: Connection, version: Version) -> tuple[list[Verdict], list[LeftOut]]:
    versions, table = tables.versions, tables.verdicts
    ids = select(table.c.id, table.c.digest).join(versions, versions.c.id == table.c.version_id)
    here = (versions.c.name == version.name) & (versions.c.number == version.number)
    named = {row.id: f"{row.digest} of {version.ref}" for row in tx.execute(ids.where(here))}
    fetched, unfetched = readable.rows(tx, select(table), table.c.id, list(named))
    fetched.sort(key=lambda row: -int(row.id))
    return readable.nouns(
        "verdict", fetched, [named[id_] for id_ in unfetched], records.to_verdict, lambda row: named[row.id]
    )
