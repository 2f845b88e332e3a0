"""Which requests enter the engine now, when more adapters are wanted than a batch has slots. Pure: no clock, no I/O.

An adapter with a request in the engine holds a slot, and further requests for it cost no other slot. Adapters take
turns. A turn begins with everything that waits for the adapter; for `turn_seconds` more of its requests join; after
that, while another adapter waits, newcomers form its next group at the end of the queue, so that the slot empties and
passes on. Groups are served in the order in which their first request came. While nobody waits, nothing is closed.

So nobody starves. A group with k groups ahead of it, of S slots, enters after at most (⌊k/S⌋ + 1) · (turn_seconds + T),
where T is the longest that one request stays in the engine: within that time every slot's turn ends or is renewed, and
either takes one group from the head of the queue. docs/decisions/0006 compares this with what else there is;
`admission_gate.py` is the asyncio around it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

Ticket = TypeVar("Ticket", bound=Hashable)


@dataclass(slots=True)
class _Turn:
    began: float
    running: int


class Admission(Generic[Ticket]):
    """Times are seconds of a clock that does not go back. A call costs constant time per request that it admits."""

    def __init__(self, slots: int, turn_seconds: float) -> None:
        self._slots = slots
        self._turn_seconds = turn_seconds
        self._turns: dict[str, _Turn] = {}
        """By adapter: those in the engine. At most `slots`."""
        self._groups: OrderedDict[str, dict[Ticket, None]] = OrderedDict()
        """By adapter: those that wait, the group that came first at the head. Empty while a slot is free."""
        self.waiting = 0

    def arrive(self, ticket: Ticket, adapter: str, now: float) -> bool:
        """True when the request enters now. Otherwise a later `leave` or `abandon` returns its ticket."""
        turn = self._turns.get(adapter)
        if turn is not None and (not self._groups or self._open(turn, adapter, now)):
            turn.running += 1
            return True
        if turn is None and len(self._turns) < self._slots:
            self._turns[adapter] = _Turn(now, 1)
            return True
        self._groups.setdefault(adapter, {})[ticket] = None
        self.waiting += 1
        return False

    def leave(self, adapter: str, now: float) -> list[Ticket]:
        """A request has left the engine; the tickets of those that enter in consequence."""
        turn = self._turns[adapter]
        turn.running -= 1
        if turn.running:
            return []
        del self._turns[adapter]
        return self._advance(now)

    def abandon(self, ticket: Ticket, adapter: str, now: float) -> list[Ticket]:
        """A waiting request gives up; the tickets of those that enter in consequence."""
        group = self._groups[adapter]
        del group[ticket]
        self.waiting -= 1
        if group:
            return []
        del self._groups[adapter]
        return self._advance(now)

    def running(self) -> dict[str, int]:
        """Requests in the engine, by the adapter that holds a slot."""
        return {adapter: turn.running for adapter, turn in self._turns.items()}

    def queued(self) -> dict[str, int]:
        """Requests that wait, by adapter, in the order of service."""
        return {adapter: len(group) for adapter, group in self._groups.items()}

    def _open(self, turn: _Turn, adapter: str, now: float) -> bool:
        """Whether a newcomer joins although others wait. Nobody overtakes those of its own adapter."""
        return adapter not in self._groups and now - turn.began < self._turn_seconds

    def _advance(self, now: float) -> list[Ticket]:
        entered: list[Ticket] = []
        while self._groups:
            adapter = next(iter(self._groups))
            turn = self._turns.get(adapter)
            if turn is None and len(self._turns) >= self._slots:
                break
            group = self._groups.pop(adapter)
            self.waiting -= len(group)
            entered += group
            # At the head, an adapter that still has a slot has nobody to pass it on to: its turn begins anew.
            self._turns[adapter] = _Turn(now, len(group) + (turn.running if turn else 0))
        return entered
