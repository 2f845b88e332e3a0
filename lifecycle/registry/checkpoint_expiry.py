"""Checkpoints of jobs that have lasted long enough: their names go, and with them the drafts that nobody needs.

Needed is what an alias points at, what an unfinished job starts from, and what a person has begun to judge: a version
that is no draft any more. It is kept, with its name.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from lifecycle.errors import NotFound
from lifecycle.jobs.states import ENDED
from lifecycle.registry import alias_stack, audit, judging, records, tables
from lifecycle.registry.database import Database, now
from lifecycle.states import State
from lifecycle.version import Digest

_C, _M, _J, _V = tables.job_checkpoints.c, tables.tuned_models.c, tables.jobs.c, tables.versions.c
_AT_ONCE = 100


def expire(database: Database, after: timedelta, remove: Callable[[Digest], object], actor: str) -> list[Digest]:
    """Those that are older by the database's clock: the adapters that nothing names any more, and that `remove` took.

    A checkpoint has expired when its bytes are gone: what a worker that died has begun, the next one ends.
    """
    with database.write() as tx:
        ending = _nameless(tx, after, actor)
    if not ending:
        return []
    freed = list(dict.fromkeys(adapter for _, adapter in ending if adapter is not None))
    for adapter in freed:
        remove(adapter)
    with database.write() as tx:
        for row, _ in ending:
            here = (_C.number == row.number) & _C.expired_at.is_(None)
            if tx.execute(update(tables.job_checkpoints).where(here).values(expired_at=now(tx))).rowcount:
                audit.append(tx, actor, "checkpoint.expire", row.id, {"model": row.model, "version": row.version})
    return freed


def _nameless(tx: Connection, after: timedelta, actor: str) -> list[tuple[Row[Any], Digest | None]]:
    """The rows of those that are to expire, whose names are gone from here on, and the adapters that go with them."""
    ending: list[tuple[Row[Any], Digest | None]] = []
    old = _C.expired_at.is_(None) & (_C.created_at <= now(tx) - after)
    started = _started_from(tx)
    for row in list(tx.execute(select(tables.job_checkpoints).where(old).order_by(_C.number))):
        version = _version(tx, row.version)
        if version is not None and (row.version in started or _is_used(tx, version)):
            continue
        tx.execute(update(tables.tuned_models).where(_M.name == row.model).values(deleted_at=now(tx)))
        freed = None
        if version is not None and not _is_named(tx, row.version):
            if version.state != State.RETIRED:
                judging.move_state(tx, version, State.RETIRED, actor, reason=f"the checkpoint {row.id} has expired")
            adapter = records.to_version(version).spec.adapter
            freed = adapter if adapter and not _is_shared(tx, adapter) else None
        ending.append((row, freed))
        if len(ending) == _AT_ONCE:
            break
    return ending


def _started_from(tx: Connection) -> set[str]:
    """Versions that unfinished jobs go on from."""
    unfinished = select(_J.request).where(_J.state.not_in(sorted(ENDED)))
    return {row.request.get("start", "") for row in tx.execute(unfinished)}


def _version(tx: Connection, ref: str) -> Row[Any] | None:
    try:
        return records.version_row(tx, ref)
    except NotFound:
        return None


def _is_used(tx: Connection, version: Row[Any]) -> bool:
    behind = any(version.number in alias.numbers for alias in alias_stack.every(tx, version.name))
    return behind or version.state not in (State.DRAFT, State.RETIRED)


def _is_named(tx: Connection, ref: str) -> bool:
    """By another name that has not gone: it is a job's own model, say."""
    there = select(func.count()).where((_M.version == ref) & _M.deleted_at.is_(None))
    return bool(tx.execute(there).scalar_one())


def _is_shared(tx: Connection, adapter: Digest) -> bool:
    there = (_V.spec["adapter"].as_string() == adapter) & (_V.state != State.RETIRED.value)
    return tx.execute(select(_V.id).where(there).limit(1)).first() is not None
