"""What counts as personal data, at its bounds: each kind, its checksum, its length, and what stands beside it."""

from __future__ import annotations

import random

import pytest

from training.data import personal


def kinds(text: str) -> list[tuple[str, bool]]:
    """Kind and sureness of every hit, in order."""
    return [(hit.kind, hit.sure) for hit in personal.find(text)]


def luhn(body: str) -> str:
    """`body` with its ISO/IEC 7812 check digit."""
    total = sum(sum(divmod(2 * int(d), 10)) if i % 2 == 0 else int(d) for i, d in enumerate(reversed(body)))
    return body + str(-total % 10)


def iban(country: str, account: str) -> str:
    """With its ISO 13616 check digits."""
    number = int("".join(str(int(c, 36)) for c in account + country + "00"))
    return f"{country}{98 - number % 97:02}{account}"


# -- several in one text ----------------------------------------------------------------------------------------------


def test_kinds_are_found_in_the_order_of_the_text_and_not_of_the_patterns() -> None:
    text = "call 0501234567, write to a@b.org, or call 0559876543"
    assert kinds(text) == [("PHONE", False), ("EMAIL", True), ("PHONE", False)]
    assert personal.redact([text])[0] == ("call [PHONE_1], write to [EMAIL_1], or call [PHONE_2]",)


def test_two_that_touch_are_two() -> None:
    assert kinds("(050)123(4567)+a@b.org") == [("PHONE", False), ("EMAIL", True)]


def test_a_span_that_two_kinds_could_claim_is_counted_once() -> None:
    assert kinds("0501234567@b.org") == [("EMAIL", True)]
    assert kinds("SA0380000000608010167519") == [("IBAN", True)]


def test_placeholders_are_numbered_within_their_kind() -> None:
    text = "a@b.org 0501111111 c@d.org 0502222222 e@f.org"
    (clean,), count = personal.redact([text])
    assert (clean, count) == ("[EMAIL_1] [PHONE_1] [EMAIL_2] [PHONE_2] [EMAIL_3]", 5)


@pytest.mark.parametrize("again", ["SALMA@B.ORG", "salma@b.org"])
def test_case_makes_no_other_value(again: str) -> None:
    assert personal.redact(["salma@b.org", again])[0] == ("[EMAIL_1]", "[EMAIL_1]")


@pytest.mark.parametrize("again", ["(050) 123-4567", "050.123.4567", "050 123 4567"])
def test_spacing_makes_no_other_value(again: str) -> None:
    assert personal.redact(["0501234567", again])[0] == ("[PHONE_1]", "[PHONE_1]")


def test_texts_without_a_hit_keep_their_place_among_the_others() -> None:
    assert personal.redact(["nothing", "a@b.org!", ""]) == (("nothing", "[EMAIL_1]!", ""), 1)


# -- addresses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "domain",
    [
        "clinic.example", "mail.clinic.test", "clinic.invalid", "a.localhost", "clinic.TEST", "example.com",
        "example.net", "example.org", "mail.Example.com",
    ],
)  # fmt: skip
def test_addresses_that_are_nobodys_by_rfc_2606_are_possible_and_not_certain(domain: str) -> None:
    assert kinds(f"write to salma@{domain} now") == [("EMAIL", False)]


@pytest.mark.parametrize("domain", ["test.com", "myexample.com", "example.com.sa", "a.example.co", "exampleXcom.org"])
def test_domains_that_only_look_reserved_are_somebodys(domain: str) -> None:
    assert kinds(f"write to salma@{domain} now") == [("EMAIL", True)]


@pytest.mark.parametrize("address", ["127.0.0.1", "127.3.2.1", "0.0.0.0", "999.1.1.1", "1:2:3:zz"])
def test_addresses_of_no_machine_but_ones_own_are_left_alone(address: str) -> None:
    assert kinds(f"from {address} at night") == []


@pytest.mark.parametrize(("address", "sure"), [("82.10.4.77", False), ("2001:db8:85a3::8a2e:370:7334", True)])
def test_four_small_numbers_may_be_a_version_and_eight_groups_may_not(address: str, sure: bool) -> None:
    assert kinds(f"from {address} at night") == [("IP", sure)]


# -- numbers with a checksum ------------------------------------------------------------------------------------------


def test_a_card_number_is_told_by_its_check_digit() -> None:
    generator = random.Random(5)
    for length in range(13, 20):
        for _ in range(10):
            number = luhn("4" + "".join(generator.choices("0123456789", k=length - 2)))
            assert kinds(f"card {number}") == [("CARD", True)], number
            others = {number[:-1] + digit for digit in "0123456789"} - {number}
            assert all(kinds(f"card {other}") == [] for other in others), number


@pytest.mark.parametrize("length", [12, 20])
def test_a_card_number_has_13_to_19_digits(length: int) -> None:
    assert kinds(f"card {luhn('4' * (length - 1))}") == []


def test_one_digit_again_and_again_is_no_card() -> None:
    assert kinds("card 0000 0000 0000 0000") == []


