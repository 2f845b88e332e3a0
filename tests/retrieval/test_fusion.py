"""Reciprocal-rank fusion by its formula, to the digit, and in its order."""

from __future__ import annotations

from retrieval.fusion import reciprocal_rank_fusion


def test_scores_are_those_of_the_formula_with_the_papers_k() -> None:
    fused = reciprocal_rank_fusion([[7, 3], [3, 9]])
    assert fused == [(3, 1 / 62 + 1 / 61), (7, 1 / 61), (9, 1 / 62)]


def test_another_k_is_used_as_given() -> None:
    assert reciprocal_rank_fusion([[5]], k=1) == [(5, 0.5)]


def test_equal_scores_go_to_the_lower_number_whichever_ranking_came_first() -> None:
    assert [item for item, _ in reciprocal_rank_fusion([[9, 4], [4, 9], [6], [2]])] == [4, 9, 2, 6]
    assert [item for item, _ in reciprocal_rank_fusion([[8], [1]])] == [1, 8]


def test_no_rankings_have_no_items() -> None:
    assert reciprocal_rank_fusion([]) == []
    assert reciprocal_rank_fusion([[], []]) == []
