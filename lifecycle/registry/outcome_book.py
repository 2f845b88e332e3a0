"""How live requests to a canary went: what each service of a registry tells the others, so that all judge by all of it.

It is evidence and soon forgotten, no change of what is served: it leaves no entry in the trail and the revision stands.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Text, and_, cast, delete, insert, or_, select

from lifecycle.registry import tables
from lifecycle.registry.database import Database

KEPT = timedelta(minutes=10)
"""A service that was away from the registry for longer misses what the others said meanwhile."""

Outcomes = Sequence[Any]
"""JSON, as `service/traffic/canary_exchange.py` writes it; nothing here looks into it."""


class OutcomeBook:
    """What services tell each other through the registry: `registry.outcomes`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def tell(self, service: str, told: Mapping[str, Outcomes]) -> None:
        """Add a batch to each trial named, all or none, and forget what is old, whoever told it."""
        table = tables.canary_outcomes
        now = datetime.now(UTC)
        with self._database.write() as tx:
            tx.execute(delete(table).where(table.c.told_at < now - KEPT))
            for trial, outcomes in told.items():
                row = {"trial": trial, "service": service, "outcomes": list(outcomes), "told_at": now}
                tx.execute(insert(table).values(row))

    def hear(self, service: str, heard: Mapping[str, int]) -> list[tuple[int, str, Outcomes]]:
        """The other services' batches of the trials in `heard`, as (id, trial, outcomes), in the order of the telling.

        `heard` is each trial's newest id so far; 0 begins with the oldest that is kept. A batch that is no list, or no
        JSON at all, is empty: it costs no other.
        """
        if not heard:
            return []
        table = tables.canary_outcomes
        newer = or_(*(and_(table.c.trial == trial, table.c.id > last) for trial, last in heard.items()))
        # As text: a driver that reads the JSON fails at the first batch that it cannot read, and gives none.
        outcomes = cast(table.c.outcomes, Text).label("outcomes")
        query = select(table.c.id, table.c.trial, outcomes).where(newer, table.c.service != service)
        with self._database.read() as tx:
            return [(row.id, row.trial, _read(row.outcomes)) for row in tx.execute(query.order_by(table.c.id))]


def _read(text: str | None) -> Outcomes:
    try:
        outcomes = json.loads(text or "")
    except (ValueError, RecursionError):
        return ()
    return outcomes if isinstance(outcomes, list) else ()
