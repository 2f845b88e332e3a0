"""A version's life: draft → evaluated → approved | rejected → retired, as a table of allowed moves."""

from __future__ import annotations

from enum import StrEnum

from lifecycle.errors import NotAllowed


class State(StrEnum):
    DRAFT = "draft"
    EVALUATED = "evaluated"
    APPROVED = "approved"
    REJECTED = "rejected"
    RETIRED = "retired"


MOVES: dict[State, frozenset[State]] = {
    State.DRAFT: frozenset({State.EVALUATED, State.RETIRED}),
    # A version may be evaluated again, under another policy or with more items: the newest verdict decides.
    State.EVALUATED: frozenset({State.EVALUATED, State.APPROVED, State.REJECTED, State.RETIRED}),
    State.APPROVED: frozenset({State.EVALUATED, State.RETIRED}),
    State.REJECTED: frozenset({State.EVALUATED, State.RETIRED}),
    State.RETIRED: frozenset(),
}


def move(ref: str, now: State, to: State) -> State:
    """The state after the move. Raises `NotAllowed`, naming the allowed moves, when the table has none."""
    if to not in MOVES[now]:
        allowed = ", ".join(sorted(MOVES[now])) or "nothing: it is final"
        raise NotAllowed(f"{ref} is {now} and cannot become {to}; from here it can become {allowed}")
    return to
