"""How many adapters may be pinned: a place in memory stays free for all others."""

from __future__ import annotations

from lifecycle.errors import NotAllowed


def check_pins(pins: int, places: int) -> None:
    """Raises `NotAllowed` when of so many places none would be left to swap in."""
    if pins >= places:
        raise NotAllowed(
            f"{pins} adapters cannot be pinned: of {places} places in memory one must stay free for the others; "
            "unpin some, or raise --max-cpu-loras"
        )
