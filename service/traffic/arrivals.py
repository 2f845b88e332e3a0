"""Brings what becomes of requests into the order in which they arrived.

What is quick ends first. In the order of ending, the first that is seen of a burst are its failures and its shortest
answers, and a canary that just keeps its bounds looks as if it broke them. So a request waits here until every one that
arrived before it has ended. One that does not end holds the others up for `canary.LONGEST` seconds and no longer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from service.traffic.canary import LONGEST, Outcome

_MOST = 10_000
"""Requests that wait for an earlier one. Beyond it the earliest is not waited for."""


@dataclass(slots=True, eq=False)
class Arrival:
    """One request, from its arrival to its end."""

    number: int
    """Of the version that answers it."""
    at: float
    """When it came, in seconds of any clock."""
    streams: bool
    session: str = ""
    first: float | None = None
    """Seconds from its arrival to its first token, once it has come."""
    ended: bool = False
    outcome: Outcome | None = None
    """None for one that says nothing at all."""


class Arrivals:
    """Belongs to one event loop."""

    def __init__(self, hand_on: Callable[[int, Outcome], None]) -> None:
        """`hand_on` is told version and outcome of each request that says something, in the order of arrival."""
        self._hand_on = hand_on
        self._waiting: deque[Arrival] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def begun(self, arrival: Arrival) -> None:
        self._waiting.append(arrival)
        self._advance(arrival.at)

    def ended(self, arrival: Arrival, outcome: Outcome | None, now: float) -> None:
        """Once for each; nothing for one that was not waited for any longer."""
        if not arrival.ended:
            arrival.ended, arrival.outcome = True, outcome
            self._advance(now)

    def _advance(self, now: float) -> None:
        while self._waiting:
            first = self._waiting[0]
            if not first.ended:
                if now - first.at < LONGEST and len(self._waiting) <= _MOST:
                    return
                first.outcome = _unended(first, now - first.at)
            self._waiting.popleft()
            if first.outcome is not None:
                self._hand_on(first.number, replace(first.outcome, session=first.session))


def _unended(arrival: Arrival, seconds: float) -> Outcome:
    """Of a request that is not waited for any longer. It did not fail so far, and neither did any guard see it."""
    outcome = Outcome(failed=False, caught=frozenset())
    if seconds < LONGEST:
        return outcome  # how long it will have taken is not known
    # The first token of an answer in one piece may have come long ago.
    ttft = LONGEST if arrival.first is None and arrival.streams else arrival.first
    return replace(outcome, ttft=ttft, total=LONGEST)
