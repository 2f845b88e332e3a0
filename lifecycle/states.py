"""A version's life as a table of allowed moves: draft → evaluated → approved | rejected, approved ⇄ doubted, → retired.

What moves a version along it is `standing.py`.
"""

from __future__ import annotations

from enum import StrEnum

from lifecycle.errors import NotAllowed


class State(StrEnum):
    DRAFT = "draft"
    EVALUATED = "evaluated"
    APPROVED = "approved"
    DOUBTED = "doubted"
    """It was approved and failed since. What serves goes on serving, until somebody decides."""
    REJECTED = "rejected"
    RETIRED = "retired"


CALLABLE = frozenset({State.APPROVED, State.DOUBTED})
"""What callers may name by its number: a doubt stops nothing, whether a version is called by an alias or by number."""

MOVES: dict[State, frozenset[State]] = {
    State.DRAFT: frozenset({State.EVALUATED, State.RETIRED}),
    State.EVALUATED: frozenset({State.APPROVED, State.REJECTED, State.RETIRED}),
    # Never to rejected: no evaluation stops what serves, or bars the way back to it.
    State.APPROVED: frozenset({State.DOUBTED, State.RETIRED}),
    State.DOUBTED: frozenset({State.APPROVED, State.RETIRED}),
    State.REJECTED: frozenset({State.APPROVED, State.RETIRED}),
    State.RETIRED: frozenset(),
}


def move(ref: str, now: State, to: State) -> State:
    """The state after the move. Raises `NotAllowed`, naming the allowed moves, when the table has none."""
    if to not in MOVES[now]:
        allowed = ", ".join(sorted(MOVES[now])) or "nothing: it is final"
        raise NotAllowed(f"{ref} is {now} and cannot become {to}; from here it can become {allowed}")
    return to
