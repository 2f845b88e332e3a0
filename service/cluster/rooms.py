"""What one gateway knows of the engine rooms of a base: what they told last, and what it has sent them since.

Pure; `routing.py` decides by it. A card is as old as the way that it came, so a gateway counts its own requests itself
and takes those of others from the card.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from lifecycle.version import Digest
from service.cluster.asking import Ask, Card
from service.cluster.routing import Replica, Router


@dataclass(slots=True)
class _Known:
    replica: Replica
    card: Card | None = None
    others: int = 0
    """Requests of other gateways."""
    own: int = 0
    wanted: Counter[Digest] = field(default_factory=Counter)
    """Own requests under way, by adapter: it is there, or on its way there."""


class Rooms:
    """Belongs to one gateway and one base."""

    def __init__(self) -> None:
        self.router = Router()
        self._known: dict[str, _Known] = {}

    def are(self, rooms: Iterable[tuple[str, int]]) -> None:
        """Just these, with the most requests that each is given; the others are gone."""
        now = dict(rooms)
        for room in self._known.keys() - now.keys():
            del self._known[room]
        for room, most in now.items():
            if room not in self._known:
                self._known[room] = _Known(Replica(id=room, room=most))

    def told(self, card: Card) -> None:
        """Nothing where it is the card that is known, or one of a room that is gone."""
        known = self._known.get(card.room)
        if known is None or known.card == card:
            return
        known.card = replace(card, came=time.monotonic())
        known.others = max(0, card.busy - known.own)
        replica = known.replica
        replica.room = card.capacity
        replica.idle_slots = card.slots - card.slots_taken
        self._hold(known)

    def sent(self, room: str, digest: Digest | None) -> None:
        if (known := self._known.get(room)) is not None:
            known.own += 1
            if digest is not None:
                known.wanted[digest] += 1
            self._hold(known)

    def ended(self, room: str, digest: Digest | None) -> None:
        if (known := self._known.get(room)) is not None:
            known.own -= 1
            if digest is not None:
                known.wanted[digest] -= 1
                if not known.wanted[digest]:
                    del known.wanted[digest]
            self._hold(known)

    def ranked(self, ask: Ask) -> list[str]:
        """The rooms in the order in which to try them; without those that are full or have refused it."""
        if ask.room:
            return [room for room in self._known if room == ask.room and room not in ask.passed_over]
        here = [known.replica for known in self._known.values()]
        return [each.id for each in self.router.ranked(ask.digest, here) if each.id not in ask.passed_over]

    def cards(self) -> list[Card]:
        return [known.card for known in self._known.values() if known.card is not None]

    def _hold(self, known: _Known) -> None:
        replica = known.replica
        replica.busy = known.others + known.own
        here = [] if known.card is None else [each.digest for each in known.card.held]
        slots = len(here) if known.card is None else known.card.slots
        # What was used last is in the slots: the engine copies an adapter into one for its requests and leaves it.
        replica.resident = {*here[-slots:], *known.wanted}
        replica.nearby = here[:-slots]


_of_deployment: dict[str, Rooms] = {}


def rooms_of(deployment: str) -> Rooms:
    """Those of a deployment, as this process knows them: who chooses a room and who looks on know the same."""
    return _of_deployment.setdefault(deployment, Rooms())
