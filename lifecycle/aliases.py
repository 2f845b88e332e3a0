"""Aliases: names for traffic. What may stand behind one, and the stack of moves that rollback walks.

`refusal` is the gate itself, a pure function; `registry.py` asks it inside the transaction that moves the alias.
What an alias does besides sharing its requests out is its policy (`traffic.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import Field, ValidationError
from sqlalchemy import Connection, Row, Select, func, insert, select, update

from lifecycle import tables
from lifecycle.errors import Corrupt, InvalidInput, NotAllowed, NotFound
from lifecycle.report import Verdict
from lifecycle.states import State
from lifecycle.traffic import TrafficPolicy
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
    move: int = 0
    """The move that pointed it there: while this stands, nothing has been moved."""
    incumbent: int | None = None
    """Of several targets, the version that had the alias to itself last: the others are canaries beside it. None when
    there is one target, or when that version is no longer among them."""
    policy: TrafficPolicy = TrafficPolicy()

    @property
    def ref(self) -> str:
        return f"{self.name}:{self.alias}"

    def __str__(self) -> str:
        """`triage:3 (90%), triage:4 (10%)`"""
        return ", ".join(f"{self.name}:{target.number} ({100 * target.weight:.4g}%)" for target in self.targets)


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


def beside(alias: Alias, number: int, share: float) -> tuple[Target, ...]:
    """The alias's targets with `share` of the traffic for version `number`, and the rest as it was shared out before.

    Raises `NotAllowed` when there is no other version to have the rest.
    """
    others = [target for target in alias.targets if target.number != number]
    if not others:
        raise NotAllowed(f"{alias.ref} has no other version than {alias.name}:{number} that could have the rest")
    if share == 1:
        return (Target(number=number),)
    kept = math.fsum(target.weight for target in others)
    rest = [Target(number=one.number, weight=one.weight / kept * (1 - share)) for one in others]
    return shares([*rest, Target(number=number, weight=share)])


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
    there = every(tx, name)
    for one in there:
        if one.alias == alias:
            return one
    cure = f"there is {', '.join(one.ref for one in there)}" if there else f"promote a version: `dabt promote {name}:1`"
    raise NotFound(f"there is no {name}:{alias}; {cure}")


def every(tx: Connection, name: str | None = None) -> list[Alias]:
    """In alphabetical order; those of `name`, or all of them."""
    moves = _current().order_by(tables.aliases.c.name, tables.aliases.c.alias)
    newest = select(func.max(tables.policies.c.id)).group_by(tables.policies.c.name, tables.policies.c.alias)
    policies = select(tables.policies)
    if name is not None:
        moves = moves.where(tables.aliases.c.name == name)
        newest = newest.where(tables.policies.c.name == name)
    found = {(row.name, row.alias): row.body for row in tx.execute(policies.where(tables.policies.c.id.in_(newest)))}
    return [_alias(tx, row, found.get((row.name, row.alias), {})) for row in tx.execute(moves).all()]


def push(tx: Connection, name: str, alias: str, targets: Sequence[Target], *, forced: bool) -> None:
    """Point the alias at its new targets; what it pointed at before is remembered for `pop`."""
    before = _move(tx, name, alias)
    move = tx.execute(
        insert(tables.moves)
        .values(
            name=name,
            alias=alias,
            targets=[target.model_dump(mode="json") for target in targets],
            forced=forced,
            replaced=before.id if before is not None else None,
            created_at=datetime.now(UTC),
        )
        .returning(tables.moves.c.id)
    ).scalar_one()
    if before is None:
        tx.execute(insert(tables.aliases).values(name=name, alias=alias, move=move))
    else:
        _point(tx, name, alias, move)


def pop(tx: Connection, name: str, alias: str) -> bool:
    """Point the alias at what it pointed at before, and say whether that had been forced.

    Raises `NotFound`, and `NotAllowed` when there is nothing to go back to.
    """
    top = _move(tx, name, alias)
    if top is None:
        get(tx, name, alias)  # raises NotFound with what there is
    if top is None or top.replaced is None:
        raise NotAllowed(f"{name}:{alias} has nothing before it to go back to; promote a version instead")
    _point(tx, name, alias, top.replaced)
    return bool(_move_of(tx, top.replaced).forced)


def pop_to_incumbent(tx: Connection, judged: Alias) -> bool | None:
    """Point a split alias back at its incumbent alone, and say whether that had been forced.

    None, and nothing is done, when the alias has been moved or its bounds have been changed since it was `judged`.
    """
    now = get(tx, judged.name, judged.alias)
    top = _move(tx, judged.name, judged.alias)
    alone = _alone_before(tx, top) if top is not None else None
    unchanged = (now.move, now.policy.canary) == (judged.move, judged.policy.canary)
    if alone is None or now.incumbent is None or not unchanged:
        return None
    _point(tx, judged.name, judged.alias, alone.id)
    return bool(alone.forced)


def set_policy(tx: Connection, alias: Alias, policy: TrafficPolicy) -> None:
    body = policy.model_dump(mode="json")  # whole: a later release's defaults must not change it
    row = {"name": alias.name, "alias": alias.alias, "body": body, "created_at": datetime.now(UTC)}
    tx.execute(insert(tables.policies).values(row))


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


def _move_of(tx: Connection, id_: int) -> Row[Any]:
    return tx.execute(select(tables.moves).where(tables.moves.c.id == id_)).one()


def _alone_before(tx: Connection, move: Row[Any]) -> Row[Any] | None:
    """The newest of the moves below this one in the stack that had one target."""
    while move.replaced is not None:
        move = _move_of(tx, move.replaced)
        if len(move.targets) == 1:
            return move
    return None


def _alias(tx: Connection, row: Row[Any], policy: Any) -> Alias:
    incumbent = None
    if len(row.targets) > 1 and (alone := _alone_before(tx, row)) is not None:
        number = alone.targets[0]["number"]
        incumbent = number if any(target["number"] == number for target in row.targets) else None
    try:
        return Alias(
            name=row.name, alias=row.alias, targets=row.targets, move=row.id, incumbent=incumbent, policy=policy
        )
    except ValidationError as error:
        raise Corrupt(f"the alias {row.name}:{row.alias} cannot be read by this release: {error}") from error
