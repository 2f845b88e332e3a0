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
    State.EVALUATED: frozenset({State.APPROVED, State.REJECTED, State.RETIRED}),
    # The newest verdict decides. A new evaluation alone changes nothing here: comparing a candidate with what
    # serves now must not take the approval from what serves now.
    State.APPROVED: frozenset({State.REJECTED, State.RETIRED}),
    State.REJECTED: frozenset({State.APPROVED, State.RETIRED}),
    State.RETIRED: frozenset(),
}


def move(ref: str, now: State, to: State) -> State:
    """The state after the move. Raises `NotAllowed`, naming the allowed moves, when the table has none."""
    if to not in MOVES[now]:
        allowed = ", ".join(sorted(MOVES[now])) or "nothing: it is final"
        raise NotAllowed(f"{ref} is {now} and cannot become {to}; from here it can become {allowed}")
    return to
