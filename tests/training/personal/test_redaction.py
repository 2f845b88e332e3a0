"""A redacted copy: one placeholder a value, in every text of a row, and JSON that stays JSON."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from typing import Any

import pytest

from training.data.personal import Hit, Redactor, find, redact
from training.data.personal import names as names_module
from training.data.personal.spelling import spelling, unescaped

NUMBER = "+966 50 123 4567"
SPELLINGS = [
    "+966 50 123 4567", "+966-50-123-4567", "+966501234567", "00966501234567", "(+966) 50 123 4567", "0501234567",
    "050-123-4567", "(050) 123-4567", "٠٥٠١٢٣٤٥٦٧", "+٩٦٦ ٥٠ ١٢٣ ٤٥٦٧", "۰۵۰۱۲۳۴۵۶۷", "０５０１２３４５６７",
    "＋966501234567",
    "+966\u00a050\u00a0123\u00a04567", "+966\u202f50\u202f123\u202f4567", "+966\u201150\u2011123\u20114567",
    "+966\u201350\u2013123\u20134567", "+966\u200b50\u200c123\u200d4567", 
    "\u200e+966\u200e501234567", "\u202a0501234567\u202c",
    "050\u0640123\u06404567", "050\ufeff1234567",
]  # fmt: skip


def clean(*texts: str) -> list[str]:
    return list(redact(texts)[0])


@pytest.mark.parametrize("written", SPELLINGS)
def test_every_spelling_of_a_number_has_its_placeholder(written: str) -> None:
    before, after = clean(NUMBER, f"اتصل {written} الآن")
    assert before == "[PHONE_1]"
    assert after.replace("\u200e", "").replace("\u202a", "").replace("\u202c", "") == "اتصل [PHONE_1] الآن"


@pytest.mark.parametrize(
    "text",
    [
        "اتصل٠٥٠١٢٣٤٥٦٧بعد",
        "https://wa.me/966501234567",
        "tel:+966501234567",
        "wa.me/+966501234567?text=hi",
        "(0501234567)",
    ],
)
def test_a_number_is_found_where_it_touches_something(text: str) -> None:
    assert [hit.kind for hit in find(text)] == ["PHONE"]
    assert "[PHONE_1]" in clean(text)[0]


def test_places_are_those_of_the_text_as_it_is_written() -> None:
    text = "\u200fرقم\u200f هاتفي: \u2066+966\u200b 50\u2011123 4567\u2069 شكراً"
    (hit,) = find(text)
    assert text[hit.start : hit.end] == "+966\u200b 50\u2011123 4567"


def test_two_countries_share_no_placeholder_and_a_local_number_is_the_first_countrys() -> None:
    assert clean("+966501234567", "+971501234567", "0501234567") == ["[PHONE_1]", "[PHONE_2]", "[PHONE_1]"]
    assert clean("0501234567", "+971501234567", "+966501234567") == ["[PHONE_1]", "[PHONE_1]", "[PHONE_2]"]


def test_local_numbers_that_differ_share_no_placeholder() -> None:
    assert clean("0501234567", "0559876543", "0501234567") == ["[PHONE_1]", "[PHONE_2]", "[PHONE_1]"]
    assert clean("+966501234567", "0501234567", "+971501234567") == ["[PHONE_1]", "[PHONE_1]", "[PHONE_2]"]
    assert clean("phone +999 1234 5678", "phone +99912345678", "phone +999 1234 5679") == [
        "phone [PHONE_1]", "phone [PHONE_1]", "phone [PHONE_2]"
    ]  # fmt: skip


def test_a_local_number_stays_that_of_the_first_country() -> None:
    said = ["+966501234567", "+971501234567", "0501234567", "+966501234567", "+971501234567", "+962501234567"]
    numbers = ["[PHONE_1]", "[PHONE_2]", "[PHONE_1]", "[PHONE_1]", "[PHONE_2]"]
    assert clean(*said[:5]) == numbers


@pytest.mark.parametrize(
    ("told", "again", "placeholder"),
    [
        ("my phone is 55512345", "55512345", "PHONE"),
        ("my phone is +965 5551 2345", "55512345", "PHONE"),
        ("my phone is +965 5551 2345", "96555512345", "PHONE"),
        ("my phone is 0501234567", "501234567", "PHONE"),
        ("my national id is 9821012345", "9821012345", "NATIONAL_ID"),
        ("my national id is 9821012345", "982 101 2345", "NATIONAL_ID"),
        ("my card is 7135702468013572", "7135702468013572", "CARD"),
    ],
)
def test_what_one_text_tells_is_known_in_the_others(told: str, again: str, placeholder: str) -> None:
    before, after = clean(told, f"so {again}, and")
    assert before.endswith(f"[{placeholder}_1]")
    assert after == f"so [{placeholder}_1], and"


def test_what_is_certain_in_its_place_is_not_overruled_by_another_text() -> None:
    assert clean("my national id is 378282246310005", "card 378282246310005") == [
        "my national id is [NATIONAL_ID_1]", "card [CARD_1]"
    ]  # fmt: skip


def test_a_card_is_known_again_in_other_groups() -> None:
    assert clean("my card is 4111-1111-1111-1111", "invoice 41111111 11111111") == [
        "my card is [CARD_1]", "invoice [CARD_1]"
    ]  # fmt: skip


def test_other_kinds_are_known_by_their_value() -> None:
    assert clean("a@b.org", "A@b.org and c@d.org") == ["[EMAIL_1]", "[EMAIL_1] and [EMAIL_2]"]


@pytest.mark.parametrize(
    ("value", "copy"),
    [
        (966501234567, "[PHONE_1]"), (966501234567.0, "[PHONE_1]"), (966501234567.5, 966501234567.5), (True, True),
        (None, None), (12, 12), ("966501234567", "[PHONE_1]"), (["966501234567"], ["[PHONE_1]"]), ({}, {}),
        (-966501234567, -966501234567),
    ],
)  # fmt: skip
def test_a_whole_number_that_is_personal_becomes_its_placeholder(value: Any, copy: Any) -> None:
    redactor = Redactor()
    assert redactor.row({"phone": value}) == {"phone": copy}
    assert redactor.replaced.total() == ("[PHONE_1]" in str(copy))


def test_keys_that_become_one_placeholder_are_told_apart_and_keep_their_values() -> None:
    row = {"0501234567": 1, "050 123 4567": 2, "050-123-4567": 3}
    assert Redactor().row(row) == {"[PHONE_1]": 1, "[PHONE_1]'": 2, "[PHONE_1]''": 3}


def test_places_are_counted_by_kind() -> None:
    redactor = Redactor()
    redactor.row(["a@b.org, c@d.org", "+966501234567", "a@b.org"])
    assert redactor.replaced == {"EMAIL": 3, "PHONE": 1}


def test_a_detector_of_ones_own_is_heard_in_texts_keys_and_values() -> None:
    def names(text: str, _: str) -> Iterator[Hit]:
        for match in re.finditer("Salma|Omar", text):
            yield Hit("PERSON", match.start(), match.end(), True, match[0])

    redactor = Redactor((names,))
    assert redactor.row({"Salma": ["Omar and Salma"], "n": 5}) == {"[PERSON_1]": ["[PERSON_2] and [PERSON_1]"], "n": 5}
    assert redactor.row("Omar") == "[PERSON_2]"


def test_a_row_without_a_hit_is_the_row_itself() -> None:
    row = {"text": "nothing", "n": [1, 2.5, None]}
    assert Redactor().row(row) is row


def test_numbers_go_on_through_all_rows_of_a_file() -> None:
    redactor = Redactor()
    rows = [redactor.row({"text": text}) for text in ("a@b.org", "c@d.org", "A@B.ORG", "no more")]
    assert [row["text"] for row in rows] == ["[EMAIL_1]", "[EMAIL_2]", "[EMAIL_1]", "no more"]
    assert redactor.replaced == {"EMAIL": 3}


def test_what_the_question_calls_a_phone_is_one_in_the_answer() -> None:
    assert clean("my phone is 55512345", "I noted 55512345, and 55512346") == [
        "my phone is [PHONE_1]", "I noted [PHONE_1], and 55512346"
    ]  # fmt: skip


def test_a_redacted_text_is_left_as_it_is() -> None:
    once = clean("a@b.org, +966501234567, GB82 WEST 1234 5698 7654 32")
    assert clean(*once) == once


# -- JSON -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ('{"phone": 966501234567, "n": 7.50}', '{"phone": "[PHONE_1]", "n": 7.50}'),
        ('{"phone":"\\u0660\\u0665\\u0660\\u0661\\u0662\\u0663\\u0664\\u0665\\u0666\\u0667"}', '{"phone":"[PHONE_1]"}'),
        ('{"mail": "a\\u0040b.org", "\\u00e9": "\\u00e9"}', '{"mail": "[EMAIL_1]", "\\u00e9": "\\u00e9"}'),
        ('["a@b.org\\nc", "half \\ud83d"]', '["[EMAIL_1]\\nc", "half \\ud83d"]'),
        ('{"a@b.org": 1}', '{"[EMAIL_1]": 1}'),
        ('{"in": "{\\"phone\\": 966501234567}"}', '{"in": "{\\"phone\\": \\"[PHONE_1]\\"}"}'),
        ('```json\n{"phone": 966501234567}\n```\ncall', '```json\n{"phone": "[PHONE_1]"}\n```\ncall'),
        ('{"card": 4111111111111111}', '{"card": "[CARD_1]"}'),
        ('{"total": 966501234567.25}', '{"total": 966501234567.25}'),
    ],
)
def test_json_in_a_text_stays_json_and_the_rest_stays_letter_by_letter(answer: str, expected: str) -> None:
    assert clean(answer) == [expected]


def test_random_json_answers_stay_json() -> None:
    generator = random.Random(3)
    parts = [
        "a@b.org",
        NUMBER,
        "٠٥٠١٢٣٤٥٦٧",
        966501234567,
        'say "hi"',
        "\\",
        "😀",
        None,
        True,
        1.5,
        "\n",
        "GB82WEST12345698765432",
    ]
    replaced = 0
    for _ in range(300):
        value: Any = {f"k{at}": generator.choice(parts) for at in range(4)}
        value["in"] = json.dumps(generator.choices(parts, k=3), ensure_ascii=generator.random() < 0.5)
        (text,), count = redact([json.dumps(value, ensure_ascii=generator.random() < 0.5)])
        again = json.loads(text)
        json.loads(again["in"])
        assert "b.org" not in text
        replaced += count
    assert replaced > 300


def test_escapes_are_read_with_their_places() -> None:
    said = unescaped("a\\u0040\\n\\ud83d\\ude00z")
    assert said.text == "a@\n😀z"
    assert [said.span(at, at + 1) for at in range(5)] == [(0, 1), (1, 7), (7, 9), (9, 21), (21, 22)]
    assert spelling("ا\u200bب").span(0, 2) == (0, 3)


# -- rows -------------------------------------------------------------------------------------------------------------

SEND = {"name": "send", "arguments": '{"to":"a@b.org"}'}
ROWS: list[dict[str, Any]] = [
    {
        "id": "a@b.org",
        "meta": {"phone": 966501234567, "a@b.org": [{"deep": "a@b.org"}], "float": 966501234567.0},
        "tools": [{"type": "function", "function": {"name": "send", "description": "mail a@b.org"}}],
        "messages": [
            {"role": "system", "content": "a@b.org"},
            {"role": "user", "content": "a@b.org", "name": "a@b.org"},
            {
                "role": "assistant", "content": None, "reasoning": "a@b.org",
                "tool_calls": [{"id": "c", "type": "function", "function": SEND}],
            },
            {"role": "tool", "tool_call_id": "c", "content": "a@b.org"},
            {"role": "assistant", "content": "a@b.org"},
        ],
    },
    {"prompt": "a@b.org", "chosen": "a@b.org!", "rejected": "a@b.org?"},
    {"text": "a@b.org", "label": "7"},
    {"text": "a@b.org"},
    {"instruction": "a@b.org", "input": "a@b.org", "output": "a@b.org", "history": [["a@b.org", "a@b.org"]]},
    {"no": "form", "at": "all a@b.org"},
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
def test_every_text_of_a_row_of_any_form_is_clean_and_the_form_stays(row: dict[str, Any]) -> None:
    copy = Redactor().row(row)
    text = json.dumps(copy)
    assert "b.org" not in text
    assert "966501234567" not in text
    assert list(copy) == list(row)
    if "messages" in row:
        call = copy["messages"][2]["tool_calls"][0]["function"]["arguments"]
        assert call == '{"to":"[EMAIL_1]"}'


def test_two_keys_that_become_one_placeholder_lose_nothing() -> None:
    assert len(Redactor().row({"0501234567": 1, "050 123 4567": 2})) == 2


def test_labels_counts_and_small_numbers_stay() -> None:
    row = {
        "text": "t",
        "label": 3,
        "meta": {"n": 12345678, "when": 20261121, "share": 0.25, "ok": True, "id": 1054827361},
    }
    assert Redactor().row(row) == row


# -- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not names_module.available(), reason="the extra names is not installed")
def test_names_are_replaced_where_the_extra_is_installed() -> None:
    redactor = Redactor(names_module.names_detector(True))
    assert redactor.row("My name is John Smith and I live in Cairo.") == "My name is [PERSON_1] and I live in Cairo."


# -- time -------------------------------------------------------------------------------------------------------------


UNITS = [
    "a", "1", "a@", "a.", "eyJ", "1.1.", "1:", "://a:", "12 ", "2026-11-21 ", "4111 1111 ", "SA03 8000 ", "(1)",
    "password: ",
    "```\n", "[", '"\\', "+1 ", "sk-", "A1234567 ", "-----BEGIN PRIVATE KEY-----",
]  # fmt: skip


def steps(text: str) -> int:
    """Calls of Python functions that looking at a text takes; nothing here measures time."""
    import sys

    calls = 0

    def count(_frame: object, event: str, _arg: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        find(text)
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize("unit", UNITS)
def test_work_grows_with_the_text_and_not_with_its_square(unit: str) -> None:
    short, long = (unit * (size // len(unit)) for size in (1_500, 12_000))
    find(long)
    assert steps(long) <= 9 * steps(short) + 500


def test_a_long_run_of_base64_has_nothing_and_is_read_at_once() -> None:
    """Squares would take hours for four million characters, and end in the time limit of the suite."""
    import base64

    text = base64.b64encode(random.Random(7).randbytes(3_000_000)).decode()
    assert find(text) == ()
    assert find(text.replace("+", "-").replace("/", "_")) == ()
