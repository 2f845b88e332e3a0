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


@pytest.mark.parametrize(("share", "sizes"), [(0.0, (4, 1)), (1e-9, (4, 1)), (1 - 1e-9, (1, 4)), (1.0, (1, 4))])
def test_of_few_prompts_one_at_least_is_on_each_side(
    jsonl: Callable[..., Path], share: float, sizes: tuple[int, int]
) -> None:
    (rows,) = read_rows(jsonl("t.jsonl", [{"prompt": f"q {n}", "completion": "a"} for n in range(5)]))
    kept, held = hold_out(rows, share, seed=1)
    assert (len(kept), len(held)) == sizes
    assert {row.question for row in (held if share < 0.5 else kept)} == {
        (min if share < 0.5 else max)((f"q {n}" for n in range(5)), key=lambda question: point(question, 1))
    }
    with pytest.raises(InvalidData, match="5 rows of one prompt leave none"):
        hold_out(rows[:1] * 5, share, seed=1)


def test_ten_rows_the_fewest_that_a_job_takes_are_enough_whatever_the_seed(jsonl: Callable[..., Path]) -> None:
    (rows,) = read_rows(jsonl("t.jsonl", [{"prompt": f"q {n}", "completion": "a"} for n in range(10)]))
    without = [seed for seed in range(40) if all(point(f"q {n}", seed) >= 0.1 * 2**64 for n in range(10))]
    assert len(without) > 5  # where chance alone would hold out none
    for seed in range(40):
        kept, held = hold_out(rows, 0.1, seed=seed)
        assert kept
        assert len(held) == 1 if seed in without else held
