"""The registry's database: one writer at a time, readers never wait, and foreign errors become ours here.

SQLite (a file, WAL) or PostgreSQL, by URL. Every write takes one lock for the whole registry before it reads
anything: BEGIN IMMEDIATE, or an advisory lock. Writes are few and short, and with one order of writes a check and
the change that rests on it cannot be torn apart, numbers have no gaps, and audit ids become visible in order.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import URL, ColumnElement, Connection, Engine, event, exc, func, insert, select, update

from lifecycle.errors import Conflict, Corrupt, DabtError, InvalidConfig, Unavailable
from lifecycle.registry import postgres, tables
from lifecycle.registry.migrations import migrate

_CURRENT = (tables.SCHEMA_VERSION, tables.REVISION)
_WAIT = postgres.WAIT


class Database:
    """An engine with two ways in: `read()` and `write()`, each one transaction. Safe to share between threads."""

    def __init__(self, url: str, *, new: bool = True) -> None:
        """Opened with its first use. A file that is not there is made only where it may be `new`."""
        self._url = parse(url)
        self.name = self._url.render_as_string(hide_password=True)
        self._sqlite = self._url.get_backend_name() == "sqlite"
        self._opening = threading.Lock()
        self._opened = False
        with self._border():
            self._engine = _sqlite_engine(self._url, new=new) if self._sqlite else postgres.engine(self._url)

    def open(self) -> None:
        """See that the tables are there and this release's; at once when they were so before.

        Raises `Unavailable`, and `InvalidConfig` for a registry that a newer release wrote.
        """
        if self._opened:
            return
        with self._opening, self._border():
            # Most openings find the tables there, and must not wait for whoever writes just now.
            with self._transaction(writes=False) as tx:
                schema = schema_of(tx)
            if schema != _CURRENT:
                with self._transaction(writes=True) as tx:
                    self._bring_up(tx)
            self._opened = True

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent look; never blocked by a writer."""
        self.open()
        with self._border(), self._transaction(writes=False) as tx:
            yield tx

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One change: all of it or none. Whoever holds it is the only writer of this registry, in any process."""
        self.open()
        with self._border(), self._transaction(writes=True) as tx:
            yield tx

    @contextmanager
    def look(self) -> Iterator[Connection]:
        """One consistent look at whatever is there: nothing is made or migrated."""
        with self._border(), self._transaction(writes=False) as tx:
            yield tx

    def close(self) -> None:
        self._engine.dispose()

    @property
    def gives_hints(self) -> bool:
        return not self._sqlite

    def connect_alone(self) -> Any:
        """A connection of the driver's own, in autocommit and outside of the pool; the caller closes it."""
        with self._border():
            _, given = self._engine.dialect.create_connect_args(self._url)
            told = {**given, **postgres.connect_args(self._url)}
            return self._engine.dialect.loaded_dbapi.connect(**told, autocommit=True)

    @contextmanager
    def _transaction(self, *, writes: bool) -> Iterator[Connection]:
        options: dict[str, Any] = {"writes": writes}
        if not writes and not self._sqlite:
            options["isolation_level"] = "REPEATABLE READ"  # else each query would see another moment
        with self._engine.connect().execution_options(**options) as connection, connection.begin():
            if writes and not self._sqlite:
                postgres.begin_to_write(connection)
            yield connection

    def _bring_up(self, tx: Connection) -> None:
        """Make the tables of a new registry, or migrate those of an older release, stamped as this release's.

        Raises `InvalidConfig` for a registry that a newer release wrote.
        """
        schema = schema_of(tx)  # again, within the lock: another process may have been first
        if schema == _CURRENT:
            return
        number, revision = schema
        if number >= tables.SCHEMA_VERSION:
            stamp = f"{number}, revision {revision}" if number == tables.SCHEMA_VERSION else str(number)
            raise InvalidConfig(
                f"the registry {self.name} has schema {stamp} and this release reads {tables.SCHEMA_VERSION}; "
                "use the release that wrote it, or another registry"
            )
        if number:
            migrate(tx)
            tx.execute(update(tables.meta).where(tables.meta.c.key == "schema").values(value=str(_CURRENT[0])))
        else:
            tables.metadata.create_all(tx)
            tx.execute(insert(tables.meta).values(key="schema", value=str(_CURRENT[0])))
            tx.execute(insert(tables.alembic_version).values(version_num=_CURRENT[1]))

    @contextmanager
    def _border(self) -> Iterator[None]:
        """Errors of SQLAlchemy and of the drivers become ours here, and nowhere else."""
        try:
            yield
        except DabtError:
            raise
        except exc.IntegrityError as error:
            raise Conflict(f"the registry {self.name} refused a change that contradicts it: {error.orig}") from error
        except (exc.DBAPIError, sqlite3.Error) as error:
            cause = str(getattr(error, "orig", None) or error).strip()
            if "locked" in cause or "lock timeout" in cause:
                raise Unavailable(f"the registry {self.name} is held by another writer; try again", 1) from error
            raise Unavailable(f"the registry {self.name} cannot be used: {_first_line(cause)}", 5) from error
        except json.JSONDecodeError as error:
            raise Corrupt(f"a row of the registry {self.name} that this needs holds broken JSON: {error}") from error
        except (exc.SQLAlchemyError, OSError) as error:
            raise Unavailable(f"the registry {self.name} cannot be used: {_first_line(str(error))}") from error


