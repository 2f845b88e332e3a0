"""How many of what, in English: `1 row`, `2,000 rows`."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """`noun` is one that takes an s."""
    return f"{count:,} {noun}{'s' * (count != 1)}"
