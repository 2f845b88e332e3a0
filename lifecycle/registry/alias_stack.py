"""Where each alias points: its moves are a stack in the registry's tables, and rollback walks back along it.

What may stand behind an alias is `lifecycle/aliases.py`; `moves.py` asks that and then calls these.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, Row, Select, func, insert, select, update

from lifecycle.aliases import Alias, Target
from lifecycle.errors import Corrupt, NotAllowed, NotFound
from lifecycle.registry import tables
from lifecycle.traffic import TrafficPolicy


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
