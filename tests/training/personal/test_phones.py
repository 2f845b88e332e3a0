"""Phone numbers: whose they are, where they begin and end, and how sure that is."""

from __future__ import annotations

import pytest

from training.data.personal.phones import phones


def hits(text: str, key: str = "") -> list[tuple[str, bool]]:
    """What is a phone number there, and whether that is certain."""
    return [(text[hit.start : hit.end], hit.sure) for hit in phones(text, key)]


# -- whose ------------------------------------------------------------------------------------------------------------

ARAB = [
    ("966", "512345678"), ("971", "501234567"), ("965", "50012345"), ("973", "36001234"), ("974", "33123456"),
    ("968", "92123456"), ("20", "1001234567"), ("962", "790123456"), ("961", "71123456"), ("963", "944567890"),
    ("964", "7912345678"), ("967", "712345678"), ("970", "599123456"), ("212", "650123456"), ("213", "551234567"),
    ("216", "20123456"), ("218", "912345678"), ("249", "911231234"), ("222", "22123456"), ("252", "712345678"),
    ("253", "77831001"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "number"), ARAB)
def test_a_number_of_an_arab_country_is_known_without_its_plus(code: str, number: str) -> None:
    (hit,) = phones(f"so {code}{number}.", "")
    assert (hit.kind, hit.start, hit.end, hit.sure) == ("PHONE", 3, 3 + len(code + number), False)
    assert hit.value == f"+{code} {number}"
    assert hits(f"phone {code}{number}.") == [(f"{code}{number}", True)]
    assert hits(f"invoice {code}{number}.") == hits(f"passport {code}{number}.") == []


@pytest.mark.parametrize("number", ["12025550123", "447400123456", "33612345678", "9611234567", "966991234567"])
def test_other_numbers_need_their_plus(number: str) -> None:
    assert hits(f"so {number}.") == []


LOCAL = [
    "0512345678", "047529729", "055512345", "089599370", "01013151520", "085402779", "081645957", "050164914",
    "07657488", "082637171", "049848093", "079928807", "01449116588", "0836867958", "08998070073", "03158172075",
    "05405583876",
]  # fmt: skip
"""With their zero: Saudi Arabia, the Emirates, …, Great Britain, France, India, Pakistan, Turkey."""
WITHOUT_ZERO = ["55512345", "89599370", "88373546", "49264410", "2408759200"]
"""Kuwait, Bahrain, Tunisia, Mauritania, the United States: nothing is dialled before them."""


@pytest.mark.parametrize("number", LOCAL)
def test_a_local_number_is_certain_behind_a_word_that_names_it(number: str) -> None:
    assert hits(f"so {number}.") in ([], [(number, False)])
    assert hits(f"phone {number}.")[0][0] == number


@pytest.mark.parametrize(
    "number",
    ["0512345678", "047529729", "01013151520", "085402779", "081645957", "050164914", "07657488", "082637171",
     "049848093", "079928807", "01449116588", "0836867958", "08998070073", "03158172075", "05405583876"],
)  # fmt: skip
def test_a_local_number_of_each_country_is_known(number: str) -> None:
    (hit,) = phones(f"so {number}.", "")
    assert (hit.start, hit.end, hit.sure, hit.value) == (3, 3 + len(number), False, number[1:])
    assert hits(f"phone {number}.") == [(number, True)]
    assert hits(f"call {number}.") == hits(f"my number {number}.") == [(number, False)]
    assert hits(f"invoice {number}.") == hits(f"my id number: passport {number}.") == []


@pytest.mark.parametrize("number", WITHOUT_ZERO)
def test_a_number_that_has_no_zero_is_known_behind_a_word_alone(number: str) -> None:
    assert hits(f"so {number}.") == []
    assert hits(f"phone {number}.") == [(number, True)]
    assert hits(f"call {number}.") == [(number, False)]


def test_a_mobile_number_may_lack_its_zero_and_another_may_not() -> None:
    assert hits("phone 512345678") == [("512345678", True)]
    assert hits("phone 198137794") == []
    assert hits("phone 0198137794") == [("0198137794", True)]


