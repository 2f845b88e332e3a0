"""Whose turn it is in the queue of jobs: owners take turns, and each has its oldest job trained first.

Who was served longest ago comes next, and who was never served before all others, so that a hundred jobs of one owner
hold up another's by one job. A job's turn is a number that grows with every job that is taken.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence

from sqlalchemy import Connection, func, select

from lifecycle.jobs.states import JobState
from lifecycle.registry import tables

_T = tables.jobs.c


def next_turn(tx: Connection) -> int:
    return int(tx.execute(select(func.coalesce(func.max(_T.turn), 0) + 1)).scalar_one())


def in_order(tx: Connection, bases: Sequence[str]) -> list[str]:
    """Ids of the jobs over these bases that wait, as they would be taken."""
    waiting: dict[str, deque[str]] = defaultdict(deque)
    here = (_T.state == JobState.QUEUED.value) & _T.base.in_(bases)
    for row in tx.execute(select(_T.id, _T.owner).where(here).order_by(_T.number)):
        waiting[row.owner].append(row.id)
    if not waiting:
        return []
    served = select(_T.owner, func.max(_T.turn).label("turn")).where(_T.owner.in_(list(waiting))).group_by(_T.owner)
    turns = {row.owner: row.turn or 0 for row in tx.execute(served)}
    first = {owner: number for number, owner in enumerate(waiting)}
    round_ = deque(sorted(waiting, key=lambda owner: (turns[owner], first[owner])))
    order: list[str] = []
    while round_:
        owner = round_.popleft()
        order.append(waiting[owner].popleft())
        if waiting[owner]:
            round_.append(owner)
    return order
