"""One normal form for what readers take for the same answer, in Arabic and in English."""

from __future__ import annotations

import hashlib
import sys
import unicodedata

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from lifecycle.errors import InvalidConfig
from lifecycle.text.letters import ARABIC_MARKS, ascii_digits, visible
from lifecycle.text.normaliser import DEFAULT, LIGHT_1, NORMALISERS, light_words, normaliser

SAME = [
    # letters
    ("مُسْتَشْفَى", "مستشفى"),  # vowels
    ("العيـــادة", "العيادة"),  # tatweel
    ("أحمد", "احمد"),
    ("إلى", "الى"),
    ("آدم", "ادم"),
    ("ٱلقلب", "القلب"),
    ("على", "علي"),  # alef maksura for ya
    ("عيادة", "عياده"),  # ta marbuta for ha
    ("مسؤول قارئ", "مسوول قاري"),  # the hamza left out
    ("کتاب علی ہنا", "كتاب علي هنا"),  # Persian and Urdu keys
    ("هٰذا", "هذا"),
    ("ﻻ", "لا"),  # presentation form
    ("محم\ufc60د", "محمد"),  # a mark that stands alone in text out of a PDF
    ("قرآن \u06dd", "قران"),  # the end of a verse
    ("STRASSE", "straße"),
    ("cafe\u0301", "café"),
    # what nobody sees
    ("\u200fنعم\u200e", "نعم"),
    ("\u202bالعيادة\u202c \u2067هنا\u2069", "العيادة هنا"),
    ("\u061cنعم", "نعم"),
    ("\ufeffنعم", "نعم"),
    ("می\u200cخواهم", "میخواهم"),
    ("clin\u00adic", "clinic"),
    ("Yes ❤\ufe0f", "yes"),
    ("5\ufe0f\u20e3", "5"),
    # digits and numbers
    ("الساعة ٩", "الساعة 9"),  # Arabic-Indic digits
    ("الساعة ۹", "الساعة 9"),  # Persian digits
    ("1,000", "1000"),
    ("١٬٠٠٠", "1000"),
    ("١،٠٠٠", "1000"),
    ("1,234,567.50", "1234567.50"),
    ("1\u00a0000", "1000"),
    ("1\u202f000\u202f000", "1000000"),
    ("1\u2009000", "1000"),
    ("٣٫٥", "3.5"),
    ("3.0", "3"),
    ("3.00", "3"),
    (".5", "0.5"),
    ("in 2019.", "in 2019"),
    ("7/8/2024", "7-8-2024"),
    ("½", "1/2"),
    ("1½", "1 1/2"),
    ("10²", "10^2"),
    ("10⁻³", "10^-3"),
    ("50 m²", "50 m2"),
    # signs
    ("−5", "-5"),
    ("–5", "-5"),
    ("-.5", "-0.5"),
    ("-0", "0"),
    ("10–12", "10-12"),
    ("10 –12", "10-12"),
    ("5 - 7", "5-7"),
    ("< 5", "<5"),
    ("<= 5", "≤5"),
    ("⩾ 5", ">=5"),
    ("a != 5", "a ≠ 5"),
    ("~5", "≈ 5"),
    ("~$5", "≈ $5"),
    ("+/-5", "±5"),
    ("+/−5", "±5"),
    ("+−5", "±5"),
    ("+-5", "±5"),
    ("2*3", "2 × 3"),
    ("2x3", "2×3"),
    ("5+3", "5 + 3"),
    ("€5", "5 €"),
    ("-$5", "$-5"),
    ("US$5", "US 5 $"),
    ("٪٥٠", "50 %"),
    ("A−", "A-"),
    ("C♯", "C#"),
    # everything else only parts words
    ("نعم، شكرًا.", "نعم شكرا"),
    ("أ؛ ب؟", "ا ب"),
    ("x-ray", "x ray"),
    ("COVID-19", "covid 19"),
    ("snake_case", "snake case"),
    ("don´t", "don’t"),
    ("9 a.m.", "9 am"),
    ("U.S.", "US"),
    ("ص.ب", "صب"),
    ("A -> B", "a b"),
    ("<b>5</b>", "5"),
    ("BMI = 25", "BMI 25"),
    ("  two\n spaces ", "two spaces"),
]


@pytest.mark.parametrize(("written", "same"), SAME)
def test_spellings_of_one_answer_have_one_normal_form(written: str, same: str) -> None:
    assert LIGHT_1.normal(written) == LIGHT_1.normal(same)


