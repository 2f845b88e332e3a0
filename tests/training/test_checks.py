"""What each finding says, how grave it is and in which order, and the exact bounds from which it is said."""

from __future__ import annotations

import json
import random

import pytest

from lifecycle.conversation import Conversation, Message
from lifecycle.errors import Problem
from lifecycle.text.toxicity import Rules
from training.data.checks import Checks, Finding, check


def row(question: str, answer: str = "a", place: str = "t:1", system: str = "") -> Conversation:
    first = (Message("system", system),) if system else ()
    return Conversation(place, "", (*first, Message("user", question), Message("assistant", answer)))


def labelled(**counts: int) -> list[Conversation]:
    """Rows that nothing else is to be said about, but how often each label comes."""
    generator = random.Random(1)
    labels = [label for label, count in counts.items() for _ in range(count)]
    return [
        row("".join(generator.choices("abcdefghij ", k=40)), json.dumps({"u": label}), f"t:{n}")
        for n, label in enumerate(labels, start=1)
    ]


def found(rows: list[Conversation], name: str, **options: object) -> list[Finding]:
    return [finding for finding in check(rows, **options).findings if finding.check == name]  # type: ignore[arg-type]


def said(rows: list[Conversation], name: str, **options: object) -> list[str]:
    return [finding.message for finding in found(rows, name, **options)]


def test_no_rows_have_no_balance_and_no_advice() -> None:
    report = check([])
    assert (report.rows, report.balance, report.findings, report.against) == (0, None, (), {})


def test_the_gravest_findings_come_first() -> None:
    rows = [row("call 0501234567", place="t:1", system="S"), row("write to a@b.org", place="t:2", system="S")]
    levels = [finding.level for finding in check(rows).findings]
    assert levels == sorted(levels, key=["error", "warning", "note"].index)
    assert set(levels) == {"error", "warning", "note"}


def test_unreadable_rows_are_counted_with_their_places() -> None:
    one, two = Problem("t:3", "is not JSON"), Problem("t:9", "has no role")
    (finding,) = found([row("q")], "readable", bad=[one, two])
    assert (finding.level, finding.message) == ("error", "2 faults in rows")
    assert finding.places == ("t:3: is not JSON", "t:9: has no role")
    assert said([row("q")], "readable", bad=[one]) == ["1 fault in rows"]
    assert said([row("q")], "readable") == []


def test_one_of_a_kind_is_said_in_the_singular() -> None:
    rows = [row("when?", place="t:1"), row("When", place="t:2")]
    assert said(rows, "duplicates") == ["1 group of equal rows"]
    rows += [row("where?", place="t:3"), row("where", place="t:4")]
    assert said(rows, "duplicates") == ["2 groups of equal rows"]


def test_equal_rows_are_a_group_of_all_their_places_and_no_contradiction() -> None:
    rows = [row("when?", "nine", f"t:{n}") for n in range(1, 4)]
    assert [finding.places for finding in found(rows, "duplicates")] == [("t:1 = t:2 = t:3",)]
    assert found(rows, "contradictions") == []


def test_of_a_large_group_and_of_many_groups_the_first_are_named_and_all_counted() -> None:
    checks = Checks(similarity=None, look_for_personal=False)
    for place in range(1, 22):
        checks.see(row("when?", "nine", f"t:{place}"))
    for place in range(22, 32):
        checks.see(row("when?", f"{place}", f"t:{place}"))
    for number in range(2500):
        checks.see(row(f"{number} days?", place=f"t:{100 + number}"))
        checks.see(row(f"{number} days?", place=f"u:{100 + number}"))
    report = checks.report()
    equal, apart = (next(f for f in report.findings if f.check == name) for name in ("duplicates", "contradictions"))
    assert (equal.count, len(equal.places)) == (2501, 1000)
    assert equal.places[:2] == (" = ".join([*(f"t:{n}" for n in range(1, 21)), "…"]), "t:100 = u:100")
    assert equal.places[-1] == "t:1098 = u:1098"
    assert apart.places == (" ≠ ".join(["t:1", *(f"t:{n}" for n in range(22, 32))]),)


def test_the_same_words_after_other_turns_are_another_question() -> None:
    def after(earlier: str, place: str) -> Conversation:
        turns = (
            Message("user", earlier),
            Message("assistant", "ok"),
            Message("user", "and?"),
            Message("assistant", "a"),
        )
        return Conversation(place, "", turns)

    rows = [after("one thing", "t:1"), after("another matter", "t:2")]
    assert found(rows, "duplicates") == []


def test_a_leaked_row_is_not_a_near_one_too() -> None:
    asked = "I have had a strong headache since Monday and cannot sleep at night"
    train = [row(asked, place="t:1"), row(asked.replace("Monday", "Sunday"), place="t:2"), row(asked, place="t:3")]
    tests = [row(asked, place="e:1"), row(asked.replace("Monday", "Friday"), place="e:2")]
    (leaked,) = found(train, "leakage", against={"e": tests}, similarity=0.6)
    assert leaked.message == "1 row of e asked in the training rows too"
    assert leaked.places == ("e:1 = t:1",)  # the first of those that ask it
    (near,) = found(train, "near leakage", against={"e": tests}, similarity=0.6)
    assert (near.level, near.message) == ("warning", "2 rows of e nearly asked in the training rows")
    assert [place.partition(" (")[0] for place in near.places] == ["e:2 ≈ t:1", "e:2 ≈ t:2"]


