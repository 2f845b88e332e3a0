"""Rows held out for validation, so that the best checkpoint is chosen on questions that were not trained."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

from lifecycle.errors import InvalidData
from lifecycle.rows.kinds import Row
from lifecycle.text.normaliser import LIGHT_1

_Row = TypeVar("_Row", bound=Row)


def hold_out(rows: Sequence[_Row], share: float, seed: int) -> tuple[list[_Row], list[_Row]]:
    """(training rows, validation rows): about `share` of the prompts goes to validation.

    A row's side depends on its normalised prompt and `seed` alone, so rows that ask the same never end up on both
    sides, and adding rows moves none of the others; of few prompts, one at least is on each side. Raises `InvalidData`
    when all rows ask the same.
    """
    places = [_place(LIGHT_1.normal(row.question), seed) for row in rows]
    apart = sorted({*places})
    if len(apart) < 2:
        raise InvalidData(
            f"{len(rows)} rows of one prompt leave none to hold out for validation; name a file in data.validation"
        )
    most = min(max(share * 2**64, apart[0] + 1), apart[-1])
    kept = [row for row, place in zip(rows, places, strict=True) if place >= most]
    held = [row for row, place in zip(rows, places, strict=True) if place < most]
    return kept, held


def _place(prompt: str, seed: int) -> int:
    """Below 2**64, by chance."""
    return int.from_bytes(hashlib.sha256(f"{seed}\n{prompt}".encode()).digest()[:8], "big")
