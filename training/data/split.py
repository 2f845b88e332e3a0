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
    sides, and adding rows moves none of the others. Raises `InvalidData` when a side would be empty.
    """
    kept: list[_Row] = []
    held: list[_Row] = []
    for row in rows:
        digest = hashlib.sha256(f"{seed}\n{LIGHT_1.normal(row.question)}".encode()).digest()
        (held if int.from_bytes(digest[:8], "big") < share * 2**64 else kept).append(row)
    if not kept or not held:
        raise InvalidData(
            f"{len(rows)} rows are too few to hold out {share:.0%} for validation; name a file in data.validation"
        )
    return kept, held
