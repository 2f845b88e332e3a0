"""The registry's uploads (`jobs/nouns.py`): files that come in parts. `registry.uploads`.

An upload is open until it is completed, cancelled, or its hour is over; then its parts' bytes go, and their rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, select, update

from lifecycle.errors import InvalidInput, NotFound, Problem
from lifecycle.jobs.nouns import Upload, UploadedFile, UploadPart
from lifecycle.registry import audit, file_book, tables
from lifecycle.registry.database import Database, now
from lifecycle.registry.readable import valid

_T, _P = tables.uploads.c, tables.upload_parts.c
_COLUMNS = ("id", "owner", "status", "created_at", "expires_at")
_AGAIN = 2
"""So many times its bytes an upload's parts may have together: a client that lost an answer sends a part again."""


class UploadBook:
    """Safe to share between threads and processes, as the registry is."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, upload: Upload, *, actor: str) -> None:
        columns = {name: getattr(upload, name) for name in _COLUMNS}
        with self._database.write() as tx:
            tx.execute(
                insert(tables.uploads).values(**columns, body=upload.model_dump(mode="json", exclude={*_COLUMNS}))
            )
            audit.append(tx, actor, "upload.create", upload.id, {"bytes": upload.bytes, "purpose": upload.purpose})

    def get(self, id_: str, owner: str) -> Upload:
        """Raises `NotFound`, also for another owner's."""
        with self._database.read() as tx:
            return _noun(_row(tx, id_, owner))

    def reserved(self, owner: str) -> int:
        """Bytes that the owner's open uploads will be."""
        with self._database.read() as tx:
            return sum(
                _noun(row).bytes for row in tx.execute(select(tables.uploads).where(_open(tx) & (_T.owner == owner)))
            )

    def check_open(self, id_: str, owner: str) -> None:
        """Raises `NotFound`, and `InvalidInput` when it is over."""
        with self._database.read() as tx:
            _open_one(tx, id_, owner)

    def add_part(self, part: UploadPart, owner: str) -> None:
        """Its bytes are about to be put: whatever dies then, they go with the upload.

        Raises `InvalidInput` when the upload is over, or its parts would be more than it may have.
        """
        with self._database.write() as tx:
            upload = _open_one(tx, part.upload, owner)
            sent = select(func.coalesce(func.sum(_P.bytes), 0)).where(_P.upload == upload.id)
            if int(tx.execute(sent).scalar_one()) + part.bytes > _AGAIN * upload.bytes:
                fault = f"its parts would have more than {_AGAIN} times the bytes that the upload announced"
                raise InvalidInput("The part is not taken:", [Problem("data", fault, "begin another upload")])
            tx.execute(insert(tables.upload_parts).values(**part.model_dump()))

    def parts(self, id_: str, ids: Sequence[str]) -> list[UploadPart]:
        """In the order of `ids`. Raises `InvalidInput` for one that is not there, or comes twice."""
        with self._database.read() as tx:
            there = {row.id: row for row in tx.execute(select(tables.upload_parts).where(_P.upload == id_))}
        wrong = [part for at, part in enumerate(ids) if part not in there or part in ids[:at]]
        if wrong:
            problems = [Problem("part_ids", f"{part} is no part of {id_}, or comes twice") for part in wrong[:20]]
            raise InvalidInput("The upload cannot be completed:", problems)
        return [valid(UploadPart, _without(there[part], "number"), part) for part in ids]

    def complete(self, id_: str, owner: str, file: UploadedFile, parts: Sequence[str], *, actor: str) -> Upload:
        """The file is there and the upload is over, in one transaction. Raises as `check_open`."""
        with self._database.write() as tx:
            _open_one(tx, id_, owner)
            file_book.add(tx, file, actor)
            return _end(tx, id_, "completed", actor, file=file.id, parts=[*parts])

    def cancel(self, id_: str, owner: str, *, actor: str) -> Upload:
        """Cancelled before is cancelled still. Raises `NotFound`, and `InvalidInput` when it is over otherwise."""
        with self._database.write() as tx:
            upload = _noun(_row(tx, id_, owner))
            if upload.status == "cancelled":
                return upload
            _open_one(tx, id_, owner)
            return _end(tx, id_, "cancelled", actor)

    def left(self) -> list[UploadPart]:
        """Parts of uploads that are over."""
        with self._database.read() as tx:
            query = select(tables.upload_parts).join(tables.uploads, _T.id == _P.upload).where(~_open(tx))
            return [valid(UploadPart, _without(row, "number"), row.id) for row in tx.execute(query)]

    def give_up(self, part: str) -> None:
        """Its bytes did not come, or not all: it counts for nothing, and what was put of it goes with the upload."""
        with self._database.write() as tx:
            tx.execute(update(tables.upload_parts).where(_P.id == part).values(bytes=0))

    def purged(self, part: str) -> None:
        """Its bytes have been removed."""
        with self._database.write() as tx:
            tx.execute(delete(tables.upload_parts).where(_P.id == part))


def _open(tx: Connection) -> ColumnElement[bool]:
    return (_T.status == "pending") & (_T.expires_at > now(tx))


def _open_one(tx: Connection, id_: str, owner: str) -> Upload:
    upload = _noun(_row(tx, id_, owner))
    if upload.status != "pending":
        fault = f"{id_} is {upload.status}"
        raise InvalidInput("The upload takes nothing more:", [Problem("upload_id", fault, "begin another upload")])
    return upload


def _end(tx: Connection, id_: str, status: str, actor: str, **facts: Any) -> Upload:
    row = _row(tx, id_, None)
    tx.execute(update(tables.uploads).where(_T.id == id_).values(status=status, body={**row.body, **facts}))
    audit.append(tx, actor, f"upload.{status}", id_, {key: value for key, value in facts.items() if key == "file"})
    return _noun(_row(tx, id_, None))


def _row(tx: Connection, id_: str, owner: str | None) -> Row[Any]:
    row = tx.execute(select(tables.uploads).where(_T.id == id_)).first()
    if row is None or (owner is not None and row.owner != owner):
        raise NotFound(f"No such Upload object: {id_}", place="upload_id")
    return row


def _noun(row: Row[Any]) -> Upload:
    """One whose hour is over has expired, whatever was written of it."""
    upload = valid(Upload, {**_without(row, "number", "body"), **row.body}, row.id)
    over = upload.status == "pending" and upload.expires_at <= datetime.now(UTC)
    return upload.model_copy(update={"status": "expired"}) if over else upload


def _without(row: Row[Any], *columns: str) -> dict[str, Any]:
    return {key: value for key, value in row._mapping.items() if key not in columns}
