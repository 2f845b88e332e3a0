"""IBANs and cards: their forms, their issuers, and what the words say of those that are not certain."""

from __future__ import annotations

import pytest

from training.data.personal.numbers import cards, ibans


def luhn(body: str) -> str:
    """`body` with its ISO/IEC 7812 check digit."""
    total = sum(sum(divmod(2 * int(d), 10)) if i % 2 == 0 else int(d) for i, d in enumerate(reversed(body)))
    return body + str(-total % 10)


def card(prefix: str, length: int) -> str:
    return luhn((prefix + "13570246801357024680")[: length - 1])


def iban(country: str, account: str) -> str:
    """With its ISO 13616 check digits."""
    number = int("".join(str(int(c, 36)) for c in account + country + "00"))
    return f"{country}{98 - number % 97:02}{account}"


def found(text: str, key: str = "") -> list[tuple[str, bool]]:
    """What is a card there, and whether that is certain."""
    return [(text[hit.start : hit.end], hit.sure) for hit in cards(text, key)]


def accounts(text: str, key: str = "") -> list[tuple[str, bool]]:
    return [(text[hit.start : hit.end], hit.sure) for hit in ibans(text, key)]


# -- cards ------------------------------------------------------------------------------------------------------------

ISSUED = {
    (13, 16, 19): ["4"],
    (16,): ["51", "55", "2221", "2229", "223", "229", "23", "26", "270", "271", "2720"],
    (15,): ["34", "37"],
    (14, 16, 19): ["36", "38", "39", "300", "304", "305", "309"],
    (16, 17, 18, 19): [
        "3528", "3529", "353", "358", "6011", "644", "649", "65", "62", "60", "81", "82", "9680", "9683", "9792",
        "2200", "2204",
    ],
    (13, 14, 15, 16, 17, 18, 19): ["50", "56", "59", "63", "67"],
    (): ["1", "7", "2205", "2220", "2721", "306", "308", "31", "359", "61", "643", "80", "83", "9684", "9793", "99"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("lengths", "prefix"), [(lengths, p) for lengths, prefixes in ISSUED.items() for p in prefixes]
)
def test_an_issuer_has_its_prefixes_and_its_lengths(lengths: tuple[int, ...], prefix: str) -> None:
    for length in range(13, 20):
        number = card(prefix, length)
        assert found(number) == [(number, length != 13)] * (length in lengths), length
        assert found(f"card {number}") == [(f"{number}", True)], "the word confirms any"


VISA, OTHER = card("4", 16), card("7", 16)
GROUPED = f"{VISA[:4]} {VISA[4:8]} {VISA[8:12]} {VISA[12:]}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"pay {VISA} now", [(VISA, True)]),
        (f"pay {GROUPED} now", [(GROUPED, True)]),
        (f"my phone {VISA}", []),
        (f"my national id {VISA}", []),
        (f"my phone {GROUPED}", [(GROUPED, True)]),
        (f"invoice {VISA}", [(VISA, False)]),
        (f"invoice {GROUPED}", [(GROUPED, False)]),
        (f"invoice {OTHER}", []),
        (f"{OTHER} is my card", [(OTHER, True)]),
        (f"{VISA[:-1]}{(int(VISA[-1]) + 1) % 10}", []),
        ("card 0000000000000000", []),
        ("card 4000 0000 0006", []),
        (f"1.{VISA}", []),
    ],
)
def test_words_and_groups_say_how_sure_a_card_is(text: str, expected: list[tuple[str, bool]]) -> None:
    assert found(text) == expected


def test_thirteen_digits_in_a_row_may_be_a_time_stamp_and_in_groups_they_are_not() -> None:
    number = card("4", 13)
    grouped = f"{number[:4]} {number[4:8]} {number[8:12]} {number[12:]}"
    assert found(number) == [(number, False)]
    assert found(grouped) == [(grouped, True)]
    assert found(f"card {number}") == [(number, True)]


def test_twelve_digits_are_no_card_even_behind_the_word() -> None:
    number = luhn("40000000001")
    assert found(f"card {number[:4]} {number[4:8]} {number[8:]} 1234") == []