DIFFERENT = [
    ("قلب", "كلب"),
    ("الأسنان", "الإنسان"),
    ("9", "10"),
    ("theatre", "atre"),
    ("سن", "سنة"),
    ("سماء", "سما"),
    ("हिन्दी", "हिन्दू"),  # marks of other scripts are letters
    ("-5", "5"),
    ("−5", "5"),
    ("+5", "5"),
    ("+5", "-5"),
    ("±5", "5"),
    ("<5", ">5"),
    ("<5", "5"),
    ("≤5", "<5"),
    ("≠5", "5"),
    ("x < y", "x > y"),
    ("~5", "5"),
    ("5%", "5"),
    ("5%", "5‰"),
    ("€5", "5"),
    ("€5", "$5"),
    ("6÷2", "6×2"),
    ("6+2", "6 2"),
    ("1.5", "15"),
    ("1.5", "1 5"),
    ("1,5", "15"),
    ("1,5", "1.5"),  # which of 1.5, and 1 and 5, it is cannot be known: it is two numbers
    ("1,0000", "10000"),
    ("0,500", "500"),
    ("1,200,30", "120030"),
    ("5 200", "5200"),
    ("3.10", "3.1"),
    ("1.2.3", "123"),
    ("007", "7"),
    ("1/2", "1 2"),
    ("1/2", "1-2"),
    ("1½", "11/2"),
    ("10²", "102"),
    ("A-", "A"),
    ("A+", "A"),
    ("O+", "O-"),
    ("Rh-", "Rh"),
    ("C++", "C"),
    ("C#", "C"),
    ("?", "!"),
    ("👍", "👎"),
    ("", "!"),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different_answers_stay_different(one: str, other: str) -> None:
    assert LIGHT_1.normal(one) != LIGHT_1.normal(other)
    assert not LIGHT_1.same(one, other)


# -- articles ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "same"),
    [
        ("The Clinic, at 9", "clinic at 9"),
        ("at the clinic", "at clinic"),
        ("See The Hague", "see Hague"),
        ("a doctor and an X-ray", "doctor and x ray"),
        ("A doctor", "doctor"),
        ("Yes. A doctor", "yes doctor"),
        ("«the clinic»", "clinic"),
        ("Vitamin A deficiency", "vitamin a deficiency"),  # as they stand
    ],
)
def test_an_article_may_be_there_or_not(written: str, same: str) -> None:
    assert LIGHT_1.same(written, same)
    assert LIGHT_1.same(same, written)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Vitamin A", "Vitamin"),
        ("Vitamin A", "Vitamin the"),
        ("vitamin a", "vitamin"),  # never as the last word
        ("Vitamin A deficiency", "Vitamin deficiency"),
        ("Take An daily", "Take daily"),
        ("hepatitis-a virus", "hepatitis virus"),
        ("a) nine", "nine"),
        ("9 a.m.", "9 m"),
        ("then", "n"),
        ("and", "d"),
    ],
)
def test_what_cannot_be_an_article_stays(one: str, other: str) -> None:
    assert not LIGHT_1.same(one, other)
    assert not LIGHT_1.same(other, one)


def test_normal_forms_keep_their_articles_because_one_is_known_by_its_case() -> None:
    assert LIGHT_1.normal("The vitamin A") == "the vitamin a"
    assert LIGHT_1.without_articles("The vitamin A, the best") == "vitamin A, best"


# -- words ------------------------------------------------------------------------------------------------------------


def test_nothing_but_signs_has_no_words_and_equals_itself_alone() -> None:
    assert LIGHT_1.words("؟!، …") == []
    assert LIGHT_1.normal(" ؟!، … ") == LIGHT_1.normal("؟!،\u200f ...")
    assert LIGHT_1.normal("\u200f \u200b") == ""


def test_a_sign_that_counts_is_a_word_of_its_own_and_a_minus_is_part_of_its_number() -> None:
    assert LIGHT_1.words("A rise of -5% (< €3)") == ["a", "rise", "of", "−5", "%", "<", "3", "€"]


WRITTEN_AS_WORDS = {"₨", "﷼"}  # by NFKC: "Rs" and "ریال"
CURRENCIES = {chr(code) for code in range(sys.maxunicode) if unicodedata.category(chr(code)) == "Sc"}


@pytest.mark.parametrize("sign", sorted(CURRENCIES - WRITTEN_AS_WORDS | {"%", "‰"}))
def test_every_currency_and_percentage_counts_on_either_side_of_its_number(sign: str) -> None:
    assert LIGHT_1.same(f"{sign}5", f"5 {sign}")
    assert LIGHT_1.same(f"-{sign}5.50", f"-5.50{sign}")
    assert not LIGHT_1.same(f"{sign}5", "5")


