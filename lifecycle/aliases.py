"""Aliases: names for traffic. What may stand behind one, and the stack of moves that rollback walks.

`refusal` is the gate itself, a pure function; `registry.py` asks it inside the transaction that moves the alias.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import Field
from sqlalchemy import Connection, Row, Select, insert, select, update

from lifecycle import tables
from lifecycle.errors import InvalidInput, NotAllowed, NotFound
from lifecycle.report import Verdict
from lifecycle.states import State
from lifecycle.version import Frozen, Ref, Version

PROD = "prod"
"""The alias that a bare name means, and the only one that the gate guards."""


class Target(Frozen):
    """One version behind an alias, with its share of the traffic."""

    number: int = Field(ge=1)
    weight: float = Field(default=1.0, gt=0.0, allow_inf_nan=False)


class Alias(Frozen):
    """`triage:prod` and what it points at. The weights of its targets sum to 1."""

    name: str
    alias: str
    targets: tuple[Target, ...]

    @property
    def ref(self) -> str:
        return f"{self.name}:{self.alias}"


def shares(targets: Sequence[Target]) -> tuple[Target, ...]:
    """The targets by number, with weights that sum to 1. Raises `InvalidInput` for none, or one named twice."""
    numbers = [target.number for target in targets]
    if not numbers or len(set(numbers)) < len(numbers):
        raise InvalidInput("an alias needs at least one target, and each version once")
    total = math.fsum(target.weight for target in targets)
    if math.isclose(total, 1.0, abs_tol=1e-9):
        total = 1.0
    by_number = sorted(targets, key=lambda target: target.number)
    return tuple(Target(number=target.number, weight=target.weight / total) for target in by_number)


def refusal(alias: str, version: Version, verdict: Verdict | None) -> str | None:
    """Why `version`, whose newest verdict is `verdict`, may not stand behind `alias`; None when it may.

    `prod` takes an approved version whose newest verdict passed and names its digest. Every other alias (canary,
    shadow) takes what has been evaluated and not rejected. A retired version stands behind nothing.
    """
    if version.state is State.RETIRED:
        return f"{version.ref} is retired; make a new version of its recipe"
    if alias != PROD:
        if version.state in (State.EVALUATED, State.APPROVED):
            return None
        return f"{version.ref} is {version.state}; only an evaluated or approved version can take {alias}"
    return _not_through_the_gate(version, verdict)


def _not_through_the_gate(version: Version, verdict: Verdict | None) -> str | None:
    if verdict is None:
        return f"{version.ref} has no verdict; run `dabt eval` first"
    if verdict.version_digest != version.digest:
        return f"the verdict on {version.ref} is for another recipe ({verdict.version_digest}); run `dabt eval` again"
    if not verdict.passed:
        failed = "; ".join(f"{check.rule}: {check.detail}" for check in verdict.checks if not check.passed)
        return f"the newest verdict on {version.ref} did not pass ({failed or 'no reason given'})"
    if version.state is not State.APPROVED:
        return f"{version.ref} is {version.state}, not approved; run `dabt eval` again"
    return None


def get(tx: Connection, name: str, alias: str) -> Alias:
    """Raises `NotFound`, naming the aliases that there are."""
    if (row := _move(tx, name, alias)) is not None:
        return _alias(row)
    others = ", ".join(other.ref for other in of_name(tx, name))
    cure = f"there is {others}" if others else f"promote a version: `dabt promote {name}:1`"
    raise NotFound(f"there is no {name}:{alias}; {cure}")


def of_name(tx: Connection, name: str) -> list[Alias]:
    """In alphabetical order."""
    query = _current().where(tables.aliases.c.name == name).order_by(tables.aliases.c.alias)
    return [_alias(row) for row in tx.execute(query)]


def push(tx: Connection, alias: Alias, *, forced: bool) -> Alias | None:
    """Point the alias at its new targets; what it pointed at before is returned, and remembered for `pop`."""
    before = _move(tx, alias.name, alias.alias)
    targets = [target.model_dump(mode="json") for target in alias.targets]
    move = tx.execute(
        insert(tables.moves)
        .values(
            name=alias.name,
            alias=alias.alias,
            targets=targets,
            forced=forced,
            replaced=before.id if before is not None else None,
            created_at=datetime.now(UTC),
        )
        .returning(tables.moves.c.id)
    ).scalar_one()
    if before is None:
        tx.execute(insert(tables.aliases).values(name=alias.name, alias=alias.alias, move=move))
    else:
        _point(tx, alias.name, alias.alias, move)
    return _alias(before) if before is not None else None


def pop(tx: Connection, name: str, alias: str) -> tuple[Alias, Alias, bool]:
    """Point the alias at what it pointed at before: (before, now, whether `now` had been forced).

    Raises `NotAllowed` when there is nothing to go back to.
    """
    top = _move(tx, name, alias)
    if top is None:
        get(tx, name, alias)  # raises NotFound with what there is
    if top is None or top.replaced is None:
        raise NotAllowed(f"{name}:{alias} has nothing before it to go back to; promote a version instead")
    _point(tx, name, alias, top.replaced)
    now = tx.execute(select(tables.moves).where(tables.moves.c.id == top.replaced)).one()
    return _alias(top), _alias(now), bool(now.forced)


def check_name(alias: str) -> str:
    """Raises `InvalidInput` for a name that would read as a version's number, or that no request could write."""
    if Ref.parse(f"x:{alias}").alias != alias:
        raise InvalidInput(f"'{alias}' cannot name an alias: it would be read as a version's number")
    return alias


def _current() -> Select[tuple[Any, ...]]:
    return select(tables.moves).join(tables.aliases, tables.aliases.c.move == tables.moves.c.id)


def _move(tx: Connection, name: str, alias: str) -> Row[Any] | None:
    return tx.execute(_current().where(tables.aliases.c.name == name, tables.aliases.c.alias == alias)).one_or_none()


def _point(tx: Connection, name: str, alias: str, move: int) -> None:
    here = (tables.aliases.c.name == name) & (tables.aliases.c.alias == alias)
    tx.execute(update(tables.aliases).where(here).values(move=move))


def _alias(row: Row[Any]) -> Alias:
    return Alias(name=row.name, alias=row.alias, targets=tuple(Target(**target) for target in row.targets))