Moment = datetime | ColumnElement[datetime]


def now(tx: Connection) -> Moment:
    """By the one clock of the registry: a PostgreSQL server's, so that the clocks of many machines do not matter; this
    machine's for SQLite, whose file no other machine opens."""
    return datetime.now(UTC) if tx.dialect.name == "sqlite" else func.now()


def schema_of(tx: Connection) -> tuple[int, str | None]:
    """Number and Alembic's revision of the tables that are there; 0 where there are none."""
    inspector = sqlalchemy.inspect(tx)
    if not inspector.has_table(tables.meta.name):
        return 0, None
    number = tx.execute(select(tables.meta.c.value).where(tables.meta.c.key == "schema")).scalar()
    stamped = inspector.has_table(tables.alembic_version.name)
    revision = tx.execute(select(tables.alembic_version.c.version_num)).scalar() if stamped else None
    return int(number) if number else 0, revision


def parse(url: str) -> URL:
    """Of a registry. Raises `InvalidConfig` for one that cannot be."""
    try:
        parsed = postgres.parse(url)
        backend = parsed.get_backend_name()
    except (exc.ArgumentError, ValueError) as error:
        raise InvalidConfig(
            "the registry's URL cannot be read; write sqlite:///file or postgresql://host/db"
        ) from error
    if backend == "postgresql":
        return parsed
    if backend != "sqlite":
        raise InvalidConfig(f"the registry cannot be kept in {backend}; use sqlite:///file or postgresql://host/db")
    if parsed.database in (None, "", ":memory:"):
        raise InvalidConfig("the registry must outlive the process; write sqlite:///file")
    return parsed


def _sqlite_engine(url: URL, *, new: bool) -> Engine:
    file = Path(str(url.database))
    if new and not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    engine = sqlalchemy.create_engine(
        url, connect_args={"timeout": _WAIT}, json_serializer=partial(json.dumps, ensure_ascii=False)
    )

    @event.listens_for(engine, "do_connect")
    def _only_what_is_there(*_: Any) -> None:
        # SQLite would make a new, empty registry where one was moved away.
        if not file.exists():
            raise sqlite3.OperationalError(f"the file {file} is gone")

    @event.listens_for(engine, "checkout")
    def _same_file(connection: Any, record: Any, _: Any) -> None:
        # A connection outlives its file: what was moved away would go on taking changes that nobody else sees.
        if record.info["file"] != _identity(file):
            raise exc.DisconnectionError("the registry's file was replaced")

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, record: Any) -> None:
        record.info["file"] = _identity(file)
        # The driver would begin transactions by its own rules; `_begin` below says when and how.
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys = ON")
        _use_wal(connection)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A transaction that begins by reading and then writes may find that another wrote between: IMMEDIATE
        # takes the write lock first, and the busy timeout makes it wait rather than fail.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN")

    return engine


def _identity(file: Path) -> tuple[int, int] | None:
    """Which file it is, whatever it is called; None for none."""
    try:
        about = file.stat()
    except FileNotFoundError:
        return None
    return about.st_dev, about.st_ino


def _use_wal(connection: sqlite3.Connection) -> None:
    """Write-ahead log: readers see the last commit while a writer works.

    Changing a new file to WAL needs it to oneself and does not heed the busy timeout, so it is tried again.
    """
    deadline = time.monotonic() + _WAIT
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _first_line(message: str) -> str:
    return message.splitlines()[0] if message else "no reason given"
