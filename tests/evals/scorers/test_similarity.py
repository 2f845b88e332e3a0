"""Similarity by the packaged English model, and what it cannot read."""

from __future__ import annotations

from typing import Any

import pytest

from evals.scorers.similarity import Similarity


async def test_what_the_model_cannot_read_is_unscored_and_says_why(scored: Any) -> None:
    arabic = await scored("similarity", "المستشفى مفتوح", "the hospital is open")
    assert arabic.figures == {}
    assert "does not read Arabic" in arabic.unscored["similarity"]
    assert (await scored("similarity", " ", "the hospital is open")).figures == {"similarity": 0.0}


@pytest.mark.e2e
async def test_near_meanings_are_nearer_than_far_ones(scored: Any) -> None:
    target = "The clinic opens at nine in the morning."
    near = await scored("similarity", "In the morning the clinic is open from nine.", target)
    far = await scored("similarity", "Bananas are yellow.", target)
    assert near.figures["similarity"] > 0.7
    assert far.figures["similarity"] < 0.3
    long = await scored("similarity", "word " * 400, target)
    assert "longer than the 256 tokens" in long.unscored["similarity"]


def test_the_model_counts_by_its_bytes_and_not_by_its_place() -> None:
    described = Similarity().described()
    assert described["settings"]["model"].startswith("sha256:")
