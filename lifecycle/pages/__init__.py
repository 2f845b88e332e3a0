"""What the pages that the house writes into files share: one look, and nothing to fetch."""

from __future__ import annotations

from functools import cache
from pathlib import Path


@cache
def house_style() -> str:
    """The style sheet, to stand in the page itself."""
    return Path(__file__).with_name("house.css").read_text(encoding="utf-8")
