"""The registry's files of the fine-tuning API (`jobs/nouns.py`): `registry.files`. Their bytes are in the store.

A file that was deleted, or has expired, is gone for its owner at once. Its bytes go when no unfinished job reads them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, insert, or_, select, update

from lifecycle.errors import NotFound
from lifecycle.jobs.nouns import UploadedFile
from lifecycle.jobs.states import ENDED
from lifecycle.registry import audit, cursor, tables
from lifecycle.registry.cursor import Cursor, Page
from lifecycle.registry.database import Database
from lifecycle.registry.readable import valid

_T = tables.files.c
_UNKEPT = ("number", "deleted_at", "purged_at")


class FileBook:
    """Safe to share between threads and processes, as the registry is."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, file: UploadedFile, *, actor: str) -> None:
        with self._database.write() as tx:
            add(tx, file, actor)

    def get(self, id_: str, owner: str) -> UploadedFile:
        """Raises `NotFound`, also for a file of another owner's and for one that has expired."""
        with self._database.read() as tx:
            return get(tx, id_, owner)

    def all(self, owner: str, at: Cursor, purpose: str | None = None) -> Page[UploadedFile]:
        """Newest first, unless `at` says otherwise."""
        where = _there(datetime.now(UTC)) & (_T.owner == owner)
        if purpose is not None:
            where &= _T.purpose == purpose
        with self._database.read() as tx:
            page = cursor.rows(tx, tables.files, where, at)
        return Page([_noun(row) for row in page.items], page.has_more)

    def used(self, owner: str) -> int:
        """Bytes of the owner's files."""
        query = select(func.coalesce(func.sum(_T.bytes), 0)).where(_there(datetime.now(UTC)) & (_T.owner == owner))
        with self._database.read() as tx:
            return int(tx.execute(query).scalar_one())

    def delete(self, id_: str, owner: str, *, actor: str) -> UploadedFile:
        """Raises `NotFound`."""
        now = datetime.now(UTC)
        with self._database.write() as tx:
            file = get(tx, id_, owner)
            tx.execute(update(tables.files).where(_T.id == id_).values(deleted_at=now))
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
        """Gone for their owners, with bytes that no unfinished job needs any more."""
        jobs = tables.jobs
        now = datetime.now(UTC)
        with self._database.read() as tx:
            wanted: set[str] = set()
            for row in tx.execute(select(jobs.c.request).where(jobs.c.state.not_in(sorted(ENDED)))):
                wanted |= {row.request["training_file"], row.request.get("validation_file") or ""}
            gone = or_(_T.deleted_at.is_not(None), _T.expires_at <= now) & _T.purged_at.is_(None)
            return [_noun(row) for row in tx.execute(select(tables.files).where(gone)) if row.id not in wanted]

    def purged(self, id_: str) -> None:
        """Its bytes have been removed."""
        with self._database.write() as tx:
            tx.execute(update(tables.files).where(_T.id == id_).values(purged_at=datetime.now(UTC)))
            audit.append(tx, "dabt", "file.purge", id_)


def add(tx: Connection, file: UploadedFile, actor: str) -> None:
    moments = {"created_at": file.created_at, "expires_at": file.expires_at}
    tx.execute(insert(tables.files).values(**file.model_dump(exclude={*moments}), **moments))
    audit.append(tx, actor, "file.add", file.id, {"bytes": file.bytes, "purpose": file.purpose, "digest": file.digest})


def get(tx: Connection, id_: str, owner: str) -> UploadedFile:
    where = _there(datetime.now(UTC)) & (_T.id == id_) & (_T.owner == owner)
    if (row := tx.execute(select(tables.files).where(where)).first()) is None:
        raise NotFound(f"No such File object: {id_}", place="id")
    return _noun(row)


def _there(now: datetime) -> ColumnElement[bool]:
    return _T.deleted_at.is_(None) & _T.purged_at.is_(None) & or_(_T.expires_at.is_(None), _T.expires_at > now)


def _noun(row: Row[Any]) -> UploadedFile:
    return valid(UploadedFile, {key: value for key, value in row._mapping.items() if key not in _UNKEPT}, row.id)
