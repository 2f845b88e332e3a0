"""The registry's files of the fine-tuning API (`jobs/nouns.py`): `registry.files`. Their bytes are in the store.

A file that was deleted, or has expired, is gone for its owner at once. Its bytes go when no unfinished job reads them.
A row comes before its bytes, and is no file until they have come: so what a process that died has put is found again.
Expiry goes by the database's clock (`database.now`): a worker whose own is wrong removes nothing early.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, insert, or_, select, update

from lifecycle.errors import NotFound
from lifecycle.jobs.nouns import UploadedFile
from lifecycle.jobs.states import ENDED
from lifecycle.registry import audit, cursor, tables
from lifecycle.registry.cursor import Cursor, Page
from lifecycle.registry.database import Database, Moment, now
from lifecycle.registry.readable import valid
from lifecycle.version import Digest

_T = tables.files.c
_UNKEPT = ("number", "deleted_at", "purged_at", "arrived_at")
_ON_ITS_WAY = timedelta(days=1)
"""After which bytes that have not come are given up."""


class FileBook:
    """Safe to share between threads and processes, as the registry is."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def expect(self, file: UploadedFile, *, most: int | None = None) -> bool:
        """Its bytes are about to be put: `add` says that they have come, `give_up` that they never will.

        False, and nothing is done, where its owner would have more than `most` bytes with it.
        """
        with self._database.write() as tx:
            if most is not None and _used(tx, file.owner) + file.bytes > most:
                return False
            _insert(tx, file, arrived_at=None)
        return True

    def give_up(self, id_: str) -> None:
        """What was put of it is removed with the next `purge`."""
        with self._database.write() as tx:
            waited = (_T.id == id_) & _T.arrived_at.is_(None)
            tx.execute(update(tables.files).where(waited).values(deleted_at=now(tx)))

    def add(self, file: UploadedFile, *, actor: str) -> None:
        """Its bytes are in the store."""
        with self._database.write() as tx:
            add(tx, file, actor)

    def get(self, id_: str, owner: str) -> UploadedFile:
        """Raises `NotFound`, also for a file of another owner's and for one that has expired."""
        with self._database.read() as tx:
            return get(tx, id_, owner)

    def all(self, owner: str, at: Cursor, purpose: str | None = None) -> Page[UploadedFile]:
        """Newest first, unless `at` says otherwise."""
        mine = _T.owner == owner
        with self._database.read() as tx:
            where = _there(tx) & mine
            if purpose is not None:
                where &= _T.purpose == purpose
            page = cursor.rows(tx, tables.files, where, at, known=mine)
        return Page([_noun(row) for row in page.items], page.has_more)

    def used(self, owner: str) -> int:
        """Bytes of the owner's files, and of those on their way."""
        with self._database.read() as tx:
            return _used(tx, owner)

    def delete(self, id_: str, owner: str, *, actor: str) -> UploadedFile:
        """Raises `NotFound`."""
        with self._database.write() as tx:
            file = get(tx, id_, owner)
            tx.execute(update(tables.files).where(_T.id == id_).values(deleted_at=now(tx)))
            audit.append(tx, actor, "file.delete", id_, {"bytes": file.bytes})
        return file

    def read_by(self, id_: str, job: str) -> UploadedFile:
        """For the worker of the job: also one that was deleted since, as long as its bytes are there."""
        with self._database.read() as tx:
            row = tx.execute(select(tables.files).where((_T.id == id_) & _T.purged_at.is_(None))).first()
        if row is None:
            raise NotFound(f"the file {id_} of {job} is gone", place="file")
        return _noun(row)

    def left(self) -> list[UploadedFile]:
        """Gone for their owners, or never come, with bytes that no unfinished job needs any more."""
        with self._database.read() as tx:
            here = select(tables.files).where(_gone(tx) & _T.purged_at.is_(None)).order_by(_T.number)
            if not (gone := list(tx.execute(here))):
                return []
            wanted = _read_by_jobs(tx)
            return [_noun(row) for row in gone if row.id not in wanted]

    def purged(self, id_: str, *, actor: str) -> None:
        """Its bytes have been removed. One that was not deleted has expired, or never came: the trail says which."""
        with self._database.write() as tx:
            here = (_T.id == id_) & _T.purged_at.is_(None)
            if (row := tx.execute(select(tables.files).where(here)).first()) is None:
                return  # another sweep was first
            tx.execute(update(tables.files).where(_T.id == id_).values(purged_at=now(tx)))
            why = "never came" if row.arrived_at is None else "deleted" if row.deleted_at is not None else "expired"
            audit.append(tx, actor, "file.purge", id_, {"why": why, "bytes": row.bytes})