@pytest.mark.parametrize(
    "sign", ["=", "|", "¬", "\u2190", "\u21ff", "\u27f0", "\u27ff", "->", "=>", "<-", "<=>", "</p>"]
)
def test_what_only_draws_parts_words(sign: str) -> None:
    assert LIGHT_1.normal(f"a{sign}b") == LIGHT_1.normal(f"a {sign} b") == "a b"


@pytest.mark.parametrize("sign", ["\u2200", "±", "÷", "×", "∞", "√", "+", "≤", "≥", "≠", "≈", "<", ">"])
def test_what_calculates_or_compares_is_a_word_of_its_own(sign: str) -> None:
    assert LIGHT_1.words(f"a {sign} b") == LIGHT_1.words(f"a{sign} b") == ["a", sign, "b"]


@pytest.mark.parametrize(
    ("written", "words"), [("5 <", ["5"]), ("> quoted", ["quoted"]), (">> 5", [">", "5"]), ("a < < b", ["a", "<", "b"])]
)
def test_a_sign_that_compares_nothing_is_none(written: str, words: list[str]) -> None:
    assert LIGHT_1.words(written) == words


# -- whatever comes ---------------------------------------------------------------------------------------------------

MEANT = list("aAbxE5012.,،٬٫--−–+±<>=~≈%$€/^*×! \u00a0\u202f²½⁻⁺♯#(\"'|→_:؟÷")
LETTERS = list("ءأيىیةهـ\u064b\u0654\u0651\u200f\u200c\u0308\u0301\ufe0f❤\u20e3")
TEXTS = st.one_of(
    st.text(),
    st.text(st.sampled_from(MEANT + LETTERS), max_size=12),
    st.text(st.characters(codec=None), max_size=8),  # halves of surrogate pairs too
)


@settings(deadline=None, derandomize=True, max_examples=1000)
@given(TEXTS)
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    assert LIGHT_1.normal(LIGHT_1.normal(text)) == LIGHT_1.normal(text)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(TEXTS, TEXTS)
def test_being_the_same_goes_both_ways(one: str, other: str) -> None:
    assert LIGHT_1.same(one, one)
    assert LIGHT_1.same(one, other) == LIGHT_1.same(other, one)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.text(st.sampled_from("مستشفى العيادة٩.5-"), min_size=1), st.data())
def test_what_nobody_sees_may_stand_anywhere(text: str, data: st.DataObject) -> None:
    for unseen in "\u200e\u200f\u202a\u202e\u2066\u2069\u061c\u200b\u200c\u200d\ufeff":
        at = data.draw(st.integers(0, len(text)))
        assert LIGHT_1.same(text[:at] + unseen + text[at:], text)


@pytest.mark.parametrize("mark", sorted(ARABIC_MARKS))
def test_every_arabic_mark_may_be_left_out(mark: str) -> None:
    assert LIGHT_1.normal(f"كت{mark}ب") == "كتب"


@settings(deadline=None, derandomize=True)
@given(st.integers(0, 10**15), st.sampled_from("0٠۰०"), st.sampled_from([",", "٬", "،", "\u00a0", "\u2009", "\u202f"]))
def test_a_number_is_one_in_any_digits_and_grouping(number: int, zero: str, separator: str) -> None:
    grouped = f"{number:,}".replace(",", separator)
    written = "".join(chr(ord(zero) + int(digit)) if digit.isdecimal() else digit for digit in grouped)
    assert LIGHT_1.normal(written) == str(number)


def test_digits_are_replaced_one_by_one_so_that_positions_hold() -> None:
    assert ascii_digits("رقمي ٠۵५!²") == "رقمي 055!²"


def test_only_what_takes_no_room_is_dropped_as_unseen() -> None:
    assert visible("\u200fa\u200b \u00a0b\ufeff\u064b\n") == "a \u00a0b\u064b\n"


# -- names ------------------------------------------------------------------------------------------------------------


def test_a_normaliser_is_found_by_its_name_and_others_are_refused_with_the_names() -> None:
    assert normaliser("light-1") is LIGHT_1 is DEFAULT
    assert list(NORMALISERS) == [LIGHT_1.name] == ["light-1"]
    with pytest.raises(InvalidConfig, match="there is no 'light-0' → one of light-1"):
        normaliser("light-0")


