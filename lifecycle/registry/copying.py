"""The registry as one file, and back: what `dabt backup` takes and `dabt restore` puts.

The file is a registry of its own, on SQLite: whatever the rows came from, `sqlite:///…/registry.db` shows them. From
SQLite it is taken by SQLite's online backup, page by page; from PostgreSQL as rows, in one transaction that sees one
moment. Neither keeps a writer waiting. Rows go back within one transaction: all of them are there, or none.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import Connection, Integer, Table, func, insert, select, text

from lifecycle.errors import Corrupt, InvalidConfig, NotAllowed, Unavailable
from lifecycle.registry import audit, tables
from lifecycle.registry.database import Database, parse, schema_of

_AT_ONCE = 500
"""Rows in memory."""
_OWN = {tables.meta.name, tables.alembic_version.name}
"""They tell of the tables, not of what is in them."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """Which registry a file holds."""

    schema: int
    revision: int
    """The newest entry of the trail."""
    rows: int
    keys: int
    """API keys, whose secrets' digests it holds."""


def take(url: str, file: Path) -> None:
    """Write the registry, as it is now, into the new `file`, which nobody but its owner may read.

    Raises `Unavailable` when it is away, `Corrupt` when SQLite finds its pages damaged, and `InvalidConfig` for one on
    PostgreSQL that another release wrote.
    """
    file.touch(mode=0o600)
    database = Database(url, new=False)
    try:
        if parse(url).get_backend_name() == "sqlite":
            _take_pages(Path(str(parse(url).database)), file)
        else:
            _take_rows(database, file)
    finally:
        database.close()


def _take_pages(source: Path, file: Path) -> None:
    if not source.is_file():
        raise Unavailable(f"there is no registry at {source}; name its home or its URL")
    try:
        with closing(sqlite3.connect(source, timeout=30)) as here, closing(sqlite3.connect(file)) as there:
            here.backup(there)
            there.execute("PRAGMA journal_mode = DELETE")  # so that one file is all of it
            if (told := there.execute("PRAGMA quick_check").fetchone()[0]) != "ok":
                raise Corrupt(f"the registry {source} is damaged: {told.splitlines()[0]}; restore an earlier backup")
    except sqlite3.DatabaseError as error:
        if "malformed" in str(error) or "not a database" in str(error):
            raise Corrupt(f"the registry {source} is damaged: {error}; restore an earlier backup") from error
        raise Unavailable(f"the registry {source} cannot be copied: {error}") from error


def _take_rows(database: Database, file: Path) -> None:
    with database.look() as source:
        schema = schema_of(source)
        if schema != (tables.SCHEMA_VERSION, tables.REVISION):
            raise InvalidConfig(
                f"the registry {database.name} has schema {schema[0]} and this release copies {tables.SCHEMA_VERSION} "
                "from PostgreSQL; back it up by the release that wrote it, or by pg_dump"
            )
        with closing(Database(f"sqlite:///{file}")) as copy, copy.write() as target:
            _copy(source, target)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")


@contextmanager
def opened(file: Path) -> Iterator[Database]:
    """A copy of the file, brought to this release's schema; the file stays as it is.

    Raises `InvalidConfig` for one that a newer release wrote.
    """
    with TemporaryDirectory(prefix="dabt-registry-") as folder:
        copy = Path(folder) / "registry.db"
        shutil.copyfile(file, copy)
        with closing(Database(f"sqlite:///{copy}", new=False)) as database:
            yield database


def stamp_of(file: Path) -> Stamp:
    """Of the file as it was taken, whichever release wrote it."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:

        def one(query: str) -> int:
            return int(connection.execute(query).fetchone()[0] or 0)

        there = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        counts = {name: one(f'SELECT count(*) FROM "{name}"') for name in there - _OWN}  # noqa: S608
        return Stamp(
            schema=one("SELECT value FROM dabt_meta WHERE key = 'schema'"),
            revision=one("SELECT max(id) FROM audit"),
            rows=sum(count for name, count in counts.items() if not name.startswith("sqlite_")),
            keys=counts.get(tables.api_keys.name, 0),
        )


def is_empty(url: str) -> bool:
    """Whether the registry holds nothing yet, or is not there. Raises `Unavailable` when it cannot be asked."""
    if parse(url).get_backend_name() == "sqlite" and not Path(str(parse(url).database)).exists():
        return True
    with closing(Database(url, new=False)) as database, database.look() as tx:
        number, _ = schema_of(tx)
        return number == 0 or (number == tables.SCHEMA_VERSION and _is_empty(tx))


def put_back(file: Path, url: str, *, actor: str, detail: dict[str, Any], reason: str) -> int:
    """Fill the registry at `url` with what the file holds, within one transaction; the trail says so.

    Returns how many rows it has then. Raises `NotAllowed` when the registry holds anything.
    """
    with opened(file) as copy, copy.read() as source, closing(Database(url)) as database, database.write() as target:
        if not _is_empty(target):
            raise NotAllowed(f"the registry {database.name} holds something already; {_ELSEWHERE}")
        rows = _copy(source, target)
        _go_on_counting(target)
        audit.append(target, actor, "registry.restore", database.name, detail, reason)
        return rows


_ELSEWHERE = "restore into a new one: nothing is ever restored over what is there"


def _tables() -> list[Table]:
    return [table for table in tables.metadata.sorted_tables if table.name not in _OWN]


def _copy(source: Connection, target: Connection) -> int:
    count = 0
    for table in _tables():
        # By their keys: a move of an alias names an earlier one.
        query = select(table).order_by(*table.primary_key.columns)
        rows = source.execution_options(yield_per=_AT_ONCE).execute(query)
        for part in rows.mappings().partitions(_AT_ONCE):
            target.execute(insert(table), [dict(row) for row in part])
            count += len(part)
    return count


def _go_on_counting(tx: Connection) -> None:
    """PostgreSQL counts apart from the rows, and would give the first ones again."""
    if tx.dialect.name != "postgresql":
        return
    for table in _tables():
        column = table.autoincrement_column
        if column is not None and isinstance(column.type, Integer):
            newest = tx.execute(select(func.max(column))).scalar()
            if newest is not None:
                counter = func.pg_get_serial_sequence(table.name, column.name)
                tx.execute(select(func.setval(counter, newest)))


def _is_empty(tx: Connection) -> bool:
    return all(tx.execute(select(text("1")).select_from(table).limit(1)).first() is None for table in _tables())