def add(tx: Connection, file: UploadedFile, actor: str) -> None:
    expected = (_T.id == file.id) & _T.arrived_at.is_(None) & _T.purged_at.is_(None) & _T.deleted_at.is_(None)
    if not tx.execute(update(tables.files).where(expected).values(arrived_at=now(tx))).rowcount:
        _insert(tx, file, arrived_at=now(tx))
    audit.append(tx, actor, "file.add", file.id, {"bytes": file.bytes, "purpose": file.purpose, "digest": file.digest})


def get(tx: Connection, id_: str, owner: str) -> UploadedFile:
    where = _there(tx) & (_T.id == id_) & (_T.owner == owner)
    if (row := tx.execute(select(tables.files).where(where)).first()) is None:
        raise NotFound(f"No such File object: {id_}", place="id")
    return _noun(row)


def needed(tx: Connection) -> dict[Digest, str]:
    """Of what is there for its owner, or is read by an unfinished job: the bytes' digest, and the file's id."""
    there = {row.id: row.digest for row in tx.execute(select(tables.files).where(_there(tx)))}
    wanted = _read_by_jobs(tx) - there.keys()
    unpurged = _T.id.in_(wanted) & _T.arrived_at.is_not(None) & _T.purged_at.is_(None)
    there |= {row.id: row.digest for row in tx.execute(select(tables.files).where(unpurged))}
    return {digest: id_ for id_, digest in there.items()}


def _read_by_jobs(tx: Connection) -> set[str]:
    """The ids of files that unfinished jobs read."""
    jobs, wanted = tables.jobs.c, set[str]()
    for row in tx.execute(select(jobs.request).where(jobs.state.not_in(sorted(ENDED)))):
        wanted |= {row.request["training_file"], row.request.get("validation_file") or ""}
    return wanted


def _insert(tx: Connection, file: UploadedFile, arrived_at: Moment | None) -> None:
    moments = {"created_at": file.created_at, "expires_at": file.expires_at}
    row = file.model_dump(exclude={*moments})
    tx.execute(insert(tables.files).values(**row, **moments, arrived_at=arrived_at))


def _used(tx: Connection, owner: str) -> int:
    counted = (_there(tx) | _T.arrived_at.is_(None) & ~_gone(tx)) & (_T.owner == owner)
    return int(tx.execute(select(func.coalesce(func.sum(_T.bytes), 0)).where(counted)).scalar_one())


def _there(tx: Connection) -> ColumnElement[bool]:
    unexpired = or_(_T.expires_at.is_(None), _T.expires_at > now(tx))
    return _T.arrived_at.is_not(None) & _T.deleted_at.is_(None) & _T.purged_at.is_(None) & unexpired


def _gone(tx: Connection) -> ColumnElement[bool]:
    late = _T.arrived_at.is_(None) & (_T.created_at <= now(tx) - _ON_ITS_WAY)
    expired = _T.expires_at.is_not(None) & (_T.expires_at <= now(tx))
    return or_(_T.deleted_at.is_not(None), expired, late)


def _noun(row: Row[Any]) -> UploadedFile:
    return valid(UploadedFile, {key: value for key, value in row._mapping.items() if key not in _UNKEPT}, row.id)
