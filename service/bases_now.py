"""How each base is doing, where a service runs several: for `/ready`, the pages and whoever else looks on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from service.cluster.asking import Card
from service.parts import Parts
from service.resolution import Base


@dataclass(frozen=True, slots=True)
class BaseNow:
    """All of its engines together."""

    base: Base
    rooms: tuple[Card, ...]

    @property
    def waiting_for(self) -> list[str]:
        """What keeps each engine from answering, while none of them does; none where none has been asked for yet."""
        problems = [room.problem for room in self.rooms if room.problem]
        return problems if len(problems) == len(self.rooms) else []

    @property
    def is_ready(self) -> bool:
        return not self.waiting_for

    @property
    def since(self) -> datetime | None:
        return datetime.fromtimestamp(max(room.since for room in self.rooms), UTC) if self.rooms else None

    @property
    def slots(self) -> tuple[int, int]:
        """Taken, and all of them."""
        return sum(room.slots_taken for room in self.rooms), sum(room.slots for room in self.rooms)

    @property
    def waiting(self) -> int:
        """Requests that wait for a slot."""
        return sum(room.waiting for room in self.rooms)

    @property
    def places(self) -> tuple[int, int]:
        """Adapters in memory, and how many there may be."""
        return sum(len(room.held) for room in self.rooms), sum(room.places for room in self.rooms)

    @property
    def restarts(self) -> int:
        return sum(room.restarts for room in self.rooms)


def bases_now(parts: Parts) -> list[BaseNow]:
    """None of a service with one base: its supervisor tells."""
    if not parts.base.beside:
        return []
    cards = parts.rooms()
    return [BaseNow(base, _of(base, cards)) for base in parts.base.every]


def _of(base: Base, cards: Sequence[Card]) -> tuple[Card, ...]:
    return tuple(card for card in cards if card.base == base.digest)