def test_two_digits_by_turns_are_a_card_and_one_digit_is_none() -> None:
    assert found("card 4111111111111111") == [("4111111111111111", True)]
    assert found("card 8888888888888888") == []


def test_a_card_is_valued_by_its_digits_and_the_key_is_heard() -> None:
    (hit,) = cards(f"at {GROUPED}.", "")
    assert (hit.kind, hit.start, hit.end, hit.value) == ("CARD", 3, 22, VISA)
    assert found(OTHER, "card_number") == [(OTHER, True)]
    assert found(VISA, "phone") == []


@pytest.mark.parametrize("gap", [" ", ".", "-"])
def test_the_groups_of_a_card_have_one_gap(gap: str) -> None:
    assert found(GROUPED.replace(" ", gap)) == [(GROUPED.replace(" ", gap), True)]
    assert found(GROUPED.replace(" ", "/", 1)) == []


def test_the_longest_row_of_groups_is_tried_first() -> None:
    long = card("67", 19)
    assert next(n for n in range(10) if card("67", 16) != long[:16]) == 0
    grouped = " ".join((long[:4], long[4:8], long[8:12], long[12:16], long[16:]))
    assert found(grouped) == [(grouped, True)]


# -- IBAN -------------------------------------------------------------------------------------------------------------

SAUDI = "SA0380000000608010167519"
SPACED = " ".join(SAUDI[at : at + 4] for at in range(0, 24, 4))


@pytest.mark.parametrize(
    "number",
    [
        SAUDI,
        iban("DZ", "00040017446900123456"[:20] + "12"),
        iban("MA", "011519000001205000534921"),
        iban("NO", "86011117947"),
    ],
)
def test_an_iban_of_a_known_country_is_certain_by_its_check_digits(number: str) -> None:
    assert accounts(f"to {number} now") == [(number, True)]
    assert accounts(f"to {number.lower()} now") == [(number.lower(), True)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"to {SPACED} now", [(SPACED, True)]),
        (f"to {SAUDI[:-4]}abcd now", []),
        (f"to s{SAUDI[1:]} now", []),  # small letters and capitals together are a token's
        (f"to {iban('XX', '80000000608010167519')} now", []),
        ("to SA0480000000608010167519 now", []),
        ("iban SA0480000000608010167519", [("SA0480000000608010167519", False)]),
        ("iban: SA04 8000 0000 6080 1016 7519", [("SA04 8000 0000 6080 1016 7519", False)]),
        ("iban SA048000000060801016751", []),  # no length of this country
        ("iban SA04A000000060801016751A", []),
        ("phone SA0480000000608010167519", []),
        ("SA0480000000608010167519 is my iban", []),
        (f"{SPACED} {SPACED}", [(SPACED, True)] * 2),
    ],
)
def test_a_wrong_iban_is_possible_behind_the_word_where_its_form_is_a_countrys(
    text: str, expected: list[tuple[str, bool]]
) -> None:
    assert accounts(text) == expected


def test_an_iban_is_valued_in_capitals_and_the_key_is_heard() -> None:
    (hit,) = ibans(f"to {SPACED.lower()}.", "")
    assert (hit.kind, hit.start, hit.end, hit.value) == ("IBAN", 3, 32, SAUDI)
    (hit,) = ibans("SA04-8000-0000-6080-1016-7519", "iban")
    assert (hit.kind, hit.start, hit.end, hit.sure, hit.value) == ("IBAN", 0, 29, False, "SA0480000000608010167519")


@pytest.mark.parametrize(("length", "is_one"), [(14, False), (15, True), (34, True), (35, False)])
@pytest.mark.parametrize("gap", ["", " ", "-"])
def test_an_iban_has_15_to_34_characters(length: int, gap: str, is_one: bool) -> None:
    number = iban("NO", ("8ABZ" * 8)[: length - 4])
    grouped = gap.join(number[at : at + 4] for at in range(0, length, 4))
    assert accounts(f"to {grouped} please") == [(grouped, True)] * is_one
