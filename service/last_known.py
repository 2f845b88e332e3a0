"""What the registry held last, kept in the home: a service that starts while the registry is away answers from it.

A small SQLite file of its own, so that a change writes what changed, all of it or nothing. It holds no more than the
registry does: of API keys the digests of their secrets. What another release, or another registry, has left here is
not used. Read `catalogue.py` for when it is.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

from lifecycle.access.keys import ApiKey
from lifecycle.aliases import Alias
from lifecycle.manifests import MANIFESTS, Manifest
from lifecycle.registry.changes import Mark
from lifecycle.registry.readable import Kind, LeftOut
from lifecycle.registry.tables import SCHEMA_VERSION
from lifecycle.version import Digest, Frozen, Version

_FORMAT = 1
"""Of the rows here; one more with every change of it. They hold the registry's nouns, so its schema counts too."""
_WAIT = 5
"""Seconds for another service of this home to have written."""
_MAKE = (
    "DROP TABLE IF EXISTS mark",
    "DROP TABLE IF EXISTS kept",
    "CREATE TABLE mark (body TEXT NOT NULL)",
    "CREATE TABLE kept (kind TEXT, name TEXT, body TEXT NOT NULL, PRIMARY KEY (kind, name)) WITHOUT ROWID",
)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Known:
    """All that a service keeps of a registry."""

    mark: Mark
    """Of versions and aliases."""
    keys_mark: Mark
    versions: Mapping[str, Mapping[int, Version]]
    aliases: Mapping[str, Mapping[str, Alias]]
    keys: Mapping[Digest, ApiKey]
    unreadable_keys: Mapping[Digest, str]
    left_out: Mapping[tuple[Kind, str], LeftOut]
    manifests: Mapping[Digest, Manifest]
    pins: tuple[str, ...] = ()


NOTHING_KNOWN = Known(Mark(revision=-1), Mark(revision=-1), {}, {}, {}, {}, {}, {})


class _Stamp(Frozen):
    """Whose state it is, and of when."""

    format: int
    schema_version: int
    registry: str
    mark: Mark
    keys_mark: Mark
    written_at: datetime


