"""The tables of letters, whole: held against what Unicode itself says of each character."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from lifecycle.text.letters import ARABIC_LETTERS, ARABIC_MARKS, TATWEEL, ascii_digits, one_spelling, visible

EVERYTHING = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code <= 0xDFFF]


def name(character: str) -> str:
    return unicodedata.name(character, "")


def test_the_marks_are_unicodes_arabic_marks_that_take_no_room_and_no_others() -> None:
    """One that this Python's Unicode does not know yet is a later one of the same blocks."""
    arabic = [c for c in EVERYTHING if 0x0600 <= ord(c) <= 0x06FF or 0x0890 <= ord(c) <= 0x08FF]
    marks = {c for c in arabic if unicodedata.category(c) == "Mn"}
    assert marks <= ARABIC_MARKS
    assert {c for c in ARABIC_MARKS - marks if name(c)} <= {"\u06e5", "\u06e6"}, "the small waw and yeh of the Quran"
    assert all(one_spelling(mark) == "" for mark in ARABIC_MARKS | {TATWEEL})


def test_each_letter_that_is_typed_for_another_is_compared_as_it() -> None:
    assert {to: sorted(c for c, one in ARABIC_LETTERS.items() if one == to) for to in set(ARABIC_LETTERS.values())} == {
        "ا": sorted("أإآٱٲٳ"), "و": ["ؤ"], "ي": sorted("ئىیے"), "ه": sorted("ةھہەۃۀ"), "ك": sorted("کڪ"),
    }  # fmt: skip
    assert one_spelling("أؤىةک") == "اويهك"
    assert one_spelling("باتث aé1") == "باتث aé1"


def test_what_takes_no_room_is_left_out_and_nothing_else() -> None:
    gone = {c for c in EVERYTHING if visible(c) == ""}
    formats = {c for c in EVERYTHING if unicodedata.category(c) == "Cf"}
    selectors = {c for c in EVERYTHING if "VARIATION SELECTOR" in name(c)}
    fillers = {c for c in EVERYTHING if "HANGUL" in name(c) and name(c).endswith(" FILLER")}
    joiners = {"\u034f", "\u17b4", "\u17b5", "\u20e3"}  # grapheme joiner, two Khmer vowels, the frame of a keycap
    forms = {
        c for c in EVERYTHING
        if 0xFC5E <= ord(c) <= 0xFC63
        or (0xFE70 <= ord(c) <= 0xFE7F and ("FORM" in name(c) or "TATWEEL" in name(c)))
    }  # fmt: skip
    assert formats | selectors | fillers | joiners | forms <= gone
    unnamed = {c for c in gone - (formats | selectors | fillers | joiners | forms) if not name(c)}
    assert gone == formats | selectors | fillers | joiners | forms | unnamed
    assert len(unnamed) <= 2
    assert visible("ا\u200fب\ufeff c") == "اب c"


def test_digits_of_every_script_are_western_ones_in_their_place() -> None:
    digits = [c for c in EVERYTHING if unicodedata.category(c) == "Nd"]
    assert len(digits) > 600
    assert ascii_digits("".join(digits)) == "".join(str(unicodedata.digit(c)) for c in digits)
    assert ascii_digits("²½Ⅻ x") == "²½Ⅻ x"


@pytest.mark.parametrize("text", ["", "plain text", "العيادة"])
def test_what_has_nothing_to_change_stays(text: str) -> None:
    assert visible(text) == ascii_digits(text) == text
