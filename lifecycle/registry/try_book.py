"""How often items have been used to decide: each new set of candidates on them is a try, under whatever name.

`report.Tries` is what an evaluation gets of it; `evals/gate/policy.py` spends its bound on false promotions over the
tries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, func, insert, select

from lifecycle.registry import tables
from lifecycle.report import Tries
from lifecycle.version import Digest, digest_of


@dataclass(frozen=True, slots=True)
class Attempt:
    """Candidates (digests of versions) on items (their data digest), and what answered."""

    data: Digest
    candidates: Sequence[Digest]
    deployment: Digest | None
    name: str
    drawn: str = ""
    """How answers were sampled, where they were: other draws are another chance to pass by luck."""

    @property
    def key(self) -> Digest:
        return digest_of([sorted(set(self.candidates)), self.deployment, *([self.drawn] if self.drawn else [])])


def count(tx: Connection, attempt: Attempt, *, provisional: bool, actor: str) -> Tries:
    """See `Registry.count_try`."""
    same_data = tables.tries.c.data_digest == attempt.data
    same = same_data & (tables.tries.c.key == attempt.key)
    tried = tx.execute(select(tables.tries.c.number).where(same, ~tables.tries.c.provisional)).scalar()
    seen = tx.execute(select(tables.tries.c.id).where(same, tables.tries.c.provisional)).scalar()
    newest = tx.execute(select(func.coalesce(func.max(tables.tries.c.number), 0)).where(same_data)).scalar_one()
    number = int(newest) + 1 if tried is None else int(tried)
    if (seen if provisional else tried) is None:
        tx.execute(
            insert(tables.tries).values(
                data_digest=attempt.data,
                key=attempt.key,
                number=None if provisional else number,
                name=attempt.name,
                candidates=sorted(set(attempt.candidates)),
                provisional=provisional,
                actor=actor,
                at=datetime.now(UTC),
            )
        )
    looks = select(func.count()).select_from(tables.tries).where(same_data, tables.tries.c.provisional)
    return Tries(number=number, looks=tx.execute(looks).scalar_one())
