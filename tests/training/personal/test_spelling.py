"""The one spelling of a text, and where in the text each of its characters stands."""

from __future__ import annotations

import pytest

from training.data.personal.spelling import Spelling, spelling, unescaped


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("a\u00a0b\u2003c\u3000d\u1680", "a b c d "),  # spaces of every width
        ("0\u20101\u20112\u20123\u20134\u20145", "0-1-2-3-4-5"),  # dashes
        ("\u2212\u2043\u02d7\u30fc", "----"),  # dashes that Unicode files elsewhere
        ("＋９６６（５０）", "+966(50)"),  # full-width signs
        ("٠١٢٣٤٥٦٧٨٩", "0123456789"),
        ("۰۵۰", "050"),
        ("०५०", "050"),
        ("أإآؤةى", "اااوهي"),
        ("é", "é"),  # no ASCII in NFKC: it stays
        ("½Ⅳ", "½Ⅳ"),  # several characters in NFKC: it stays
        ("ﷺ", "ﷺ"),
    ],
)
def test_a_character_has_one_spelling_and_takes_one_place(written: str, plain: str) -> None:
    assert spelling(written) == Spelling(plain)


@pytest.mark.parametrize("unseen", ["\u200f", "\u200b", "\u0640", "\u064e", "\ufeff", "\u2066"])
def test_what_nobody_sees_is_gone_and_the_places_are_those_of_the_text(unseen: str) -> None:
    plain = spelling(f"{unseen}a{unseen}{unseen}b{unseen}c")
    assert plain.text == "abc"
    assert [plain.span(at, at + 1) for at in range(3)] == [(1, 2), (4, 5), (6, 7)]
    assert plain.span(0, 3) == (1, 7)


@pytest.mark.parametrize("text", ["", "plain\x00 text\t-+", "a \\ b"])
def test_ascii_is_its_own_spelling(text: str) -> None:
    assert spelling(text) == Spelling(text)


def test_a_text_without_escapes_says_itself() -> None:
    assert unescaped("abc") == Spelling("abc")
    assert unescaped("abc").span(1, 3) == (1, 3)


@pytest.mark.parametrize(
    ("escape", "said"),
    [
        (r"\b", "\b"), (r"\f", "\f"), (r"\n", "\n"), (r"\r", "\r"), (r"\t", "\t"), (r"\"", '"'), (r"\\", "\\"),
        (r"\/", "/"), (r"\u1234", "\u1234"), (r"\u0041", "A"), (r"\uF0fA", "\uf0fa"), (r"\uD83D\uDE00", "😀"),
        (r"\ud800\udc00", "\U00010000"), (r"\udbff\udfff", "\U0010ffff"), (r"\ud83d", "\ud83d"),
        (r"\ude00", "\ude00"),
    ],
)  # fmt: skip
def test_an_escape_says_one_character_and_stands_where_it_is_written(escape: str, said: str) -> None:
    inside = unescaped(f"ab{escape}cd")
    assert inside.text == f"ab{said}cd"
    end = 2 + len(escape)
    assert [inside.span(at, at + 1) for at in range(5)] == [
        (0, 1),
        (1, 2),
        (2, end),
        (end, end + 1),
        (end + 1, end + 2),
    ]


def test_escapes_side_by_side_have_their_own_places() -> None:
    inside = unescaped(r"\n\u0040\ud83dx\t")
    assert inside.text == "\n@\ud83dx\t"
    assert unescaped(r"\nab") == Spelling("\nab", [0, 2, 3], [2, 3, 4])
    assert [inside.span(at, at + 1) for at in range(5)] == [(0, 2), (2, 8), (8, 14), (14, 15), (15, 17)]
