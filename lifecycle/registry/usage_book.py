"""The registry's account of what each key used (`access/usage.py`), added to in batches.

It is accounting, not a change of what is served, so it leaves no entry in the trail and the revision stands.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from sqlalchemy import Connection, func, insert, select, update

from lifecycle.access.usage import Usage
from lifecycle.registry import tables
from lifecycle.registry.database import Database


class UsageBook:
    """The registry's account of use: `registry.usage`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, uses: Iterable[Usage], day: date) -> dict[str, int]:
        """Add the counts to those that are there, all or none; returns `tokens_of(day)` as it is then.

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
            return _tokens_of(tx, day)

    def tokens_of(self, day: date) -> dict[str, int]:
        """Key's id → all its tokens of that day."""
        with self._database.read() as tx:
            return _tokens_of(tx, day)

    def between(self, since: date | None = None, until: date | None = None, key: str | None = None) -> list[Usage]:
        """By day, key and version; both days are included, and `key` is an id."""
        table = tables.key_usage
        query = select(table).order_by(table.c.day, table.c.key, table.c.version)
        if since is not None:
            query = query.where(table.c.day >= since)
        if until is not None:
            query = query.where(table.c.day <= until)
        if key is not None:
            query = query.where(table.c.key == key)
        with self._database.read() as tx:
            return [Usage.model_validate(dict(row._mapping)) for row in tx.execute(query)]


def _tokens_of(tx: Connection, day: date) -> dict[str, int]:
    table = tables.key_usage
    total = func.sum(table.c.prompt_tokens + table.c.completion_tokens)
    found = tx.execute(select(table.c.key, total).where(table.c.day == day).group_by(table.c.key))
    return {key: int(tokens) for key, tokens in found}
