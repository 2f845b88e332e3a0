"""How many things a body holds, counted from its bytes before anything parses it.

A body of `{}` items is small and dear: each item becomes an object in Python, is looked at, and is named in a message.
Counting costs the same for every body, a third of a millisecond for each slice, and other requests have their turn
between two slices. `http_input.py` reads bodies by it.
"""

from __future__ import annotations

from dataclasses import dataclass

SLICE = 64 * 2**10
"""Bytes that are counted at once."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one body may have: bytes, objects and lists, and values, where a token in a list is one."""

    bytes: int
    containers: int
    values: int


class Counter:
    """Counts what stands outside of strings, piece by piece. A body that is no JSON is counted somehow."""

    def __init__(self) -> None:
        self.containers = 0
        self.values = 0
        self.depth = 0
        """How many containers are open now."""
        self._in_string = False
        self._kept = b""
        """A backslash at the end of a piece: what it escapes comes with the next."""

    def add(self, piece: bytes) -> None:
        text = self._kept + piece
        # In a string backslashes stand in twos but for the one that escapes something. What is escaped may be a quote.
        odd = (len(text) - len(text.rstrip(b"\\"))) % 2
        text, self._kept = (text[:-1], text[-1:]) if odd else (text, b"")
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
        parts = text.split(b'"')
        outside = b"".join(parts[self._in_string :: 2])
        self._in_string ^= len(parts) % 2 == 0
        containers = outside.count(b"{") + outside.count(b"[")
        self.containers += containers
        self.depth += containers - outside.count(b"}") - outside.count(b"]")
        # A value is the first of its container, or follows a comma.
        self.values += containers + outside.count(b",")
