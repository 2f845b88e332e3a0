"""The registry's account of what each key used (`access/usage.py`), added to in batches.

It is accounting, not a change of what is served, so it leaves no entry in the trail and the revision stands.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import date
from itertools import islice

from sqlalchemy import Connection, func, insert, select, update

from lifecycle.access.usage import Usage
from lifecycle.registry import tables
from lifecycle.registry.database import Database

_AT_ONCE = 500
"""Keys named in one query; databases take so many."""


class UsageBook:
    """The registry's account of use: `registry.usage`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, uses: Iterable[Usage], day: date, keys: Collection[str] | None = None) -> dict[str, int]:
        """Add the counts to those that are there, all or none; returns `tokens_of(day, keys)` as it is then.

        Several services may do so at once.
        """
        table = tables.key_usage
        with self._database.write() as tx:
            # There is one writer at a time, so nobody can come between the update that finds no row and the insert.
            for use in uses:
                here = (table.c.key == use.key) & (table.c.day == use.day) & (table.c.version == use.version)
                more = {
                    "requests": table.c.requests + use.requests,
                    "prompt_tokens": table.c.prompt_tokens + use.prompt_tokens,
                    "completion_tokens": table.c.completion_tokens + use.completion_tokens,
                }
                if tx.execute(update(table).where(here).values(more)).rowcount == 0:
                    tx.execute(insert(table).values(use.model_dump()))
            return _tokens_of(tx, day, keys)

    def tokens_of(self, day: date, keys: Collection[str] | None = None) -> dict[str, int]:
        """Key's id → all its tokens of that day, for these keys; None for all that used any."""
        with self._database.read() as tx:
            return _tokens_of(tx, day, keys)

    def between(
        self,
        since: date | None = None,
        until: date | None = None,
        key: str | None = None,
        version: str | None = None,
    ) -> list[Usage]:
        """By day, key and version; both days are included, `key` is an id, and `version` a ref or the base's name."""
        table = tables.key_usage
        query = select(table).order_by(table.c.day, table.c.key, table.c.version)
        if since is not None:
            query = query.where(table.c.day >= since)
        if until is not None:
            query = query.where(table.c.day <= until)
        if key is not None:
            query = query.where(table.c.key == key)
        if version is not None:
            query = query.where(table.c.version == version)
        with self._database.read() as tx:
            return [Usage.model_validate(dict(row._mapping)) for row in tx.execute(query)]


def _tokens_of(tx: Connection, day: date, keys: Collection[str] | None) -> dict[str, int]:
    table = tables.key_usage
    total = func.sum(table.c.prompt_tokens + table.c.completion_tokens)
    query = select(table.c.key, total).where(table.c.day == day).group_by(table.c.key)
    if keys is None:
        return {key: int(tokens) for key, tokens in tx.execute(query)}
    spent: dict[str, int] = {}
    rest = iter(sorted(keys))
    while some := list(islice(rest, _AT_ONCE)):
        spent |= {key: int(tokens) for key, tokens in tx.execute(query.where(table.c.key.in_(some)))}
    return spent