def test_light_1_never_changes_under_its_name() -> None:
    """Another output is another rule: give it another name, and let this one stay."""
    forms = {
        "في العِيادة رقم ١٬٢٠٠: −٣٫٥°، A- و <٪٥٠ (x-ray)!": "في العياده رقم 1200 −3.5 a− و < 50 % x ray",
        "ﻻ يُؤخذ قبل ٣٠\u200f دقيقة؛ اتصل بـ 997 أو 1,000.50 ﷼": "لا يوخذ قبل 30 دقيقه اتصل ب 997 او 1000.50 ريال",
        "The Clinic's 2nd floor, 1½ × 10⁻³ > $-5 ~ 7.30 a.m.": "the clinic s 2nd floor 1 1/2 × 10^−3 > −5 $ ≈ 7.30 am",
        "1.2.3 | 1/2/2024 → 3.0 🎉 + C++ ≥ 2*3": "1 2 3 1 2 2024 3 + c + + ≥ 2 × 3",
        "؟! …": "؟! ...",
        "کتاب ی ۀ ھ ئ ؤ ى ة ٱ آ": "كتاب ي ه ه ي و ي ه ا ا",
    }
    assert {text: LIGHT_1.normal(text) for text in forms} == forms


def test_light_1_never_changes_what_it_makes_of_any_character() -> None:
    """Each character between two letters; of the planes beyond the first, the selectors that nobody sees."""
    codes = (*range(0xD800), *range(0xE000, 0x10000), *range(0xE0100, 0xE01F0))
    text = "\n".join(LIGHT_1.normal(f"x{chr(code)}x") for code in codes)
    assert hashlib.sha256(text.encode()).hexdigest() == (
        "aa3b4a5427a406999029bba758c51bf3699420143fa4a404390fb90b82b311ce"
    )


PIECES = [
    *(
        "A+",
        "A-",
        "C++",
        "C#",
        "x",
        "X,",
        "5",
        "10",
        "7?",
        "0",
        "007",
        "12.",
        "3,",
        "–12",
        "- 3",
        "-5",
        "5-",
        "+5",
        "1/2",
    ),
    *(
        "don't",
        "x-ray",
        "high-risk",
        "a.m.",
        "e.g.",
        "the",
        "fever",
        "is",
        "mg",
        "10mg",
        "Straße",
        "ǅ",
        "İ",
        "ﬁ",
        "a_b",
    ),
    *(
        "<br />",
        "<",
        ">",
        "≥",
        "!=",
        "->",
        "=",
        "*",
        "~",
        "+",
        "−",
        "–",
        "_",
        "€",
        "5€",
        "$",
        "%",
        "²",
        "½",
        "٣",
        "٫",
        "٪",
    ),
    *(
        "مَوْعِد",
        "العيـــادة",
        "؟",
        "ﷺ",
        "\ufc5e",
        "ﷲ",
        "\u200c",
        "می\u200cروم",
        "\u200e",
        "ab’c",
        "",
        "\n",
        "b\nc",
        "...",
    ),
    *("12:30", "1,000", "1\u00a0000"),
]


@seed(1)
@settings(max_examples=3000, deadline=None, database=None)
@given(st.lists(st.tuples(st.sampled_from(PIECES), st.sampled_from([" ", " ", " ", "", "  ", "\n"])), max_size=10))
def test_words_that_are_looked_up_are_those_that_the_rule_writes(pieces: list[tuple[str, str]]) -> None:
    text = "".join(piece + gap for piece, gap in pieces)
    assert LIGHT_1.words(text) == light_words(text)
    assert LIGHT_1.words(text) == light_words(text)  # now that all of it has been met


def test_words_kept_in_mind_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    from lifecycle.text import normaliser as module

    monkeypatch.setattr(module, "_MOST", 3)
    for number in range(50):
        LIGHT_1.words(f"word{chr(97 + number % 26)}ab C# number{chr(97 + number % 20)}")
        assert len(module._KNOWN) <= 3
        assert len(module._STRETCHES) <= 3


@pytest.mark.parametrize("text", ["3 x 4", "3 x 4 cm", "x 4", "size x", "a x 3 x 4"])
def test_an_x_that_may_multiply_is_never_looked_up(text: str) -> None:
    assert LIGHT_1.words(text) == light_words(text)
    assert LIGHT_1.words(text) == light_words(text)


def test_a_comparison_sign_before_a_word_is_no_comparison_whatever_follows_its_first_letter() -> None:
    assert LIGHT_1.normal("<b2") == LIGHT_1.normal("<bc").replace("c", "2") == "b2"


def test_half_of_a_surrogate_pair_parts_words_as_a_sign_does() -> None:
    assert light_words("a\ud800b") == light_words("a \ud800 b") == ["a", "b"]