@pytest.mark.parametrize(("length", "is_one"), [(14, False), (15, True), (22, True), (34, True), (35, False)])
@pytest.mark.parametrize("gap", ["", " ", "-"])
def test_an_iban_has_15_to_34_characters(length: int, gap: str, is_one: bool) -> None:
    number = iban("NO", ("8ABZ" * 8)[: length - 4])
    grouped = gap.join(number[at : at + 4] for at in range(0, length, 4))
    assert kinds(f"to {grouped} please") == [("IBAN", True)] * is_one


def test_an_iban_is_found_in_small_letters_and_in_groups() -> None:
    number = iban("GB", "WEST12345698765432")
    grouped = "-".join(number[at : at + 4] for at in range(0, 22, 4)).lower()
    assert kinds(f"to {grouped} please") == [("IBAN", True)]


@pytest.mark.parametrize("digit", range(100))
def test_an_iban_is_told_by_its_check_digits(digit: int) -> None:
    right = iban("SA", "80000000608010167519")
    number = f"SA{digit:02}80000000608010167519"
    assert (kinds(f"to {number} please") == [("IBAN", True)]) == (number == right)


CARD, IBAN = "4111 1111 1111 1111", "SA03 8000 0000 6080 1016 7519"


@pytest.mark.parametrize("behind", ["12/26", "123", "25 times", "1234", "now", "please", "call me", "-- 7", CARD, IBAN])
@pytest.mark.parametrize("value", [CARD, IBAN, CARD.replace(" ", "-"), CARD.replace(" ", ""), IBAN.replace(" ", "")])
def test_a_number_is_found_whatever_word_or_number_stands_behind_it(value: str, behind: str) -> None:
    hit = personal.find(f"{value} {behind}")[0]
    assert (hit.start, hit.end, hit.sure) == (0, len(value), True)


@pytest.mark.parametrize("before", ["1234", "code 77", "AB12", "the", "12-"])
@pytest.mark.parametrize("value", [CARD, IBAN, "3782 822463 10005", "3056 930902 5904", "4111 1111 1111 1111 110"])
def test_a_number_is_found_whatever_word_or_number_stands_before_it(value: str, before: str) -> None:
    text = f"{before} {value}"
    hit = personal.find(text)[-1]
    assert (text[hit.start : hit.end], hit.sure) == (value, True)


def test_a_number_is_found_between_others() -> None:
    text = f"code 1234 {CARD} 12/26"
    (hit,) = personal.find(text)
    assert text[hit.start : hit.end] == CARD
    (hit,) = personal.find(f"pay AB12 {IBAN} now")
    assert (hit.kind, hit.start) == ("IBAN", 9)


def test_twelve_digits_are_no_card_whatever_stands_behind_them() -> None:
    number = luhn("40000000001")
    assert kinds(f"{number[:4]} {number[4:8]} {number[8:]} 1234") == []


def test_two_numbers_in_a_row_are_two() -> None:
    assert kinds(f"{IBAN} {IBAN}") == [("IBAN", True)] * 2
    assert kinds(f"{CARD} {CARD}") == [("CARD", True)] * 2


def test_a_row_of_small_numbers_is_no_card() -> None:
    """Although its digits together have the right check digit."""
    assert luhn("10203040506070") == "102030405060702"
    assert all(kind != "CARD" for kind, _ in kinds("10 20 30 40 50 60 70 2"))


# -- national numbers -------------------------------------------------------------------------------------------------


def egyptian(month: str = "03", day: str = "15", governorate: str = "01", *, right: bool = True) -> str:
    """Whose check digit, by the rule that is told for it, is right or wrong."""
    stem = f"298{month}{day}{governorate}1234"
    weighted = sum(int(digit) * weight for digit, weight in zip(stem, (2, 7, 6, 5, 4, 3) * 3, strict=False))
    last = (11 - weighted % 11) % 10
    return f"{stem}{last if right else (last + 5) % 10}"


@pytest.mark.parametrize(
    ("month", "day", "is_one"),
    [
        ("01", "15", True), ("12", "15", True), ("10", "01", True), ("10", "31", True), ("02", "28", True),
        ("00", "15", False), ("13", "15", False), ("10", "00", False), ("10", "32", False), ("02", "29", False),
    ],
)  # fmt: skip
def test_an_egyptian_number_holds_a_birth_date(month: str, day: str, is_one: bool) -> None:
    assert kinds(f"he has {egyptian(month, day)}.") == [("NATIONAL_ID", True)] * is_one


@pytest.mark.parametrize(
    ("governorate", "is_one"), [("01", True), ("35", True), ("88", True), ("99", False), ("05", False)]
)
def test_an_egyptian_number_holds_a_governorate(governorate: str, is_one: bool) -> None:
    assert kinds(f"he has {egyptian(governorate=governorate)}.") == [("NATIONAL_ID", True)] * is_one