def test_two_questions_are_near_from_the_similarity_of_85_percent() -> None:
    base = "abcdefghijklmnopqrstuvwxyz0123456789"
    assert len(base) == 36  # 32 shingles
    assert found([row(base), row(base[:32], place="t:2")], "near duplicates")  # 28 of 32: .875
    assert not found([row(base), row(base[:31], place="t:2")], "near duplicates")  # 27 of 32: .84


def test_personal_data_is_told_by_kind_the_certain_kinds_first() -> None:
    rows = [
        row("call 0501234567 or from 82.10.4.77", place="t:1"),
        row("write to a@b.org", "we wrote to a@b.org and c@d.org", "t:2"),
        row("my SSN is 123-45-6789", place="t:3"),
        row("0509876543", place="t:4"),
    ]
    assert [(f.level, f.message, f.places) for f in found(rows, "personal data")] == [
        ("error", "1 row with an email", ("t:2",)),
        ("error", "1 row with a national id", ("t:3",)),
        ("warning", "1 row with an ip, by its look", ("t:1",)),
        ("warning", "2 rows with a phone, by its look", ("t:1", "t:4")),
    ]


def test_kinds_of_personal_data_are_in_the_order_of_their_names_whatever_comes_first() -> None:
    rows = [
        row("call 0501234567", place="t:1"),
        row("from 82.10.4.77", place="t:2"),
        row("my SSN is 123-45-6789", place="t:3"),
        row("card 4111111111111111", place="t:4"),
        row("write to a@b.org", place="t:5"),
    ]
    for data in (rows, rows[::-1]):
        kinds = [finding.message.partition(" with ")[2] for finding in found(data, "personal data")]
        assert kinds == ["a card", "an email", "a national id", "an ip, by its look", "a phone, by its look"]


def test_a_certain_kind_comes_before_a_possible_one_whatever_their_names() -> None:
    rows = [row("from 82.10.4.77", place="t:1"), row("call +966501234567", place="t:2")]
    assert [finding.level for finding in found(rows, "personal data")] == ["error", "warning"]
    assert "phone" in found(rows, "personal data")[0].message


def test_personal_data_is_not_looked_for_where_it_is_not_asked_for() -> None:
    for asked in (True, False):
        checks = Checks(look_for_personal=asked)
        checks.see(row("write to a@b.org"))
        assert ("personal data" in {finding.check for finding in checks.report().findings}) is asked


@pytest.mark.parametrize(
    ("common", "other", "is_said"), [(90, 10, False), (91, 9, True), (10, 90, False), (9, 91, True)]
)
def test_one_class_dominates_from_more_than_nine_tenths(common: int, other: int, is_said: bool) -> None:
    share = f"{max(common, other)}% of the rows are {'a' if common > other else 'b'}"
    expected = [f"u: {share}"] * is_said
    assert [text for text in said(labelled(a=common, b=other), "balance") if "% of the rows" in text] == expected


@pytest.mark.parametrize(
    ("rows", "rare", "is_said"),
    [
        (100, 5, False), (100, 4, True), (189, 9, True), (180, 9, False),  # a twentieth of the rows
        (400, 10, False), (400, 9, True), (1000, 10, False),  # and ten are enough in any case
    ],
)  # fmt: skip
def test_a_class_is_rare_below_ten_rows_and_below_a_twentieth(rows: int, rare: int, is_said: bool) -> None:
    common = (rows - rare) // 2
    data = labelled(a=common, b=rows - rare - common, c=rare)
    assert (f"u: few rows for c ({rare})" in said(data, "balance")) is is_said


def test_languages_are_weighed_as_labels_are() -> None:
    arabic = [row("متى تفتح العيادة " + "ابجدهوزحطيكلمن"[n % 14] * n, place=f"t:{n}") for n in range(39)]
    messages = said([*arabic, row("when do you open", place="t:40")], "balance")
    assert messages == ["language: 98% of the rows are arabic", "language: few rows for latin (1)"]


@pytest.mark.parametrize(("objects", "others", "is_said"), [(1, 3, True), (3, 1, True), (4, 0, False), (0, 4, False)])
def test_answers_of_two_forms_are_noticed(objects: int, others: int, is_said: bool) -> None:
    answers = ['{"a": [1]}'] * objects + ["plain"] * others
    rows = [row(f"question {'abcd'[n] * 20}", answer, f"t:{n}") for n, answer in enumerate(answers)]
    expected = [f"{objects} of 4 answers are JSON objects and the others are not"]
    assert said(rows, "balance") == expected * is_said


@pytest.mark.parametrize(
    ("systems", "is_noted"),
    [(["S", "S"], True), (["S", "T"], False), (["S", ""], False), (["", ""], False), (["S"], False)],
)
def test_a_system_text_is_noted_where_several_rows_have_it_and_all_do(systems: list[str], is_noted: bool) -> None:
    rows = [row(f"question {'abc'[n] * 20}", place=f"t:{n}", system=system) for n, system in enumerate(systems)]
    assert bool(found(rows, "system text")) is is_noted


def test_a_finding_needs_no_cure() -> None:
    assert Finding(level="note", check="x", message="y").cure == ""


def test_words_by_rules_of_ones_own_are_told_and_no_others() -> None:
    rules = Rules.model_validate({"rules": {"rude": {"language": "en", "words": ["you fool"]}}})
    checks = Checks(rules=rules)
    for place, text in enumerate(["you fool", "you are kind"], start=1):
        checks.see(row(f"question {place}", text, f"t:{place}"))
    (told,) = (finding for finding in checks.report().findings if finding.check == "toxicity")
    assert told.places == ("t:1",)
    assert told.level == "warning"
