"""One normal form for what readers take for the same answer, in Arabic and in English."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.text import normalise, tokens


@pytest.mark.parametrize(
    ("written", "same"),
    [
        ("مُسْتَشْفَى", "مستشفى"),  # vowels
        ("العيـــادة", "العيادة"),  # tatweel
        ("أحمد", "احمد"),
        ("إلى", "الى"),
        ("آدم", "ادم"),
        ("ٱلقلب", "القلب"),
        ("على", "علي"),  # alef maksura for ya
        ("عيادة", "عياده"),  # ta marbuta for ha
        ("الساعة ٩", "الساعة 9"),  # Arabic-Indic digits
        ("الساعة ۹", "الساعة 9"),  # Persian digits
        ("نعم، شكرًا.", "نعم شكرا"),
        ("ﻻ", "لا"),  # presentation form
        ("The Clinic, at 9", "clinic at 9"),
        ("x-ray", "x ray"),
        ("  two\n spaces ", "two spaces"),
        ("STRASSE", "straße"),
    ],
)
def test_spellings_of_one_answer_have_one_normal_form(written: str, same: str) -> None:
    assert normalise(written) == normalise(same)


@pytest.mark.parametrize(
    ("one", "other"), [("قلب", "كلب"), ("الأسنان", "الإنسان"), ("9", "10"), ("theatre", "atre"), ("سن", "سنة")]
)
def test_different_answers_stay_different(one: str, other: str) -> None:
    assert normalise(one) != normalise(other)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.text())
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


def test_nothing_but_signs_has_no_words() -> None:
    assert tokens("؟!، …") == []