@pytest.mark.parametrize(
    ("words", "right", "expected"),
    [("he has", True, [True]), ("he has", False, [False]), ("record number", True, [False]), 
     ("record number", False, []),
     ("الرقم القومي", False, [True]), ("MRN", False, [])],
)  # fmt: skip
def test_a_date_alone_makes_no_number_certain_and_words_decide(words: str, right: bool, expected: list[bool]) -> None:
    assert kinds(f"{words} {egyptian(right=right)}") == [("NATIONAL_ID", sure) for sure in expected]


def test_a_time_stamp_is_no_egyptian_number() -> None:
    assert all(kinds(f"at 2010123112{minute:02}00") == [] for minute in range(60))


def kuwaiti(stem: str) -> str | None:
    last = 11 - sum(int(d) * w for d, w in zip(stem, (2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2), strict=True)) % 11
    return f"{stem}{last}" if last < 10 else None


def test_a_kuwaiti_number_is_told_by_date_and_check_digit_and_otherwise_by_its_name() -> None:
    right = kuwaiti("29001011234") or kuwaiti("29001011235")
    assert right
    wrong = right[:-1] + str((int(right[-1]) + 1) % 10)
    assert kinds(f"he has {right}.") == [("NATIONAL_ID", True)]
    assert kinds(f"he has {wrong}.") == []
    assert kinds(f"civil id {wrong}") == [("NATIONAL_ID", False)]
    assert kinds(f"he has {kuwaiti('29013011234') or kuwaiti('29013011235')}.") == [], "no thirteenth month"


@pytest.mark.parametrize(
    ("words", "number"),
    [("CPR", "900112345"), ("الرقم الشخصي", "٩٠٠١١٢٣٤٥"), ("QID", "28463412345"), ("الرقم الوطني", "9821012345")],
)
def test_numbers_without_a_checksum_are_certain_by_their_name_alone(words: str, number: str) -> None:
    assert kinds(f"{words}: {number}") == [("NATIONAL_ID", True)]
    assert kinds(f"he has {number} of them") == []


def test_the_key_of_a_value_names_it_and_id_alone_is_a_records() -> None:
    assert kinds('{"nationalId": "9821012345"}') == [("NATIONAL_ID", True)]
    assert kinds('{"id": "9821012345", "order_id": 9821012345}') == []


@pytest.mark.parametrize("first", ["1", "2"])
def test_a_saudi_number_is_told_by_its_check_digit_and_by_words(first: str) -> None:
    right = luhn(f"{first}05482736")
    assert kinds(f"number {right}") == [("NATIONAL_ID", True)]
    wrong = right[:-1] + str((int(right[-1]) + 1) % 10)
    assert kinds(f"number {wrong}") == [("PHONE", False)]
    assert kinds(f"we counted {right}")[0] == ("NATIONAL_ID", False), "every tenth number has a right check digit"
    assert [kind for kind, _ in kinds(f"my national id is {wrong}")] == ["NATIONAL_ID"], "it may be mistyped"
    assert kinds(f"invoice {right}") == []


def test_an_emirates_number_is_told_by_its_check_digit() -> None:
    right = luhn("78419801234567")
    assert kinds(f"number {right}") == [("NATIONAL_ID", True)]
    wrong = right[:-1] + str((int(right[-1]) + 1) % 10)
    assert kinds(f"number {wrong}") == []


def test_a_social_security_number_needs_its_dashes() -> None:
    assert kinds("SSN 123-45-6789") == [("NATIONAL_ID", True)]
    assert kinds("I counted 123456789") == []
    assert kinds("I counted 123-45-6789") == [("NATIONAL_ID", False)]
    assert kinds("SSN 123456789") == [("NATIONAL_ID", False)]


# -- phones -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("digits", "is_one"),
    [("1234567", False), ("12345678", True), ("123456789012345", True), ("1234567890123456", False)],
)
@pytest.mark.parametrize("prefix", ["+", "00"])
def test_a_phone_number_has_8_to_15_digits(prefix: str, digits: str, is_one: bool) -> None:
    digits = digits[: len(digits) - 2 * (prefix == "00")]  # the zeros count
    assert kinds(f"call {prefix}{digits} now") == [("PHONE", True)] * is_one


@pytest.mark.parametrize(("number", "is_one"), [
    ("12345670", False), ("22345670", True), ("55512345", True),  # eight digits in Kuwait and Bahrain
    ("555123456", True), ("155123456", False),  # nine in Saudi Arabia, without the zero
    ("5551234567", True), ("55512345678", True), ("555123456789", False),
    ("05012345", True), ("050123456", True), ("050123456789", True),  # a zero before the area says what it is
    ("55 512 3456", True), ("55/51/234", False), ("555-12345-6789", True),
])  # fmt: skip
def test_a_bare_number_is_a_phone_at_10_or_11_digits_or_where_a_country_has_it(number: str, is_one: bool) -> None:
    assert kinds(f"call {number} now") == [("PHONE", False)] * is_one


@pytest.mark.parametrize("date", ["2026-11-21", "2026/1/2", "21.11.2026", "1-2-2026"])
def test_a_date_is_no_phone(date: str) -> None:
    assert kinds(f"on {date} at ten") == []