# -- with the country's code ------------------------------------------------------------------------------------------

KNOWN, POSSIBLE, NOBODYS = "966501234567", "966991234567", "99912345678"


@pytest.mark.parametrize(
    ("words", "plus", "zeros"),
    [
        ("so", (True, None), (True, None)),
        ("phone", (True, True), (True, True)),
        ("call", (True, True), (True, True)),
        ("my number", (True, False), (True, False)),
        ("invoice", (True, None), (False, None)),
        ("passport", (True, None), (False, None)),
    ],
)
def test_a_plus_says_more_than_two_zeros(
    words: str, plus: tuple[bool, bool | None], zeros: tuple[bool, bool | None]
) -> None:
    for sign, expected in (("+", plus), ("00", zeros)):
        for number, sure in zip((KNOWN, NOBODYS), expected, strict=True):
            wanted = [] if sure is None else [(sign + number, sure)]
            assert hits(f"{words} {sign}{number}.") == wanted, (sign, number)


def test_a_number_that_its_country_could_have_is_possible_behind_a_plus() -> None:
    assert hits(f"so +{POSSIBLE}") == [(f"+{POSSIBLE}", False)]
    assert hits(f"so 00{POSSIBLE}") == []
    assert hits("so +9669912345") == []
    assert hits("so +96699123456789") == []


@pytest.mark.parametrize("words", ["so", "phone"])
def test_the_value_has_the_country_apart_where_the_tables_have_it(words: str) -> None:
    assert [hit.value for hit in phones(f"{words} +966 50 123 4567, 00966-50-1234567", "")] == ["+966 501234567"] * 2
    assert [hit.value for hit in phones(f"phone +{NOBODYS}, 00{NOBODYS}", "")] == [f"+{NOBODYS}"] * 2


# -- what only looks like one -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("so (202) 555-0123", [("(202) 555-0123", False)]),
        ("so 202-555-0123", [("202-555-0123", False)]),
        ("so 999-555-0123", [("999-555-0123", False)]),  # in no table
        ("so 999.555.0123", [("999.555.0123", False)]),
        ("so 999.555-0123", []),
        ("so (09) 5555 0123", [("(09) 5555 0123", False)]),
        ("passport 999-555-0123", []),
        ("invoice 999-555-0123", []),
        ("so 0990990999912", []),
        ("call 0999999123", [("0999999123", False)]),
        ("phone 0990990999912", [("0990990999912", False)]),
        ("call 0990990990", []),  # two digits by turns
        ("call 0990990991", [("0990990991", False)]),
        ("call 0990990999912", [("0990990999912", False)]),  # 13 digits
        ("call 09909909999123", []),
        ("call 9990990991", [("9990990991", False)]),  # 10 and 11 digits without a zero
        ("call 99909909912", [("99909909912", False)]),
        ("call 999099099", []),
        ("call 999099099123", []),
        ("call 999 099 0991", [("999 099 0991", False)]),
        ("call 20261121", []),  # a day
        ("call 2026 1121", [("2026 1121", False)]),
        ("call 1234567", []),
        ("so 0501234567", [("0501234567", False)]),
        ("id 0501234567", [("0501234567", False)]),
        ("card 0501234567", []),
        ("iban 0501234567", []),
        ("version 0501234567", [("0501234567", False)]),
        ("version 050.123.4567", []),
        ("so 050.123.4567", [("050.123.4567", False)]),
        ("so 0501234567 mg", []),
        ("so 0501234567 ريال", []),
        ("so 0501234567 mgs", [("0501234567", False)]),
        ("so 0501234567%", []),
    ],
)
def test_words_and_looks_decide_where_no_table_does(text: str, expected: list[tuple[str, bool]]) -> None:
    assert hits(text) == expected


def test_the_key_of_a_number_is_heard() -> None:
    assert hits("0501234567", "phone") == [("0501234567", True)]
    assert hits("0501234567", "orderId") == []


# -- where it begins and ends -----------------------------------------------------------------------------------------

N = "0501234567"


