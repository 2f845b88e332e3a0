"""Rows held out for validation are asked nowhere in training."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from lifecycle.errors import InvalidData
from lifecycle.rows.files import read_rows
from lifecycle.text.normaliser import LIGHT_1
from training.data.split import hold_out


def test_a_holdout_never_splits_rows_that_ask_the_same(jsonl: Callable[..., Path]) -> None:
    asked = [f"question {i // 3}{'!' * (i % 3)}" for i in range(300)]
    (rows,) = read_rows(jsonl("t.jsonl", [{"prompt": q, "completion": "a"} for q in asked]))
    kept, held = hold_out(rows, 0.2, seed=3)
    sides = [{row.question.rstrip("!") for row in side} for side in (kept, held)]
    assert not sides[0] & sides[1]
    assert len(kept) + len(held) == 300
    assert 30 <= len(held) <= 90
    assert hold_out(rows, 0.2, seed=3) == (kept, held)
    assert hold_out(rows, 0.2, seed=4) != (kept, held)


def test_too_few_rows_to_hold_out_are_refused(jsonl: Callable[..., Path]) -> None:
    (rows,) = read_rows(jsonl("t.jsonl", [{"prompt": "q", "completion": "a"}]))
    with pytest.raises(InvalidData, match=r"data\.validation"):
        hold_out(rows, 0.1, seed=1)


def point(question: str, seed: int) -> int:
    """Where a prompt stands among 2**64: training begins at the share."""
    return int.from_bytes(hashlib.sha256(f"{seed}\n{LIGHT_1.normal(question)}".encode()).digest()[:8])


def test_a_prompt_stands_at_its_hash_and_one_exactly_at_the_share_is_trained(jsonl: Callable[..., Path]) -> None:
    asked = [f"question {number}" for number in range(6000)]
    (rows,) = read_rows(jsonl("t.jsonl", [{"prompt": q, "completion": "a"} for q in asked]))
    kept, held = hold_out(rows, 0.5, seed=1)
    assert {row.question for row in held} == {q for q in asked if point(q, 1) < 2**63}
    # A share has 53 bits: only a prompt whose point needs no more can stand exactly at one.
    exact = next(q for q in asked if point(q, 1) % 2**11 == 0)
    kept, held = hold_out(rows, point(exact, 1) / 2**64, seed=1)
    assert exact in {row.question for row in kept}


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_neither_side_may_be_empty(jsonl: Callable[..., Path], share: float) -> None:
    (rows,) = read_rows(jsonl("t.jsonl", [{"prompt": f"q {n}", "completion": "a"} for n in range(5)]))
    with pytest.raises(InvalidData, match="5 rows are too few"):
        hold_out(rows, share, seed=1)
