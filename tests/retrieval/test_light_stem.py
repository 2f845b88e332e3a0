"""light10, affix by affix and at the lengths from which it strips (Larkey, Ballesteros & Connell 2007, section 3)."""

from __future__ import annotations

import pytest

from retrieval.analysis import analyse, light_stem


@pytest.mark.parametrize("prefix", ["ال", "وال", "بال", "كال", "فال", "لل"])
def test_each_article_goes_where_two_letters_stay(prefix: str) -> None:
    assert light_stem(prefix + "طب") == "طب"
    assert light_stem(prefix + "ط") == prefix + "ط"


@pytest.mark.parametrize("suffix", ["ها", "ان", "ات", "ون", "ين", "يه", "ه", "ي"])
def test_each_suffix_goes_where_two_letters_stay(suffix: str) -> None:
    assert light_stem("طب" + suffix) == "طب"


@pytest.mark.parametrize("suffix", ["ها", "ان", "ات", "ون", "ين"])
def test_a_suffix_stays_where_one_letter_would(suffix: str) -> None:
    assert light_stem("ط" + suffix) == "ط" + suffix


def test_the_conjunction_goes_where_three_letters_stay() -> None:
    assert light_stem("وطبق") == "طبق"
    assert light_stem("وطب") == "وطب"


def test_only_one_prefix_goes() -> None:
    assert light_stem("والالب") == "الب"
    assert light_stem("الللب") == "للب"
    assert light_stem("بالللطب") == "للطب"


def test_a_long_suffix_goes_whole() -> None:
    assert light_stem("طبهيه") == "طب"  # يه, then ه; and not ه, then ي, which would leave one letter more


def test_suffixes_go_one_after_the_other() -> None:
    assert light_stem("طبيبانها") == "طبيب"  # ها, then ان


def test_a_word_that_ends_with_the_conjunctions_letter_is_left_alone() -> None:
    assert light_stem("طبلو") == "طبلو"


def test_english_is_stemmed_and_arabic_is_not_stemmed_as_english() -> None:
    assert analyse("Visiting patients visits العيادات") == ["visit", "patient", "visit", "عياد"]
    assert analyse("Visiting العيادات", arabic_stem=str) == ["visit", "العيادات"]