class LastKnown:
    """Used by one thread at a time; several services may share the file."""

    def __init__(self, file: Path, registry: str) -> None:
        """`registry` is its URL without a password: the state of another one is not taken for this one's."""
        self._file = file
        self._registry = registry
        self._saved: Known | None = None
        """What is in the file, as far as this process knows."""
        self._failing = False

    @property
    def there(self) -> bool:
        """Whether something is kept; `load` says whether it can be used."""
        return self._file.is_file()

    def load(self) -> Known | None:
        """None where there is nothing, or nothing that this release can use; the log says why."""
        if not self.there:
            return None
        try:
            with closing(self._connect()) as connection:
                connection.execute("BEGIN")
                stamp = _stamp(connection)
                if why := self._fault(stamp):
                    log.warning("the last known state is not used", file=str(self._file), why=why)
                    return None
                known = _known(stamp, connection.execute("SELECT kind, name, body FROM kept"))
        except Exception as error:  # whatever is wrong with it, the service can do without
            why = f"it cannot be read ({type(error).__name__})"
            log.warning("the last known state is not used", file=str(self._file), why=why)
            return None
        self._saved = known
        log.warning("answering from the last known state", revision=stamp.mark.revision, written=stamp.written_at)
        return known

    def save(self, known: Known) -> None:
        """Never raises: a home that is full or read-only costs the state, and no request."""
        if known is self._saved:
            return
        try:
            self._write(known)
        except Exception as error:
            self._saved = None
            if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
                self._file.unlink(missing_ok=True)  # damaged: the next time writes all of it
            if not self._failing:
                why = f"{type(error).__name__}: {error}"
                log.warning("the last known state cannot be kept", file=str(self._file), problem=why)
            self._failing = True
        else:
            self._saved, self._failing = known, False

    def _write(self, known: Known) -> None:
        stamp = _Stamp(
            format=_FORMAT,
            schema_version=SCHEMA_VERSION,
            registry=self._registry,
            mark=known.mark,
            keys_mark=known.keys_mark,
            written_at=datetime.now(UTC),
        )
        with closing(self._connect()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            if self._saved is not None and _is_of(connection, self._saved, self._registry):
                before = self._saved
            else:
                before = NOTHING_KNOWN
                for statement in _MAKE:
                    connection.execute(statement)
            for kind, old, new in _differences(before, known):
                gone = ((kind, name) for name in old.keys() - new.keys())
                connection.executemany("DELETE FROM kept WHERE kind = ? AND name = ?", gone)
                rows = ((kind, name, _text(noun)) for name, noun in new.items() if old.get(name) is not noun)
                connection.executemany("INSERT OR REPLACE INTO kept VALUES (?, ?, ?)", rows)
            connection.execute("DELETE FROM mark")
            connection.execute("INSERT INTO mark VALUES (?)", (stamp.model_dump_json(),))
            connection.execute("COMMIT")

    def _connect(self) -> sqlite3.Connection:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        # Before SQLite makes it, which heeds the umask alone. What it writes beside the file has the file's mode.
        os.close(os.open(self._file, os.O_CREAT | os.O_RDWR, 0o600))
        self._file.chmod(0o600)
        return sqlite3.connect(self._file, timeout=_WAIT, isolation_level=None)

    def _fault(self, stamp: _Stamp) -> str:
        """Why state with this stamp is not used; empty when it is."""
        if (stamp.format, stamp.schema_version) != (_FORMAT, SCHEMA_VERSION):
            return "another release wrote it"
        return "" if stamp.registry == self._registry else f"it is of the registry {stamp.registry}"


def _stamp(connection: sqlite3.Connection) -> _Stamp:
    """Raises when there is none, or none that this release knows."""
    (body,) = connection.execute("SELECT body FROM mark").fetchone()
    return _Stamp.model_validate_json(body)


def _is_of(connection: sqlite3.Connection, saved: Known, registry: str) -> bool:
    """Whether what is kept is still what this process saved, and not what another service has put there since."""
    try:
        stamp = _stamp(connection)
    except (sqlite3.Error, TypeError, ValueError):
        return False
    there = (stamp.format, stamp.schema_version, stamp.registry, stamp.mark, stamp.keys_mark)
    return there == (_FORMAT, SCHEMA_VERSION, registry, saved.mark, saved.keys_mark)


Nouns = Mapping[str, Frozen | str]
"""By what each is called among those of its kind."""


def _differences(before: Known, after: Known) -> Iterator[tuple[str, Nouns, Nouns]]:
    """Kinds with what was and what is, as far as they may differ: what is the same object has not changed."""
    for name in before.versions.keys() | after.versions.keys():
        was, now = before.versions.get(name, {}), after.versions.get(name, {})
        if was is not now:
            yield (
                "version",
                {version.ref: version for version in was.values()},
                {version.ref: version for version in now.values()},
            )
    for name in before.aliases.keys() | after.aliases.keys():
        old, new = before.aliases.get(name, {}), after.aliases.get(name, {})
        if old is not new:
            yield "alias", {alias.ref: alias for alias in old.values()}, {alias.ref: alias for alias in new.values()}
    if before.keys is not after.keys:
        yield "key", before.keys, after.keys
    if before.unreadable_keys is not after.unreadable_keys:
        yield "unreadable_key", before.unreadable_keys, after.unreadable_keys
    if before.manifests is not after.manifests:
        for kind in MANIFESTS:
            yield kind, _of_kind(kind, before.manifests), _of_kind(kind, after.manifests)
    if before.pins is not after.pins:
        yield "pin", {ref: ref for ref in before.pins}, {ref: ref for ref in after.pins}
    if before.left_out is not after.left_out:
        yield "left_out", _named(before.left_out), _named(after.left_out)


def _of_kind(kind: str, manifests: Mapping[Digest, Manifest]) -> Nouns:
    return {digest: manifest for digest, manifest in manifests.items() if manifest.kind == kind}


def _named(left_out: Mapping[tuple[Kind, str], LeftOut]) -> Nouns:
    return {f"{kind} {ref}": row for (kind, ref), row in left_out.items()}


def _text(noun: Frozen | str) -> str:
    if isinstance(noun, ApiKey):  # which leaves its digest out where others may see it
        return json.dumps({**noun.model_dump(mode="json"), "digest": noun.digest}, ensure_ascii=False)
    return json.dumps(noun) if isinstance(noun, str) else noun.model_dump_json()


def _known(stamp: _Stamp, rows: Iterable[tuple[str, str, str]]) -> Known:
    """Raises what pydantic and JSON raise: a state of which a part cannot be read is none."""
    versions: dict[str, dict[int, Version]] = {}
    aliases: dict[str, dict[str, Alias]] = {}
    keys: dict[Digest, ApiKey] = {}
    unreadable_keys: dict[Digest, str] = {}
    left_out: dict[tuple[Kind, str], LeftOut] = {}
    manifests: dict[Digest, Manifest] = {}
    pins: list[str] = []
    for kind, name, body in rows:
        if kind == "version":
            version = Version.model_validate_json(body)
            versions.setdefault(version.name, {})[version.number] = version
        elif kind == "alias":
            alias = Alias.model_validate_json(body)
            aliases.setdefault(alias.name, {})[alias.alias] = alias
        elif kind == "key":
            keys[name] = ApiKey.model_validate_json(body)
        elif kind == "unreadable_key":
            unreadable_keys[name] = json.loads(body)
        elif kind in MANIFESTS:
            manifests[name] = MANIFESTS[kind].model_validate_json(body)
        elif kind == "left_out":
            row = LeftOut.model_validate_json(body)
            left_out[row.kind, row.ref] = row
        elif kind == "pin":
            pins.append(name)
        else:
            raise ValueError(f"a row of the kind {kind}")
    return Known(
        stamp.mark, stamp.keys_mark, versions, aliases, keys, unreadable_keys, left_out, manifests, tuple(pins)
    )
