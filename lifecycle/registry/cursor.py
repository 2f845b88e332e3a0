"""A page of a list: what comes after an item that the caller names, and whether there is more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Connection, Row, Table, select

from lifecycle.errors import InvalidInput, Problem

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Cursor:
    after: str | None = None
    """The id of the last item of the page before."""
    limit: int = 20
    oldest_first: bool = False


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    items: list[T]
    has_more: bool = False


def rows(
    tx: Connection,
    table: Table,
    where: ColumnElement[bool],
    cursor: Cursor,
    *,
    known: ColumnElement[bool] | None = None,
) -> Page[Row[Any]]:
    """In the order in which they were made. `known`: rows that may be come after, more than those that are shown, so
    that who deletes what he has read goes on reading. Raises `InvalidInput` when there is no item to come after."""
    query = select(table).where(where)
    if cursor.after is not None:
        among = where if known is None else known
        last = tx.execute(select(table.c.number).where(among & (table.c.id == cursor.after))).scalar()
        if last is None:
            raise InvalidInput(
                "The list has no such page:", [Problem("after", f"{cursor.after!r} is not in this list")]
            )
        query = query.where(table.c.number > last if cursor.oldest_first else table.c.number < last)
    order = table.c.number if cursor.oldest_first else table.c.number.desc()
    fetched = list(tx.execute(query.order_by(order).limit(cursor.limit + 1)))
    return Page(fetched[: cursor.limit], len(fetched) > cursor.limit)
