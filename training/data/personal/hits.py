"""What a detector gives: the kind of personal data, its place, and whether that is certain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["EMAIL", "PHONE", "IBAN", "CARD", "NATIONAL_ID", "IP", "SECRET", "PERSON"]


@dataclass(frozen=True, slots=True)
class Hit:
    """Characters `start` to `end` of a text.

    `sure` when a checksum, an unmistakable form, or the words before it confirm what it is; otherwise it has the form
    alone, and a record number can have that too.
    """

    kind: Kind
    start: int
    end: int
    sure: bool
    value: str
    """What the spellings of one value have in common."""
    quotes: str = ""
    """What a placeholder must stand between: a number of a JSON text becomes a string."""
