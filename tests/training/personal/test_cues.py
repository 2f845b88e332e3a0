"""The words that say what a number is: which, how far from it, and which of several decides."""

from __future__ import annotations

import pytest

from training.data.personal.cues import Cue, cue_of
from training.data.personal.spelling import spelling


def cue(before: str, behind: str = "", key: str = "") -> Cue:
    """Of a number between two texts."""
    before, behind = spelling(before).text, spelling(behind).text
    return cue_of(f"{before}55512345{behind}", len(before), len(before) + 8, key)


WORDS: list[tuple[Cue, list[str]]] = [
    ("record", ["invoice", "order no", "patient id", "MRN", "sku", "dated", "رقم الملف", "الفاتورة", "رقم الطلب"]),
    ("version", ["version", "v", "section", "الإصدار", "مادة"]),
    ("id", ["national id", "QID", "ssn", "passport", "identity card", "هويتي", "الرقم القومي", "بطاقة الهوية"]),
    ("phone", ["phone", "telephone number", "mobile", "fax", "whatsapp", "wa.me/", "جوالي", "رقم الهاتف"]),
    ("card", ["card", "credit card number", "visa", "بطاقتي", "البطاقة الائتمانية", "فيزا"]),
    ("iban", ["iban", "bank account", "الآيبان", "حسابي"]),
    ("ip", ["ip", "ipv6 address", "host", "server", "الخادم", "عنوان الشبكة"]),
    ("call", ["call", "dial", "text", "اتصل", "للتواصل", "كلموني"]),
    ("number", ["my number", "her no", "id", "رقمي"]),
]


@pytest.mark.parametrize(("name", "word"), [(name, word) for name, words in WORDS for word in words])
def test_a_word_before_a_number_says_what_it_is(name: Cue, word: str) -> None:
    assert cue(f"{word} ") == name
    assert cue(f"So, {word.upper()}: ") == name


@pytest.mark.parametrize("glued", ["و", "ب", "ل", "ف", "لل"])
def test_arabic_writes_small_words_with_the_word_behind_them(glued: str) -> None:
    assert cue(f"{glued}جوال ") == "phone"
    assert cue("", f" هو {glued}جوال") == "phone"


@pytest.mark.parametrize(
    "words",
    ["", "there are ", "phones ", "microphone ", "order ", "patient: ", "the number ", "hotels ", "جوالات "],
)
def test_other_words_say_nothing(words: str) -> None:
    assert cue(words) == ""


def test_the_nearest_word_decides() -> None:
    assert cue("my phone, no, my card: ") == "card"
    assert cue("my card, my id, my phone: ") == "phone"
    assert cue("my phone: ", " is my card") == "phone"
    assert cue("my phone: ", key="card") == "phone"
    assert cue("so ", " is my card", key="phone") == "phone"


@pytest.mark.parametrize("start", ["", "this is "])
def test_a_word_is_heard_48_characters_away_from_its_first_letter(start: str) -> None:
    assert cue(f"{start}phone" + " " * 43) == "phone"
    assert cue(f"{start}phone" + " " * 44) == ""


@pytest.mark.parametrize("before", ["number ", "Number: ", " (number) ", "number" + " " * 42])
def test_number_alone_before_it_speaks_of_it(before: str) -> None:
    assert cue(before) == "number"


@pytest.mark.parametrize("before", ["the number ", "number one ", "number" + " " * 43, "so   number" + " " * 42])
def test_number_among_other_words_or_far_away_says_nothing(before: str) -> None:
    assert cue(before) == ""


@pytest.mark.parametrize("before", ["Tel. ", "Tel.: ", "Tel.", "phone? ", "phone), ", "phone 1.5 and "])
def test_a_stop_right_behind_the_word_belongs_to_it(before: str) -> None:
    assert cue(before) == "phone"


@pytest.mark.parametrize(
    "before", ["phone?! ", "phone me. My ", "The phone broke! ", "phone. \n", "phone :\n", "هاتفي ضاع؟ "]
)
def test_a_word_of_another_sentence_says_nothing(before: str) -> None:
    assert cue(before) == ""


@pytest.mark.parametrize(
    ("behind", "expected"),
    [
        (" is my phone", "phone"),
        (", is the Phone number.", "phone"),
        (") was his national id", "id"),
        (" = iban", "iban"),
        (" هو رقمي", "number"),
        (" is my number", "number"),
        (" is her no", "number"),
        (" هي هويتي", "id"),
        ("is phone", "phone"),
        (" is a phone", ""),
        (" is phonetic", ""),
        (" phone", ""),
        (" and this is my phone", ""),
        ("", ""),
    ],
)
def test_words_behind_a_number_say_it_with_a_verb(behind: str, expected: Cue) -> None:
    assert cue("", behind) == expected
    assert cue("so, ", behind) == expected
    assert cue("card 7. Now ", behind) == expected


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("phone", "phone"), ("Phone", "phone"), ("phone_number", "phone"), ("phoneNo", "phone"), ("homePhone", "phone"),
        ("nationalId", "id"), ("passport-no", "id"), ("card", "card"), ("iban", "iban"), ("client_ip", "ip"),
        ("id", "record"), ("_id_", "record"), ("orderId", "record"), ("order_id", "record"), ("invoice_no", "record"),
        ("code", "record"), ("created_date", "record"), ("his_no", "record"), ("my_id", "record"), ("mrn", "record"),
        ("invoice", ""), ("call", ""), ("text", ""), ("version", ""), ("my_number", ""), ("name", ""), ("", ""),
        ("phone_" + "x" * 43, ""), ("phone_" + "x" * 42, "phone"), ("phone_" + "x " * 40 + "card", "card"),
        ("هاتف", "phone"),
    ],
)  # fmt: skip
def test_a_key_names_a_thing_or_a_record_and_no_verb_says_anything_there(key: str, expected: Cue) -> None:
    assert cue("", key=key) == expected
    assert cue("so ", key=key) == expected
