"""How rows are spread, at the bounds: when a script is the text's, when a field is a label, what a percentile is."""

from __future__ import annotations

import json

import pytest

from lifecycle.conversation import Conversation, Message
from lifecycle.rows.kinds import Labelled, PlainText
from lifecycle.text.script import language
from training.data.balance import balance, lengths


def row(question: str, answer: str) -> Conversation:
    return Conversation("t:1", "", (Message("user", question), Message("assistant", answer)))


def fields(*answers: object) -> dict[str, dict[str, int]]:
    return balance([row("q", json.dumps(answer)) for answer in answers]).fields


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("abcdefg" + "عيا", "latin"),  # 7 of 10
        ("abcdef" + "عياد", "mixed"),
        ("abc" + "عيادتنا", "arabic"),
        ("12 345 !", "none"),
        ("عيادة 12345678 …", "arabic"),
        ("١٢٣ …", "none"),
    ],
)
def test_a_script_is_the_texts_from_seven_tenths_of_the_letters(text: str, expected: str) -> None:
    assert language(text) == expected


def test_lengths_are_of_the_sorted_values_and_named() -> None:
    found = balance([row("q" * length, "a" * (length % 3 + 1)) for length in (9, 1, 5, 30)])
    question, answer = found.lengths
    assert (question.unit, answer.unit) == ("characters in a question", "characters in an answer")
    assert question.model_dump(exclude={"unit"}) == {
        "shortest": 1, "median": 7.0, "p95": 30.0, "longest": 30, "total": 45,
    }  # fmt: skip
    assert (answer.shortest, answer.longest, answer.total) == (1, 3, 7)


@pytest.mark.parametrize(("count", "p95"), [(1, 1), (19, 19), (20, 19), (21, 20), (40, 38), (41, 39), (200, 190)])
def test_p95_is_the_smallest_value_that_19_of_20_do_not_exceed(count: int, p95: int) -> None:
    assert lengths("tokens", list(range(count, 0, -1))).p95 == p95


def test_only_json_objects_count_as_json_answers() -> None:
    found = balance([row("q", answer) for answer in ('{"a": 1}', "[1]", "3", '"x"', "plain", "{")])
    assert found.json_answers == 1


def test_values_of_every_small_kind_are_labels_and_others_are_none() -> None:
    answer = {"text": "a", "truth": True, "count": 3, "share": 0.5, "none": None, "list": ["a"], "object": {"a": 1}}
    assert fields(answer, answer) == {
        "text": {"a": 2}, "truth": {"true": 2}, "count": {"3": 2}, "share": {"0.5": 2}, "none": {"null": 2},
    }  # fmt: skip


def test_values_are_counted_most_frequent_first() -> None:
    found = fields(*({"u": value} for value in ["low", "high", "high", "none", "none", "none"]))
    assert list(found["u"].items()) == [("none", 3), ("high", 2), ("low", 1)]


@pytest.mark.parametrize(("values", "rows", "is_label"), [
    (20, 40, True), (21, 63, False),  # at most 20 values
    (5, 10, True), (5, 9, False), (1, 2, True), (1, 1, False), (3, 6, True), (3, 5, False),  # each twice on average
])  # fmt: skip
def test_a_label_has_few_values_that_come_again(values: int, rows: int, is_label: bool) -> None:
    assert ("u" in fields(*({"u": f"v{n % values}"} for n in range(rows)))) is is_label


def test_a_thin_slice_needs_two_languages_that_are_common() -> None:
    """40 rows of each of two urgencies; high ones are in Arabic but once."""

    def rows(english: int, arabic: int) -> list[Conversation]:
        low = [row("how are you", '{"urgency": "low"}')] * english + [row("كيف الحال", '{"urgency": "low"}')] * arabic
        return [*low, *[row("help me now", '{"urgency": "high"}')] * 40, row("النجدة", '{"urgency": "high"}')]

    assert balance(rows(40, 40)).slices == {"arabic, urgency high": 1}
    assert balance(rows(40, 0)).slices == {}, "there is no Arabic to speak of"


@pytest.mark.parametrize(("times", "slices"), [(20, {"arabic, urgency high": 1}), (19, {})])
def test_a_value_is_common_enough_for_a_slice_from_twice_the_least(times: int, slices: dict[str, int]) -> None:
    """Of 200 rows the least is ten."""
    low = [row("how are you", '{"urgency": "low"}')] * 100 + [row("كيف الحال", '{"urgency": "low"}')] * (100 - times)
    high = [row("help me now", '{"urgency": "high"}')] * (times - 1) + [row("النجدة", '{"urgency": "high"}')]
    assert balance([*low, *high]).slices == slices


@pytest.mark.parametrize(("count", "median"), [(1, 1.0), (2, 1.5), (3, 2.0), (4, 2.5), (5, 3.0)])
def test_the_median_is_the_middle_one_or_the_mean_of_both(count: int, median: float) -> None:
    assert lengths("x", list(range(1, count + 1))).median == median


def test_a_text_without_an_answer_has_no_answer_to_count() -> None:
    assert balance([PlainText("t:1", "", "same words"), PlainText("t:2", "", "same words")]).fields == {}


def test_a_text_with_its_label_has_no_answer_besides() -> None:
    rows = [
        Labelled("t:1", "", "text", "good"),
        Labelled("t:2", "", "text", "good"),
        Labelled("t:3", "", "text", "bad"),
    ]
    assert balance([*rows, rows[2]]).fields == {"label": {"bad": 2, "good": 2}}


def urgent(level: str, **counts: int) -> list[Conversation]:
    """So many rows of this urgency in each language."""
    questions = {"latin": "help me now", "arabic": "النجدة الآن", "mixed": "help النجدة"}
    return [
        row(questions[told], json.dumps({"urgency": level})) for told, count in counts.items() for _ in range(count)
    ]


def test_a_language_is_common_from_the_least_on() -> None:
    """Of 200 rows the least is ten: ten are common, nine are not."""
    rows = [*urgent("low", latin=161, arabic=9), *urgent("high", latin=29, arabic=1)]
    assert balance(rows).slices == {"arabic, urgency high": 1, "arabic, urgency low": 9}
    rows = [*urgent("low", latin=162, arabic=8), *urgent("high", latin=29, arabic=1)]
    assert balance(rows).slices == {}


def test_there_are_no_slices_of_one_common_language() -> None:
    rows = [*urgent("low", latin=180), *urgent("high", latin=2, arabic=9, mixed=9)]
    assert balance(rows).slices == {}


def test_what_never_comes_together_is_no_thin_slice() -> None:
    assert balance([*urgent("low", latin=150, arabic=20), *urgent("high", latin=30)]).slices == {}
