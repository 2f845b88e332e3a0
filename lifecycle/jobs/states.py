"""A job's life as a table of allowed moves: validating_files → queued → running → finishing → succeeded, or evaluating.

The API moves jobs by their owners' wishes (cancel, pause, resume), workers by what happens. Whoever comes second finds
a state from which the table has no such move, and is refused: that is all that decides a race.
"""

from __future__ import annotations

from enum import StrEnum

from lifecycle.errors import JobRefused


class JobState(StrEnum):
    VALIDATING = "validating_files"
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    FINISHING = "finishing"
    """Its weights are made and go into the registry: too late to be cancelled, so that nothing is half there. Callers
    are told that it is running."""
    EVALUATING = "evaluating"
    """Its model is there and can be called, and the evaluation that it asked for runs. Callers are told the same."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


S = JobState
JOB_MOVES: dict[JobState, frozenset[JobState]] = {
    S.VALIDATING: frozenset({S.QUEUED, S.FAILED, S.CANCELLED}),
    S.QUEUED: frozenset({S.RUNNING, S.PAUSED, S.FAILED, S.CANCELLED}),
    # To queued: its worker was asked to stop, and gives it back.
    S.RUNNING: frozenset({S.QUEUED, S.PAUSED, S.FINISHING, S.FAILED, S.CANCELLED}),
    S.PAUSED: frozenset({S.QUEUED, S.CANCELLED}),
    S.FINISHING: frozenset({S.EVALUATING, S.SUCCEEDED, S.FAILED}),
    S.EVALUATING: frozenset({S.SUCCEEDED}),
    S.SUCCEEDED: frozenset(),
    S.FAILED: frozenset(),
    S.CANCELLED: frozenset(),
}

ENDED = frozenset(state for state, moves in JOB_MOVES.items() if not moves)
HELD = frozenset({S.RUNNING, S.FINISHING, S.EVALUATING})
"""A worker has it, by a lease."""
WAITING = frozenset({S.VALIDATING, S.QUEUED})
"""For a worker, which looks at its files first."""


def move_job(id_: str, now: JobState, to: JobState) -> JobState:
    """The state after the move. Raises `JobRefused` when the table has none."""
    if to in JOB_MOVES[now]:
        return to
    if now is S.FINISHING:
        raise JobRefused(f"{id_} is being published, which takes a moment; it is too late for it to become {to}")
    if now is S.EVALUATING:
        raise JobRefused(
            f"{id_} has its model, and only its evaluation still runs; it is too late for it to become {to}"
        )
    allowed = ", ".join(sorted(state for state in JOB_MOVES[now])) or "nothing: it has ended"
    raise JobRefused(f"{id_} is {now} and cannot become {to}; from here it can become {allowed}")
