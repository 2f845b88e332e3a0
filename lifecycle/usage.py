"""What each key used: requests and tokens by version and day (UTC), kept in the registry and added to in batches.

It is accounting, not a change of what is served, so it leaves no entry in the trail and the revision stands.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import date

from sqlalchemy import Connection, func, insert, select, update

from lifecycle import tables
from lifecycle.database import Database
from lifecycle.errors import InvalidInput, Problem
from lifecycle.version import Frozen


def day_of(text: str | None, place: str) -> date | None:
    """The day that `place` names as YYYY-MM-DD; None for nothing. Raises `InvalidInput`."""
    try:
        return date.fromisoformat(text) if text else None
    except ValueError as error:
        raise InvalidInput("No usage is shown:", [Problem(place, f"{text!r} is no day", "YYYY-MM-DD")]) from error


class Usage(Frozen):
    """One key's use of one version on one day."""

    day: date
    key: str
    """The key's id."""
    version: str
    """`triage:3`, or the base's name."""
    requests: int = 0
    """Those that were answered, or left by the caller before the end; an error of ours is nobody's use."""
    prompt_tokens: int = 0
    """With the version's system text, shots and passages: what the engine read."""
    completion_tokens: int = 0

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Usage) -> Usage:
        """Both together; `other` must be of the same day, key and version."""
        return self.model_copy(
            update={
                "requests": self.requests + other.requests,
                "prompt_tokens": self.prompt_tokens + other.prompt_tokens,
                "completion_tokens": self.completion_tokens + other.completion_tokens,
            }
        )


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


def as_csv(uses: Sequence[Usage], names: dict[str, str]) -> str:
    """With a header line, and `names` of the keys beside their ids, for a spreadsheet or a bill."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("day", "key", "name", "version", "requests", "prompt_tokens", "completion_tokens"))
    for use in uses:
        counts = (use.requests, use.prompt_tokens, use.completion_tokens)
        writer.writerow((use.day.isoformat(), use.key, names.get(use.key, ""), _inert(use.version), *counts))
    return out.getvalue()


def _inert(cell: str) -> str:
    """What a spreadsheet would compute becomes text: a base may be named after any folder (OWASP, CSV Injection)."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell
