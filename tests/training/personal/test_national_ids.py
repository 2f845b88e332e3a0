"""Numbers of persons: what their digits prove, country by country, and what the words add to that."""

from __future__ import annotations

import random
from datetime import date, timedelta

import pytest

from training.data.personal import national_ids as module
from training.data.personal.national_ids import Proof, national_ids, proved

random_digits = random.Random(11)


def digits(count: int) -> str:
    return "".join(random_digits.choices("0123456789", k=count))


def luhn(body: str) -> str:
    """`body` with its ISO/IEC 7812 check digit."""
    total = sum(sum(divmod(2 * int(d), 10)) if i % 2 == 0 else int(d) for i, d in enumerate(reversed(body)))
    return body + str(-total % 10)


def hits(text: str, key: str = "") -> list[tuple[str, bool]]:
    """What is a person's number there, and whether that is certain."""
    return [(text[hit.start : hit.end], hit.sure) for hit in national_ids(text, key)]


# -- what the digits prove --------------------------------------------------------------------------------------------

PROOFS: dict[Proof, list[str]] = {
    "check": ["1054827363", "2054827361"],  # Saudi Arabia: Luhn
    "weak": [
        "81792641862", "68369704328",  # Turkey
        "67467428570", "85763404963",  # Brazil
        "65049479014", "88005367865",  # Belgium
        "43480555620", "58072907372",  # Poland
        "1790909391801",  # Romania
        "0410057791163",  # South Africa
    ],
    "strong": ["295109912611193", "165228753322785", "223958832225134"],  # France
    "form": [
        "00000000", "12345678",  # Oman: eight of any
        "900112345", "901212345",  # Bahrain: month 1 to 12
        "2054827362", "9821012345",  # Jordan
        "4780184878", "4295714054",  # NHS
        "29727190161", "30041770689",  # Qatar
        "249450185045", "976514040237",  # India
        "784198012345679", "784201012345671",  # the Emirates, with a wrong check digit
    ],
    "": [
        "", "00000000000000", "1234567", "1234567890123456",
        "900012345", "901312345", "0012345678", "1054827364", "4780184879",
        "82027420151", "67448951928", "189344213526", "249450185046", "1790909391802", "0410057791164",
        "784189012345678", "784211012345678", "785198012345678", "325832459449896", "295109912611194",
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("proof", "number"), [(proof, number) for proof, numbers in PROOFS.items() for number in numbers]
)
def test_what_digits_prove(proof: Proof, number: str) -> None:
    assert proved(number) == proof


def test_a_saudi_number_has_its_check_digit_and_begins_with_one_or_two() -> None:
    for first in "0123456789":
        right = luhn(first + "05482736")
        assert (proved(right) == "check") == (first in "12"), right


@pytest.mark.parametrize("century", ["19", "20"])
def test_an_emirates_number_has_the_year_of_birth_and_its_check_digit(century: str) -> None:
    for _ in range(5):
        right = luhn(f"784{century}{digits(9)}")
        assert proved(right) == "strong"
        assert {proved(right[:-1] + last) for last in "0123456789" if last != right[-1]} == {"form"}
    assert proved(luhn(f"785{century}{digits(9)}")) == ""
    assert proved(luhn(f"784{century[::-1]}{digits(9)}")) == ""


def test_a_kuwaiti_number_has_its_check_digit_modulo_11() -> None:
    right = 0
    for _ in range(60):
        year, month = random_digits.choice(["296", "306"]), random_digits.choice(["04", "11"])
        stem = f"{year}{month}17{digits(4)}"
        rest = 11 - sum(int(d) * w for d, w in zip(stem, (2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2), strict=True)) % 11
        proofs = {last: proved(f"{stem}{last}") for last in range(10)}
        assert [last for last, proof in proofs.items() if proof == "strong"] == [rest] * (rest < 10), stem
        right += rest < 10
    assert right > 40


def egyptian(stem: str) -> list[str]:
    """What each last digit makes of it."""
    return [proved(f"{stem}{last}") for last in range(10)]


def test_an_egyptian_number_has_its_check_digit_modulo_11_by_either_reading_of_eleven() -> None:
    for _ in range(60):
        stem = f"29803150{random_digits.choice('1234')}{digits(4)}"
        rest = 11 - sum(int(d) * w for d, w in zip(stem, (2, 7, 6, 5, 4, 3) * 2 + (2,), strict=True)) % 11
        right = {rest % 10, rest % 11}
        assert egyptian(stem) == ["strong" if last in right else "weak" for last in range(10)], stem


GOVERNORATES = [*range(1, 5), *range(11, 20), *range(21, 30), *range(31, 36), 88]


@pytest.mark.parametrize("code", range(100))
def test_an_egyptian_number_holds_a_governorate(code: int) -> None:
    assert ("weak" in egyptian(f"2980315{code:02}1234")) == (code in GOVERNORATES)


@pytest.mark.parametrize(
    ("moment", "is_time"),
    [
        ("20101231111200", True), ("21001231111200", True), ("21011231111200", False), ("20101231116000", False),
        ("20101231121259", True), ("20101231121260", False),
    ],
)  # fmt: skip
def test_a_moment_until_2100_is_hardly_a_person(moment: str, is_time: bool) -> None:
    assert (proved(moment) == "form") == is_time
    assert proved(moment) != ""


@pytest.mark.parametrize(
    ("birth", "is_one"),
    [
        ("2000101", True), ("2991231", True), ("3000229", True), ("2000229", False), ("2980015", False),
        ("2981315", False), ("2980100", False), ("2980132", False), ("1980115", False), ("4000115", False),
        ("3990101", False),
    ],
)  # fmt: skip
def test_a_birth_date_is_one_of_the_calendar_since_1900(birth: str, is_one: bool) -> None:
    assert ("weak" in egyptian(f"{birth}019934")) == is_one
    kuwaiti = [proved(f"{birth}{serial}{last}") for serial in (1234, 1235) for last in range(10)]
    assert ("strong" in kuwaiti) == is_one


def test_nobody_was_born_tomorrow(monkeypatch: pytest.MonkeyPatch) -> None:
    class Someday(date):
        @classmethod
        def today(cls) -> Someday:
            return cls(2026, 3, 15)

    monkeypatch.setattr(module, "date", Someday)
    proved.cache_clear()
    assert "weak" in egyptian("3260315011234")
    assert "weak" not in egyptian("3260316011234")
    assert Someday.today() + timedelta(1) == date(2026, 3, 16)
    proved.cache_clear()


# -- numbers with letters or signs ------------------------------------------------------------------------------------

LETTERED: list[tuple[str, bool | None, bool]] = [  # value, how sure without a word, whether there is a checksum
    ("RCCMNL83S18D969H", True, True),  # Italy
    ("54362315K", False, True),  # Spain
    ("X2482300W", False, True),  # Spain, foreigners
    ("131052-308T", True, True),  # Finland
    ("11010519900307769X", True, True),  # China
    ("390.533.447-05", True, True),  # Brazil
    ("536-90-4399", False, False),  # United States
    ("971013-1408325", True, True),  # Korea
    ("35202-1234567-1", False, False),  # Pakistan
    ("AB 12 34 56 C", False, False),  # United Kingdom
    ("AB123456C", False, False),
    ("A1234567", None, False),  # passports
    ("AB12345678", None, False),
]


@pytest.mark.parametrize(("value", "sure", "checked"), LETTERED)
def test_a_number_with_letters_is_told_by_its_form_and_by_words(value: str, sure: bool | None, checked: bool) -> None:
    assert hits(f"he has {value} now") == ([] if sure is None else [(value, sure)])
    assert (value, True) in hits(f"passport {value}")
    assert (value, True) in hits(value, "nationalId")
    assert hits(f"invoice {value}") == ([(value, False)] if sure else [])
    assert (value, False) not in hits(f"he has x{value} now")
    *_, hit = national_ids(f"passport {value}.", "")
    assert hit.kind == "NATIONAL_ID"
    assert hit.value == "".join(filter(str.isalnum, value))
    if checked:
        wrong = (
            value[:-1] + ("A" if value[-1] != "A" else "B")
            if value[-1].isalpha()
            else value[:-1] + str((int(value[-1]) + 1) % 10)
        )
        assert (wrong, True) not in hits(f"he has {wrong} now")


# -- the words --------------------------------------------------------------------------------------------------------

STRONG, CHECK, WEAK, FORM, NOTHING = "784198012345678", "1054827363", "81792641862", "9821012345", "1054827364"
STRONG = luhn(STRONG[:-1])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("he has", (True, False, False, None, None)),
        ("national id", (True, True, True, True, False)),
        ("my number", (True, True, False, None, None)),
        ("server", (True, False, False, None, None)),
        ("phone", (True, None, None, None, None)),
        ("card", (True, None, None, None, None)),
        ("invoice", (False, None, None, None, None)),
        ("version", (False, None, None, None, None)),
    ],
)
def test_words_decide_what_digits_leave_open(words: str, expected: tuple[bool | None, ...]) -> None:
    for number, sure in zip((STRONG, CHECK, WEAK, FORM, NOTHING), expected, strict=True):
        assert hits(f"{words} {number}.") == ([] if sure is None else [(number, sure)]), number


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("784-1980-1234567-8", [("784-1980-1234567-8", True)]),
        ("784 1980 1234567 8", [("784 1980 1234567 8", True)]),
        ("784-1980 1234567-8", []),
        ("he has 2345 6789 0124", []),
        ("national id 2345 6789 0124", [("2345 6789 0124", True)]),
        ("he has 234567890124", []),
        ("national id 105 482 7363", [("105 482 7363", True)]),
        ("he has 105 482 7363", []),
        # behind it another number may stand
        ("national id 1054827363 for 12 months", [("1054827363", True)]),
        ("national id 1054827363 12", [("1054827363", True)]),
        ("he has 1054827363 12 30", [("1054827363", False)]),
        ("national id 29876543 21 345", [("29876543 21", True)]),
        ("national id 1054827364 12345 12", [("1054827364 12345", False)]),
        ("national id 1054827364 123456", [("1054827364", False)]),
        ("national id 1234567 123456789", []),
        ("national id 123456789012345", [("123456789012345", False)]),
        ("national id 1234567890123456", []),
        ("national id 123456789", [("123456789", False)]),
        ("national id 1234567", []),
        ("he has 1054827363.5", []),
        ("he has 1054827363, 2054827361.", [("1054827363", False), ("2054827361", False)]),
    ],
)
def test_an_id_ends_where_its_groups_say_so(text: str, expected: list[tuple[str, bool]]) -> None:
    assert hits(text) == expected


def test_an_id_is_valued_by_its_digits_and_the_key_is_heard() -> None:
    (hit,) = national_ids("at 105-482-7363.", "civil_id")
    assert (hit.kind, hit.start, hit.end, hit.sure, hit.value) == ("NATIONAL_ID", 3, 15, True, "1054827363")
    (hit,) = national_ids("105-482-7364", "civil_id")
    assert (hit.start, hit.end, hit.sure, hit.value) == (0, 12, False, "1054827364")