@pytest.mark.parametrize("before", ["A", "a", "1", "_", "@", "#", "$", "€", "A-", "1,", "10:", "1."])
def test_a_number_that_hangs_on_something_is_none(before: str) -> None:
    assert hits(f"{before}{N}") == []
    assert hits(f"so {before}{N}") == []


@pytest.mark.parametrize("before", ["", "(", "-", ",", ", ", ":", "1, ", "ا", "A, "])
def test_a_number_is_found_behind_other_signs(before: str) -> None:
    assert [value for value, _ in hits(f"{before}{N}")] == [N]


@pytest.mark.parametrize("behind", ["A", "_", "@b", "%", "°", ".55", ",000", ":30"])
def test_a_number_that_goes_on_is_none(behind: str) -> None:
    assert hits(f"so {N}{behind}") == []


@pytest.mark.parametrize("behind", ["", ".", ", 5", ": x", "!", " A", "ا", ")"])
def test_a_number_ends_before_other_signs(behind: str) -> None:
    assert hits(f"so {N}{behind}") == [(N, False)]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("(0501234567)", "0501234567"),
        ("(050 1234567", "050 1234567"),
        ("(050) 1234567", "(050) 1234567"),
        ("(050) 1234567)", "(050) 1234567"),
        ("((050) 1234567)", "(050) 1234567"),
        ("+966 (50 1234567)", "+966 (50 1234567)"),
        ("+966 (50 1234567", "+966 (50 1234567"),
        ("+966 (50) 1234567)", "+966 (50) 1234567"),
        ("(+966) 50 1234567", "(+966) 50 1234567"),
        ("(+966) (50) 1234567", "(+966) (50) 1234567"),
        ("+966) 50 1234567", "+966) 50 1234567"),
        ("+ 966 501234567", "+ 966 501234567"),
        ("+(966) 501234567", "+(966) 501234567"),
        ("(0501234567) 1234567890", "0501234567"),
        ("12 0501234567", "0501234567"),
        ("12/0501234567", "0501234567"),
        ("12 (050) 123-4567", "(050) 123-4567"),
        ("12 (0501234567)", "0501234567"),
        ("12 34 56 0501234567 12", "0501234567"),
        ("0501234567 12 34", "0501234567"),
        ("0501234567/12", "0501234567"),
        ("050 123 4567 89", "050 123 4567"),
        ("05 01 23 45 67", "05 01 23 45 67"),
        ("0 5 01234567", "0 5 01234567"),
        ("+4 9 15 12 34 56 78 90", "+4 9 15 12 34 56 78 90"),
        ("call 0999 9999 9123", "0999 9999 9123"),
        ("call 0501234567-22", "0501234567-22"),
        ("call 05012345 21/11/2026", "05012345"),
        ("call 21/11/2026 0501234567", "0501234567"),
        ("call 21-11-26 0501234567", "0501234567"),
    ],
)
def test_groups_are_put_together_as_a_writer_does(text: str, number: str) -> None:
    assert [value for value, _ in hits(f"so {text}")] == [number]
    assert [value for value, _ in hits(f"so {text}, please")] == [number]


@pytest.mark.parametrize(
    "text", ["12-0501234567", "12 -0501234567", "050 1 2 34567", "050 12 3 4567", "2026-11-21 12", "+1234567890123456"]
)
def test_other_groups_are_no_number(text: str) -> None:
    assert hits(f"so {text}.") == []


def test_a_number_has_15_digits_at_most() -> None:
    assert hits("call +123456789012345") == [("+123456789012345", True)]
    assert hits("call +1234567890123456") == []
    assert hits("call +12345678901234 56") == [("+12345678901234", True)]


def test_several_numbers_in_a_row_are_several() -> None:
    assert hits(f"so {N} {N}/{N}") == [(N, False)] * 3
    assert hits(f"so {N} 21 +{KNOWN} (202) 555-0123") == [(N, False), ("+" + KNOWN, True), ("(202) 555-0123", False)]


def test_words_behind_the_last_group_name_a_number_too() -> None:
    assert hits("050 123 4567 is my phone") == [("050 123 4567", True)]
    assert hits("0501 2345 67 is my phone") == [("0501 2345 67", True)]
