"""Where requests for adapters wait for a slot in the batch: the asyncio around `admission.py`, which decides.

It stands between residency, which has the adapter in memory, and the engine, whose own scheduler would let requests
for adapters that are in the batch overtake the others for ever. Without contention a turn costs some microseconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from lifecycle.errors import Overloaded
from service.adapters.admission import Admission


class Gate(Protocol):
    """What the rest of the service asks of whoever gives out slots: `AdmissionGate` here, or engines elsewhere."""

    max_waiting: int

    def turn(self, adapter: str | None) -> AbstractAsyncContextManager[float]: ...
    @property
    def waiting(self) -> int: ...
    @property
    def taken(self) -> int: ...
    @property
    def in_slots(self) -> Collection[str]: ...
    @property
    def wanted(self) -> Collection[str]: ...


class AdmissionGate:
    """Belongs to one event loop. `slots` are the engine's; adapters go by their internal names."""

    def __init__(
        self, slots: int, turn_seconds: float, max_waiting: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._slots = slots
        self._policy: Admission[asyncio.Future[None]] = Admission(slots, turn_seconds)
        self.max_waiting = max_waiting
        """The engine's own bound, once that is known."""
        self._clock = clock

    @asynccontextmanager
    async def turn(self, adapter: str | None) -> AsyncIterator[float]:
        """Be in the engine for the length of the block, which is given the seconds that were waited.

        A request without an adapter (None) needs no slot. Raises `Overloaded` when `max_waiting` requests wait already.
        """
        if adapter is None:
            yield 0.0
            return
        waited = await self._enter(adapter)
        try:
            yield waited
        finally:
            self._leave(adapter)

    @property
    def waiting(self) -> int:
        """Requests that wait for a slot."""
        return self._policy.waiting

    @property
    def taken(self) -> int:
        """Slots with a request in the engine."""
        return len(self._policy.running())

    @property
    def in_slots(self) -> frozenset[str]:
        """The adapters with a request in the engine, by their names there."""
        return frozenset(self._policy.running())

    @property
    def wanted(self) -> frozenset[str]:
        """The adapters that requests wait with, by their names in the engine."""
        return frozenset(self._policy.queued())

    async def _enter(self, adapter: str) -> float:
        arrived = self._clock()
        # A ticket is made even where it is not needed: the policy decides, and nothing else does.
        ticket = asyncio.get_running_loop().create_future()
        if self._policy.arrive(ticket, adapter, arrived):
            return 0.0
        if self._policy.waiting > self.max_waiting:
            self._let_in(self._policy.abandon(ticket, adapter, arrived))
            raise Overloaded(
                f"{self.max_waiting} requests wait for the {self._slots} adapters that fit into one batch; try again "
                "later, or raise --max-loras",
                retry_after=1.0,
            )
        try:
            # Shielded: the ticket itself is then cancelled by nobody, and tells whether the request was let in.
            await asyncio.shield(ticket)
        except asyncio.CancelledError:
            if ticket.done():
                self._leave(adapter)
            else:
                self._let_in(self._policy.abandon(ticket, adapter, self._clock()))
            raise
        return self._clock() - arrived

    def _leave(self, adapter: str) -> None:
        self._let_in(self._policy.leave(adapter, self._clock()))

    def _let_in(self, tickets: Iterable[asyncio.Future[None]]) -> None:
        for ticket in tickets:
            ticket.set_result(None)
