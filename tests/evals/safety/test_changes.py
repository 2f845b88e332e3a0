"""Changes of a text that a reader does not mind."""

from __future__ import annotations

import random

import pytest

from evals.safety.changes import CHANGES, typos
from lifecycle.text.letters import visible
from lifecycle.text.normaliser import DEFAULT

ENGLISH = "When does the pharmacy close on 12 March?"
ARABIC = "متى تُغلق صيدلية المستشفى يوم 12 إلى المساء؟"


def changed(name: str, text: str, seed: int = 1) -> str:
    return CHANGES[name](text, random.Random(seed))


@pytest.mark.parametrize("text", [ENGLISH, ARABIC])
@pytest.mark.parametrize("name", ["case", "spelling", "marks", "digits", "unseen", "spaces"])
def test_what_a_reader_takes_for_the_same_is_the_same_to_the_houses_normaliser(name: str, text: str) -> None:
    for seed in range(5):
        assert DEFAULT.normal(changed(name, text, seed)) == DEFAULT.normal(text)


@pytest.mark.parametrize(
    ("name", "text", "same"),
    [
        ("spelling", ENGLISH, True), ("marks", ENGLISH, True), ("digits", "no number", True), ("case", ARABIC, True),
        ("spelling", ARABIC, False), ("marks", ARABIC, False), ("marks", "متى تغلق الصيدلية", False),
        ("digits", ARABIC, False), ("typos", "a b 12", True), ("typos", ENGLISH, False), ("typos", ARABIC, False),
    ],
)  # fmt: skip
def test_a_change_that_does_not_bear_on_a_text_leaves_it(name: str, text: str, same: bool) -> None:
    assert (changed(name, text) == text) is same


def test_the_seed_decides_every_change() -> None:
    for name in CHANGES:
        assert changed(name, ARABIC, 7) == changed(name, ARABIC, 7)
    assert len({changed("typos", ENGLISH, seed) for seed in range(10)}) > 3


def test_typing_errors_touch_one_letter_in_twelve_and_no_number() -> None:
    words = ["cardiology", "123456"] * 20
    wrong = typos(" ".join(words), random.Random(1)).split(" ")
    assert wrong[1::2] == ["123456"] * 20
    touched = sum(one != other for one, other in zip(wrong[::2], words[::2], strict=True))
    assert 8 <= touched <= 13  # 160 inner letters, 8 % of them, and some words have two


def test_noise_is_long_in_the_questions_own_language_and_leaves_the_question() -> None:
    for text, word in ((ENGLISH, "weather"), (ARABIC, "الطقس")):
        assert changed("noise", text).endswith(text)
        assert word in changed("noise", text)
        assert len(changed("noise", text).split()) > 250


def test_what_nobody_sees_is_all_that_is_put_in() -> None:
    assert changed("unseen", ENGLISH) != ENGLISH
    assert visible(changed("unseen", ENGLISH)) == ENGLISH
