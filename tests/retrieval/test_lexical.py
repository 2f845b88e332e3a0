"""The ranking by words at its edges: nothing to rank by, ties, and how many come back."""

from __future__ import annotations

import pytest

from retrieval.lexical import LexicalRanking


def test_at_most_as_many_come_back_as_were_asked_for_best_first() -> None:
    ranking = LexicalRanking(["pharmacy", "pharmacy pharmacy hours", "hours", "unrelated text"])
    everything = ranking.search("pharmacy hours", 10)
    assert set(everything) == {0, 1, 2}
    assert everything[0] == 1
    assert ranking.search("pharmacy hours", 2) == everything[:2]


def test_equal_passages_keep_their_order() -> None:
    assert LexicalRanking(["visit"] * 4 + ["other"]).search("visit", 3) == [0, 1, 2]


@pytest.mark.parametrize("texts", [[], ["the of and"], ["", " "]])
def test_passages_without_a_word_are_never_found(texts: list[str]) -> None:
    assert LexicalRanking(texts).search("the visit", 3) == []


def test_a_query_of_unknown_words_finds_nothing() -> None:
    assert LexicalRanking(["visiting hours"]).search("zebra", 3) == []


def test_making_a_ranking_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    LexicalRanking(["visiting hours"] * 50)
    assert tuple(capfd.readouterr()) == ("", "")
