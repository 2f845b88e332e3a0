"""The registry's API keys: made, found and revoked, each change in the trail. A secret is shown once."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from lifecycle.access.keys import ApiKey, KeyGrant, digest_of_secret, new_secret
from lifecycle.errors import InvalidInput, NotFound, Problem
from lifecycle.registry import audit, job_book, readable, tables
from lifecycle.registry.database import Database
from lifecycle.registry.readable import LeftOut, valid


class Keyring:
    """The registry's keys: `registry.keys`. Safe to share between threads and processes, as the registry is."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, grant: KeyGrant, *, actor: str, shares_with: str = "") -> tuple[ApiKey, str]:
        """The key and its secret, which is not kept and cannot be had again.

        `shares_with` is the name or id of the key whose files, jobs and models it has too, such as one that it takes
        the place of. Raises `InvalidInput` when a usable key has that name already, or when it would expire at once;
        `NotFound` when there is none to share with.
        """
        now = datetime.now(UTC)
        if grant.expires_at is not None and grant.expires_at <= now:
            raise InvalidInput("The key was not made:", [Problem("expires_at", "is in the past")])
        secret = new_secret()
        key = ApiKey(
            **grant.model_dump(),
            id=f"key-{secrets.token_hex(6)}",
            hint=secret[-4:],
            digest=digest_of_secret(secret),
            created_at=now,
            created_by=actor,
        )
        with self._database.write() as tx:
            if shares_with:
                key = key.model_copy(update={"owner": _find(tx, shares_with, now).owner})
            if (other := _live(tx, grant.name, now)) is not None:
                cure = f"revoke it first (`dabt keys revoke {grant.name}`), or choose another name"
                raise InvalidInput("The key was not made:", [Problem("name", f"{other.id} has this name", cure)])
            if unread := _unread(tx, grant.name):
                fault = f"{unread} has this name, and cannot be read by this release"
                raise InvalidInput("The key was not made:", [Problem("name", fault, "choose another name, or upgrade")])
            moments = {"created_at": key.created_at, "expires_at": key.expires_at}
            row = key.model_dump(mode="json", exclude={*moments, "limits"})
            # A limit that is not set is not written: a release that does not know it yet goes on reading the key.
            limits = key.limits.model_dump(mode="json", exclude_none=True)
            tx.execute(insert(tables.api_keys).values(**row, **moments, limits=limits, digest=key.digest))
            detail = key.model_dump(mode="json", include={*KeyGrant.model_fields, "owner"}, exclude_none=True)
            audit.append(tx, actor, "key.create", key.id, detail)
        return key, secret

    def revoke(self, name_or_id: str, *, actor: str, reason: str = "", cancel_jobs: bool = False) -> ApiKey:
        """End the key. Services refuse it within a second; what it is being answered just now is answered.

        Its fine-tuning jobs go on, unless `cancel_jobs` ends those that it asked for: not those of keys that share with
        it. Raises `NotFound`. Revoking a revoked key changes nothing but that.
        """
        now = datetime.now(UTC)
        with self._database.write() as tx:
            key = _find(tx, name_or_id, now)
            if cancel_jobs:
                job_book.cancel_all(tx, key, actor)
            if key.revoked_at is not None:
                return key
            tx.execute(update(tables.api_keys).where(tables.api_keys.c.id == key.id).values(revoked_at=now))
            audit.append(tx, actor, "key.revoke", key.id, {"name": key.name}, reason)
        return key.model_copy(update={"revoked_at": now})

    def every(self) -> tuple[list[ApiKey], list[LeftOut]]:
        """Oldest first, those that cannot be used any more too; and what this release cannot read."""
        with self._database.read() as tx:
            return read(tx)

    def all(self) -> list[ApiKey]:
        """Of `every`, those that can be read."""
        return self.every()[0]

    def left_out(self) -> list[LeftOut]:
        """Of `every`, those that another release made, and this one cannot read."""
        return self.every()[1]

    def find(self, name_or_id: str) -> ApiKey:
        """Raises `NotFound`. Of several keys that had the name, the usable one, or else the newest."""
        with self._database.read() as tx:
            return _find(tx, name_or_id, datetime.now(UTC))


def read(tx: Connection, ids: Sequence[str] | None = None) -> tuple[list[ApiKey], list[LeftOut]]:
    """Of those ids, or all, oldest first; and what cannot be read."""
    table = tables.api_keys
    order = (table.c.created_at, table.c.id)
    wanted = list(tx.execute(select(table.c.id).order_by(*order)).scalars()) if ids is None else ids
    fetched, unfetched = readable.rows(tx, select(table).order_by(*order), table.c.id, wanted)
    return readable.nouns("key", fetched, unfetched, to_key, lambda row: str(row.id))


def _find(tx: Connection, name_or_id: str, now: datetime) -> ApiKey:
    if (live := _live(tx, name_or_id, now)) is not None:
        return live
    here = (tables.api_keys.c.id == name_or_id) | (tables.api_keys.c.name == name_or_id)
    row = tx.execute(select(tables.api_keys).where(here).order_by(tables.api_keys.c.created_at.desc())).first()
    if row is None:
        raise NotFound(f"there is no key {name_or_id}; `dabt keys list --all` shows what there is", place="key")
    return to_key(row)


def _live(tx: Connection, name: str, now: datetime) -> ApiKey | None:
    """One that cannot be read is none: it must not be in the way of another that has, or had, the same name."""
    ids = list(tx.execute(select(tables.api_keys.c.id).where(tables.api_keys.c.name == name)).scalars())
    return next((key for key in read(tx, ids)[0] if key.problem(now) is None), None)


def _unread(tx: Connection, name: str) -> str | None:
    """The id of a key of that name that may be good, for all that this release can tell."""
    table = tables.api_keys
    here = (table.c.name == name) & table.c.revoked_at.is_(None)
    left_out = read(tx, list(tx.execute(select(table.c.id).where(here)).scalars()))[1]
    return left_out[0].ref if left_out else None


def to_key(row: Row[Any]) -> ApiKey:
    """Raises `Unreadable`."""
    return valid(ApiKey, dict(row._mapping), str(row.id))
