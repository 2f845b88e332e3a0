"""The labelled cases of personal data: enough of them, in both languages, and what is called certain is right."""

from __future__ import annotations

from benchmarks.personal import Tally, case, cases
from training.data.personal import find


def test_marks_become_places() -> None:
    assert case("a ⟦IP|1.2.3.4⟧ b ⟦CARD|5⟧") == ("a 1.2.3.4 b 5", [("IP", 2, 9), ("CARD", 12, 13)])


def test_there_are_enough_cases_in_both_languages_and_some_mislead() -> None:
    every = cases()
    assert len(every) >= 300
    assert len({text for text, _ in every}) == len(every)
    assert sum(any("\u0600" < letter < "\u06ff" for letter in text) for text, _ in every) >= 100
    assert sum(not marks for _, marks in every) >= 100


def test_what_is_certain_is_right_and_little_is_missed() -> None:
    tally = Tally()
    for text, marks in cases():
        tally.see([mark for mark in marks if mark[0] != "PERSON"], find(text))
    assert tally.found.total() >= 0.95 * tally.marks.total()
    assert tally.right.total() >= 0.95 * tally.hits.total()
    assert tally.certain_right.total() >= 0.99 * tally.certain.total()
    assert tally.certain.total() >= 0.7 * tally.hits.total()
