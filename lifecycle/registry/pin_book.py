"""Names that engines keep in memory ahead of any request, wherever they run and however often they start.

A pin is a name as callers write it (`triage`, `triage:3`, or `prod` for every `prod` alias), and the trail is where it
stands: its newest entry says whether it is pinned. Read `service/adapters/warming.py` for what it means.
"""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from lifecycle.registry import audit, tables
from lifecycle.registry.database import Database

PINNED, UNPINNED = "pin.set", "pin.end"


class PinBook:
    """Belongs to a registry. Setting what is set, and ending what is not, changes nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> tuple[str, ...]:
        """In the order in which they were set."""
        with self._database.read() as tx:
            return pins(tx)

    def set(self, ref: str, *, actor: str) -> None:
        with self._database.write() as tx:
            if ref not in pins(tx):
                audit.append(tx, actor, PINNED, ref)

    def end(self, ref: str, *, actor: str) -> bool:
        """Whether it was pinned."""
        with self._database.write() as tx:
            pinned = ref in pins(tx)
            if pinned:
                audit.append(tx, actor, UNPINNED, ref)
            return pinned


def pins(tx: Connection) -> tuple[str, ...]:
    table = tables.audit.c
    newest = select(func.max(table.id)).where(table.action.in_((PINNED, UNPINNED))).group_by(table.subject)
    rows = select(table.subject).where(table.id.in_(newest), table.action == PINNED).order_by(table.id)
    return tuple(tx.execute(rows).scalars())
