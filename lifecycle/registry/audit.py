"""The audit trail: who did what to which version, alias or key, when and why. Written with the change itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Select, func, insert, or_, select

from lifecycle.registry import hints, tables
from lifecycle.states import State
from lifecycle.version import Frozen

MOVE, FORCE, ROLLBACK, POLICY = "alias.move", "alias.force", "alias.rollback", "alias.policy"
MOVES = (MOVE, FORCE, ROLLBACK)
"""Each changes where an alias points."""
STUCK = "alias.stuck"
"""Changes nothing: what a guard has to say of a canary that it cannot roll back."""


class AuditEntry(Frozen):
    """One change. Ids grow with every change of the registry, and the newest is its revision."""

    id: int
    at: datetime
    actor: str
    action: str
    """`adapter.add` and `adapter.golden`, or those of another kind of artifact; `index.add`, `version.create`,
    `version.state`, `report.record`, `verdict.record`, `gate.set`, `alias.move`, `alias.force`, `alias.rollback`,
    `alias.policy`, `alias.stuck`, `key.create` or `key.revoke`; of the fine-tuning API `file.add`, `file.delete`,
    `file.purge`, `upload.create`, `upload.completed`, `upload.cancelled`, `job.create`, `job.state`, `job.take`,
    `checkpoint.expire` and `model.delete`; of the upkeep `artifact.collect` and `registry.restore`; of what
    engines keep `pin.set` and `pin.end`; of people's ratings `rating.create`, `rating.collect`, `rating.vote`,
    `rating.undo`, `rating.close` and `rating.export`."""
    subject: str
    """`triage:3` for a version, `triage:prod` for an alias, `triage` for its gate; what was pinned; a digest, an
    index's name, a task, a key's, file's or job's id, or a campaign's name otherwise."""
    detail: dict[str, Any]
    reason: str


def append(
    tx: Connection, actor: str, action: str, subject: str, detail: dict[str, Any] | None = None, reason: str = ""
) -> None:
    tx.execute(
        insert(tables.audit).values(
            at=datetime.now(UTC), actor=actor, action=action, subject=subject, detail=detail or {}, reason=reason
        )
    )
    hints.give(tx)


def newest(tx: Connection) -> int:
    return int(tx.execute(select(func.coalesce(func.max(tables.audit.c.id), 0))).scalar_one())


def entries(tx: Connection, name: str | None, limit: int) -> list[AuditEntry]:
    """Newest first; of `name` itself and of its versions and aliases, or of everything."""
    query = select(tables.audit).order_by(tables.audit.c.id.desc()).limit(limit)
    return [AuditEntry(**row._mapping) for row in tx.execute(_of(query, name))]


def _of(query: Select[Any], name: str | None) -> Select[Any]:
    if name is None:
        return query
    subject = tables.audit.c.subject
    return query.where(or_(subject == name, subject.startswith(f"{name}:", autoescape=True)))


def after(tx: Connection, id_: int, since: datetime | None, name: str | None, limit: int) -> list[AuditEntry]:
    """The entries that came after `id_`, and not before `since`; oldest first."""
    query = select(tables.audit).where(tables.audit.c.id > id_).order_by(tables.audit.c.id).limit(limit)
    if since is not None:
        query = query.where(tables.audit.c.at >= since)
    return [AuditEntry(**row._mapping) for row in tx.execute(_of(query, name))]


def newest_of(tx: Connection, action: str, subject: str) -> AuditEntry | None:
    here = (tables.audit.c.action == action) & (tables.audit.c.subject == subject)
    row = tx.execute(select(tables.audit).where(here).order_by(tables.audit.c.id.desc()).limit(1)).first()
    return AuditEntry(**row._mapping) if row is not None else None


def changes_of_alias(tx: Connection, alias: str, since: int) -> list[AuditEntry]:
    """Of its targets and its policy, after the revision `since`; oldest first."""
    here = (tables.audit.c.subject == alias) & tables.audit.c.action.in_((*MOVES, POLICY)) & (tables.audit.c.id > since)
    return [AuditEntry(**row._mapping) for row in tx.execute(select(tables.audit).where(here).order_by("id"))]


def last_moves(tx: Connection, aliases: Sequence[str]) -> dict[str, AuditEntry]:
    """What pointed each of the aliases, such as `triage:prod`, where it points now."""
    here = tables.audit.c.subject.in_(aliases) & tables.audit.c.action.in_(MOVES)
    newest = select(func.max(tables.audit.c.id)).where(here).group_by(tables.audit.c.subject)
    rows = tx.execute(select(tables.audit).where(tables.audit.c.id.in_(newest)))
    return {row.subject: AuditEntry(**row._mapping) for row in rows}


def newest_doubts(tx: Connection, versions: Sequence[str]) -> dict[str, str]:
    """Why a version, such as `triage:3`, is doubted, by its ref; only of those whose newest state that is."""
    here = tables.audit.c.subject.in_(versions) & (tables.audit.c.action == "version.state")
    newest = select(func.max(tables.audit.c.id)).where(here).group_by(tables.audit.c.subject)
    rows = tx.execute(select(tables.audit).where(tables.audit.c.id.in_(newest)))
    return {row.subject: row.reason for row in rows if row.detail.get("to") == State.DOUBTED}


def rolled_back(tx: Connection, actor: str, since: datetime) -> list[AuditEntry]:
    """See `Listings.rolled_back`."""
    table = tables.audit.c
    these = (table.id > newest(tx) - 5_000) & (table.action == ROLLBACK) & (table.actor == actor) & (table.at >= since)
    rows = tx.execute(select(tables.audit).where(these).order_by(table.id.desc()).limit(100))
    return [AuditEntry(**row._mapping) for row in rows]


def stuck(tx: Connection, alias: str) -> str | None:
    """Why a canary behind the alias, such as `triage:prod`, is not rolled back; None since the alias was changed."""
    query = select(tables.audit).where(tables.audit.c.subject == alias).order_by(tables.audit.c.id.desc()).limit(1)
    newest = tx.execute(query).first()
    return str(newest.detail.get("problem", "")) if newest is not None and newest.action == STUCK else None
