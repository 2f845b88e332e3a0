"""What a service keeps a copy of, as it changes: `registry.changes`. Read `service/catalogue.py` for who keeps it.

The trail says what each change was about, so only that is read again; a trail that does not go on from where the reader
was (another registry, or one put back from a copy) means reading all. What this release cannot read is left out and
named. Keys are read on their own: one that was revoked must be refused whatever became of everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, Row, select, tuple_

from lifecycle.access.keys import ApiKey
from lifecycle.aliases import Alias
from lifecycle.manifests import MANIFESTS, Manifest
from lifecycle.registry import alias_stack, keyring, readable, records, tables
from lifecycle.registry.database import Database
from lifecycle.registry.hints import Hints
from lifecycle.registry.pin_book import PINNED, UNPINNED, pins
from lifecycle.registry.readable import LeftOut
from lifecycle.version import Digest, Frozen, Version

OF_VERSIONS = frozenset({"version.create", "version.state"})
OF_ALIASES = frozenset({"alias.move", "alias.force", "alias.rollback", "alias.policy"})
OF_KEYS = frozenset({"key.create", "key.revoke"})
OF_ARTIFACTS = frozenset(f"{kind}.golden" for kind in MANIFESTS)
OF_PINS = frozenset({PINNED, UNPINNED})
OF_NOTHING_KEPT = frozenset(
    {
        *(f"{kind}.add" for kind in MANIFESTS),
        *("index.add", "report.record", "verdict.record", "gate.set", "alias.stuck"),
        *("file.add", "file.delete", "file.purge", "job.create", "job.state", "job.take"),
        *("upload.create", "upload.completed", "upload.cancelled", "checkpoint.expire", "model.delete"),
        "artifact.collect",
    }
)
"""What these change is not kept, or never changes once it is there. An action that is none of all these is one of
another release: then everything is read again."""

_MOST = 2000
"""Changes beyond which reading all is less work than picking them out."""
_PAIRS_AT_ONCE = 500

T = TypeVar("T")


class Mark(Frozen):
    """How far the trail has been read: its newest entry's id, and its moment, which tells one trail from another."""

    revision: int
    at: datetime | None = None
    """None for a trail without an entry."""


@dataclass(frozen=True, slots=True)
class Changes(Generic[T]):
    """What to put into a copy, as it was at `mark`."""

    mark: Mark
    whole: bool
    """Everything there is: what is not named is gone."""
    now: T
    left_out: tuple[LeftOut, ...]
    """In the place of what was kept under the same name."""


@dataclass(frozen=True, slots=True)
class Keys:
    readable: tuple[ApiKey, ...]
    unreadable: tuple[tuple[Digest, str], ...]
    """The digest of the secret and the id of those that are left out."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What can be called."""

    versions: tuple[Version, ...]
    aliases: tuple[Alias, ...]
    artifacts: tuple[Digest, ...]
    """Whose manifest was changed."""
    pins: tuple[str, ...] | None = None
    """All of them; None where they are as before."""


