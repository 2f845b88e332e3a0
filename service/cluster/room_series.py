"""What rooms do now, on a gateway's `/metrics`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from service.cluster.asking import Card

_SERIES: Mapping[str, str] = {
    "busy": "Requests that an engine has, running and waiting",
    "waiting": "Requests that wait for a slot in its batch",
    "slots_taken": "Adapters in its batch",
    "capacity": "Requests that it takes; 0 while it does not answer",
}


def page(cards: Sequence[Card]) -> bytes:
    """In Prometheus' text format: as many lines a series as there are rooms."""
    lines = []
    for name, text in _SERIES.items():
        lines += [f"# HELP dabt_room_{name} {text}", f"# TYPE dabt_room_{name} gauge"]
        lines += [f'dabt_room_{name}{{room="{card.room}"}} {getattr(card, name)}' for card in cards]
    lines += ["# HELP dabt_room_resident_adapters Adapters in its memory", "# TYPE dabt_room_resident_adapters gauge"]
    lines += [f'dabt_room_resident_adapters{{room="{card.room}"}} {len(card.held)}' for card in cards]
    return "".join(f"{line}\n" for line in lines).encode()
