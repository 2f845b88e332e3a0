"""Names that every engine loads before it is ready, and keeps, wherever it runs and however often it starts.

A pin is a name as callers write it (`triage`, `triage:3`, or `prod` for every `prod` alias), and the trail is where it
stands: its newest entry says whether it is pinned. Read `service/adapters/warming.py` for what it means.
"""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from lifecycle.aliases import PROD
from lifecycle.errors import InvalidInput
from lifecycle.registry import alias_stack, audit, records, tables
from lifecycle.registry.database import Database
from lifecycle.states import State
from lifecycle.version import Ref, Version

PINNED, UNPINNED = "pin.set", "pin.end"


class PinBook:
    """Belongs to a registry. Setting what is set, and ending what is not, changes nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> tuple[str, ...]:
        """In the order in which they were set."""
        with self._database.read() as tx:
            return pins(tx)

    def set(self, ref: str, *, actor: str, reason: str = "") -> None:
        """Raises `NotFound` where there is no such name, and `InvalidInput` where no engine would load anything for it.

        How many find a place is known to engines alone; each leaves out those named last.
        """
        with self._database.write() as tx:
            if ref not in pins(tx):
                _require_something_to_load(tx, ref)
                audit.append(tx, actor, PINNED, ref, reason=reason)

    def end(self, ref: str, *, actor: str, reason: str = "") -> bool:
        """Whether it was pinned."""
        with self._database.write() as tx:
            pinned = ref in pins(tx)
            if pinned:
                audit.append(tx, actor, UNPINNED, ref, reason=reason)
            return pinned


def pins(tx: Connection) -> tuple[str, ...]:
    table = tables.audit.c
    newest = select(func.max(table.id)).where(table.action.in_((PINNED, UNPINNED))).group_by(table.subject)
    rows = select(table.subject).where(table.id.in_(newest), table.action == PINNED).order_by(table.id)
    return tuple(tx.execute(rows).scalars())


def _require_something_to_load(tx: Connection, ref: str) -> None:
    if ref == PROD:
        return
    behind = _behind(tx, Ref.parse(ref))
    if all(version.state is State.RETIRED for version in behind):
        raise InvalidInput(f"{ref} is retired; no engine loads it")
    if not any(version.spec.adapter or version.spec.classifier for version in behind):
        raise InvalidInput(f"{ref} has neither an adapter nor a classifier; there is nothing to load")


def _behind(tx: Connection, ref: Ref) -> list[Version]:
    """Several for an alias that is split."""
    if ref.number is not None:
        return [records.to_version(records.version_row(tx, ref))]
    targets = alias_stack.get(tx, ref.name, ref.alias or PROD).targets
    of_targets = (Ref(name=ref.name, number=target.number) for target in targets)
    return [records.to_version(records.version_row(tx, each)) for each in of_targets]