class ChangeReader:
    """Each method is one transaction, and so one moment of the registry."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def hints(self, changed: Callable[[], object]) -> Hints:
        """Calls `changed` soon after a change, from its `start` to its `stop`; poll all the same (`hints.py`)."""
        return Hints(self._database, changed)

    def newest(self) -> Mark:
        with self._database.read() as tx:
            return _newest(tx)

    def keys(self, since: Mark | None) -> Changes[Keys]:
        with self._database.read() as tx:
            mark, entries = _entries(tx, since)
            ids = _subjects(entries, OF_KEYS) if entries is not None else None
            keys, left_out = _keys(tx, ids)
            return Changes(mark, ids is None, keys, left_out)

    def traffic(self, since: Mark | None) -> Changes[Traffic]:
        with self._database.read() as tx:
            mark, entries = _entries(tx, since)
            of_versions = _subjects(entries, OF_VERSIONS) if entries is not None else None
            of_aliases = _subjects(entries, OF_ALIASES) if entries is not None else None
            of_now, aliases_left_out = aliases(tx, of_aliases)
            there, versions_left_out = versions(tx, of_versions)
            pinned = pins(tx) if entries is None or _subjects(entries, OF_PINS) else None
            now = Traffic(tuple(there), tuple(of_now), tuple(_subjects(entries or (), OF_ARTIFACTS)), pinned)
            return Changes(mark, entries is None, now, (*aliases_left_out, *versions_left_out))

    def manifests(self, digests: Sequence[Digest]) -> tuple[list[Manifest], list[LeftOut]]:
        """Of those that are registered."""
        with self._database.read() as tx:
            fetched, unfetched = readable.rows(tx, select(tables.artifacts), tables.artifacts.c.digest, digests)
            return readable.nouns("artifact", fetched, unfetched, records.to_manifest, lambda row: str(row.digest))


def _newest(tx: Connection) -> Mark:
    newest = select(tables.audit.c.id, tables.audit.c.at).order_by(tables.audit.c.id.desc()).limit(1)
    row = tx.execute(newest).first()
    return Mark(revision=0) if row is None else Mark(revision=row.id, at=row.at)


def _entries(tx: Connection, since: Mark | None) -> tuple[Mark, Sequence[Row[Any]] | None]:
    """What the trail says of the changes since then; None where it cannot say it, and all is to be read."""
    mark = _newest(tx)
    if since is None or since.at is None or mark.revision - since.revision > _MOST:
        return mark, None
    columns = (tables.audit.c.id, tables.audit.c.at, tables.audit.c.action, tables.audit.c.subject)
    query = select(*columns).where(tables.audit.c.id >= since.revision).order_by(tables.audit.c.id)
    known, *entries = [*tx.execute(query)] or [None]
    if known is None or (known.id, known.at) != (since.revision, since.at):
        return mark, None
    every_known = OF_VERSIONS | OF_ALIASES | OF_KEYS | OF_ARTIFACTS | OF_PINS | OF_NOTHING_KEPT
    return mark, entries if all(entry.action in every_known for entry in entries) else None


def _subjects(entries: Iterable[Row[Any]], actions: frozenset[str]) -> list[str]:
    return list(dict.fromkeys(str(entry.subject) for entry in entries if entry.action in actions))


def _keys(tx: Connection, ids: list[str] | None) -> tuple[Keys, tuple[LeftOut, ...]]:
    """Of those ids, or of all."""
    keys, left_out = keyring.read(tx, ids)
    table = tables.api_keys
    digests, _ = readable.rows(tx, select(table.c.id, table.c.digest), table.c.id, [key.ref for key in left_out])
    return Keys(tuple(keys), tuple((row.digest, row.id) for row in digests)), tuple(left_out)


def versions(tx: Connection, refs: list[str] | None) -> tuple[list[Version], list[LeftOut]]:
    """Of those refs, or all; and what cannot be read."""
    table = tables.versions
    places = select(table.c.id, table.c.name, table.c.number)
    named: dict[int, str] = {}
    for row in _picked(tx, places, (table.c.name, table.c.number), refs):
        named[row.id] = f"{row.name}:{row.number}"
    fetched, unfetched = readable.rows(tx, select(table), table.c.id, list(named))
    return readable.nouns(
        "version", fetched, [named[id_] for id_ in unfetched], records.to_version, lambda row: named[row.id]
    )


def aliases(tx: Connection, refs: list[str] | None) -> tuple[list[Alias], list[LeftOut]]:
    """Of those refs, or all; and what cannot be read.

    An alias whose policy cannot be read shares its requests out all the same, and does nothing else.
    """
    policies, left_out = _policies(tx, refs)
    table = tables.aliases
    named: dict[int, str] = {}
    for row in _picked(tx, select(table), (table.c.name, table.c.alias), refs):
        named[row.move] = f"{row.name}:{row.alias}"
    fetched, unfetched = readable.rows(tx, select(tables.moves), tables.moves.c.id, list(named))

    def to_alias(row: Row[Any]) -> Alias:
        ref = named[row.id]
        try:
            return alias_stack.to_alias(tx, row, policies.get(ref, {}))
        except Exception as error:  # it may be the policy's fault, or an earlier move's
            if ref not in policies:
                raise
            alias = alias_stack.to_alias(tx, row, {})
            left_out.append(LeftOut(kind="policy", ref=ref, why=readable.why(error)))
            return alias

    known, unread = readable.nouns(
        "alias", fetched, [named[id_] for id_ in unfetched], to_alias, lambda row: named[row.id]
    )
    return known, left_out + unread


def _policies(tx: Connection, refs: list[str] | None) -> tuple[dict[str, Any], list[LeftOut]]:
    table = tables.policies
    newest = select(table.c.id, table.c.name, table.c.alias).where(table.c.id.in_(alias_stack.newest_policies()))
    named = {row.id: f"{row.name}:{row.alias}" for row in _picked(tx, newest, (table.c.name, table.c.alias), refs)}
    fetched, unfetched = readable.rows(tx, select(table.c.id, table.c.body), table.c.id, list(named))
    left_out = [LeftOut(kind="policy", ref=named[id_], why=readable.UNFETCHED) for id_ in unfetched]
    return {named[row.id]: row.body for row in fetched}, left_out


def _picked(tx: Connection, query: Any, columns: tuple[Any, Any], refs: list[str] | None) -> list[Row[Any]]:
    """The rows of those refs, by the two columns that a ref is made of; or all."""
    if refs is None:
        return list(tx.execute(query))
    pairs = [pair for ref in refs if (pair := _pair(ref, columns[1].type.python_type)) is not None]
    picked: list[Row[Any]] = []
    for at in range(0, len(pairs), _PAIRS_AT_ONCE):
        picked += tx.execute(query.where(tuple_(*columns).in_(pairs[at : at + _PAIRS_AT_ONCE])))
    return picked


def _pair(ref: str, kind: Callable[[str], Any]) -> tuple[str, Any] | None:
    """None for what is no ref: the trail is told what another release wrote too."""
    name, _, tail = ref.rpartition(":")
    try:
        return name, kind(tail)
    except ValueError:
        return None
