"""Where each alias points: its moves are a stack in the registry's tables, and rollback walks back along it.

What may stand behind an alias is `lifecycle/aliases.py`; `moves.py` asks that and then calls these.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, func, insert, select, update

from lifecycle.aliases import Alias, Target
from lifecycle.errors import NotAllowed, NotFound
from lifecycle.registry import tables
from lifecycle.registry.readable import valid
from lifecycle.traffic import TrafficPolicy


def get(tx: Connection, name: str, alias: str) -> Alias:
    """Raises `NotFound`, naming the aliases that there are."""
    if (wanted := find(tx, name, alias)) is not None:
        return wanted
    here = select(tables.aliases.c.alias).where(tables.aliases.c.name == name).order_by(tables.aliases.c.alias)
    there = [f"{name}:{other}" for other in tx.execute(here).scalars()]
    cure = f"there is {', '.join(there)}" if there else f"promote a version: `dabt promote {name}:1`"
    raise NotFound(f"there is no {name}:{alias}; {cure}")


def find(tx: Connection, name: str, alias: str) -> Alias | None:
    """Reads no other alias, so that none can be in its way."""
    if (row := _move(tx, name, alias)) is None:
        return None
    newest = (tables.policies.c.name == name) & (tables.policies.c.alias == alias)
    order = tables.policies.c.id.desc()
    policy = tx.execute(select(tables.policies.c.body).where(newest).order_by(order).limit(1)).scalar()
    return to_alias(tx, row, policy or {})


def every(tx: Connection, name: str | None = None) -> list[Alias]:
    """In alphabetical order; those of `name`, or all of them."""
    moves = current().order_by(tables.aliases.c.name, tables.aliases.c.alias)
    policies = select(tables.policies).where(tables.policies.c.id.in_(newest_policies(name)))
    if name is not None:
        moves = moves.where(tables.aliases.c.name == name)
    bodies = {(row.name, row.alias): row.body for row in tx.execute(policies)}
    return [to_alias(tx, row, bodies.get((row.name, row.alias), {})) for row in tx.execute(moves).all()]


def current() -> Select[tuple[Any, ...]]:
    """The moves that aliases are at."""
    return select(tables.moves).join(tables.aliases, tables.aliases.c.move == tables.moves.c.id)


def newest_policies(name: str | None = None) -> Select[tuple[int]]:
    """Ids of the policies that hold now."""
    newest = select(func.max(tables.policies.c.id)).group_by(tables.policies.c.name, tables.policies.c.alias)
    return newest if name is None else newest.where(tables.policies.c.name == name)


def to_alias(tx: Connection, row: Row[Any], policy: Any) -> Alias:
    """Of a move and the policy that holds beside it. Raises `Unreadable`."""
    body = {"name": row.name, "alias": row.alias, "targets": row.targets, "move": row.id, "policy": policy}
    alias = valid(Alias, body, f"{row.name}:{row.alias}")
    if len(alias.targets) > 1 and (alone := _alone_before(tx, row)) is not None:
        number = alone.targets[0]["number"]
        return alias.model_copy(update={"incumbent": number if number in alias.numbers else None})
    return alias


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


def below(tx: Connection, name: str, alias: str) -> Alias | None:
    """What `pop` would point it at; None when there is nothing to go back to. Raises `NotFound`."""
    now = get(tx, name, alias)
    replaced = _move_of(tx, now.move).replaced
    return None if replaced is None else to_alias(tx, _move_of(tx, replaced), now.policy.model_dump(mode="json"))


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


def _move(tx: Connection, name: str, alias: str) -> Row[Any] | None:
    return tx.execute(current().where(tables.aliases.c.name == name, tables.aliases.c.alias == alias)).one_or_none()


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
