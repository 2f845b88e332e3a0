"""The checks on every kind of row: what is compared, what leaks, what is counted, and what is said of toxic words."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lifecycle.conversation import Conversation, Message
from lifecycle.errors import InvalidConfig
from lifecycle.rows.files import Reading
from lifecycle.text.toxicity import Rules
from training.data.checks import Checks, DataReport, check
from training.data.findings import MOST_PLACES, Finding
from training.data.repeats import decisive
from training.data.spool import Spool


def row(question: str, answer: str = "a", place: str = "t:1", **more: Any) -> Conversation:
    return Conversation(place, "", (Message("user", question), Message("assistant", answer)), **more)


def found(report: DataReport, name: str) -> list[Finding]:
    return [finding for finding in report.findings if finding.check == name]


OPPOSITES = [
    ("Blood group A+ donor needed now", "Blood group A- donor needed now"),
    ("Pain above >7 out of ten", "Pain above <7 out of ten"),
    ("Is C++ taught here?", "Is C# taught here?"),
    ("take it 5 times a day before every meal for weeks", "take it 50 times a day before every meal for weeks"),
    (
        "I can do this exercise every morning after breakfast",
        "I can not do this exercise every morning after breakfast",
    ),
    ("أريد أن آخذ الدواء قبل النوم كل ليلة من هذا الأسبوع", "لا أريد أن آخذ الدواء قبل النوم كل ليلة من هذا الأسبوع"),
    (
        "call it when temperature is 38 degrees or above at night",
        "call it when temperature is 39 degrees or above at night",
    ),
]


@pytest.mark.parametrize(("left", "right"), OPPOSITES)
def test_opposites_are_neither_a_leak_nor_near(left: str, right: str) -> None:
    report = check([row(left)], {"test": [row(right, place="e:1")]}, similarity=0.5)
    assert not [finding for finding in report.findings if "leakage" in finding.check]
    assert not found(check([row(left), row(right, place="t:2")], similarity=0.5), "near duplicates")


def test_long_opposites_are_near_by_their_letters_alone() -> None:
    from lifecycle.text.normaliser import LIGHT_1
    from training.data.duplicates import near

    pairs = [near([LIGHT_1.normal(text) for text in both], 0.5) for both in OPPOSITES]
    assert sum(map(bool, pairs)) >= 4  # so that the test above can fail


def test_signs_numbers_and_negations_decide_and_names_do_not() -> None:
    assert decisive("a − donor") == ("−",)
    assert decisive("is c♯ or c + taught 5 .5 times not now") == ("c♯", "+", "5", ".5", "not")
    assert decisive("vitamin b12 هندي हिन्दी don t") == ("t",)


@pytest.mark.parametrize(
    "spelt",
    [
        "MY HEAD HURTS since monday and I feel sick",
        "my head hurts, since Monday — and I feel sick!",
        "my\u200c head hurts since Mon\u200cday and I\u200b feel sick",
    ],
)
def test_a_question_leaks_in_any_spelling_and_inside_a_longer_row(spelt: str) -> None:
    asked = [row("My head hurts since Monday and I feel sick", place="e:1")]
    (leak,) = found(check([row(spelt)], {"test": asked}), "leakage")
    assert (leak.level, leak.places) == ("error", ("e:1 = t:1",))
    inside = [row("other", f"As I said: {spelt}, so what now?"), row(f"Hello. {spelt} Thanks a lot", place="t:2")]
    (leak,) = found(check(inside, {"test": asked}), "contained leakage")
    assert (leak.level, leak.places) == ("error", ("e:1 ⊂ t:1",))


@pytest.mark.parametrize(("words", "level"), [(4, None), (5, "warning"), (7, "warning"), (8, "error")])
def test_a_short_question_inside_a_longer_row_may_be_chance(words: int, level: str | None) -> None:
    asked = " ".join(["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"][:words])
    report = check([row(f"before {asked} behind")], {"test": [row(asked, place="e:1")]})
    assert [finding.level for finding in found(report, "contained leakage")] == [level] * (level is not None)
    apart = check([row(f"before {asked}s behind")], {"test": [row(asked, place="e:1")]})
    assert found(apart, "contained leakage") == []


ARABIC = ("أُرِيدُ حَجْزَ مَوْعِدٍ عِنْدَ طَبِيبِ العُيُونِ يومَ الأحدِ صباحًا", "اريد حجز موعد عند طبيب العيـــون يوم الاحد صباحا")


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ({"prompt": ARABIC[0], "completion": "a"}, {"prompt": ARABIC[1], "completion": "b"}),
        ({"text": ARABIC[0], "label": "x"}, {"text": ARABIC[1], "label": "x"}),
        ({"text": ARABIC[0]}, {"text": ARABIC[1]}),
        (
            {"prompt": ARABIC[0], "chosen": "a", "rejected": "b"},
            {"prompt": ARABIC[1], "chosen": "c", "rejected": "d"},
        ),
        ({"text": f"قال: {ARABIC[0]} ثم ذهب"}, {"prompt": ARABIC[1], "completion": "b"}),
    ],
)
def test_rows_of_every_kind_are_held_against_test_rows_in_any_spelling(
    jsonl: Callable[..., Path], train: dict[str, str], test: dict[str, str]
) -> None:
    rows, tests = Reading(jsonl("t.jsonl", [train])), Reading(jsonl("e.jsonl", [test]))
    (leak,) = check(rows, {"e": tests}).of("error")
    assert leak.check in ("leakage", "contained leakage")


@pytest.mark.parametrize(
    ("rows", "repeated", "contradicted"),
    [
        ([{"text": "t", "label": "x"}] * 2, 1, 0),
        ([{"text": "t", "label": "x"}, {"text": "T!", "label": "y"}], 0, 1),
        ([{"text": "t"}] * 2, 1, 0),
        ([{"prompt": "q", "chosen": "a", "rejected": "b"}] * 2, 1, 0),
        ([{"prompt": "q", "chosen": "a", "rejected": "b"}, {"prompt": "q", "chosen": "b", "rejected": "a"}], 0, 1),
        ([{"prompt": "q", "chosen": "a", "rejected": "b"}, {"prompt": "q", "chosen": "a", "rejected": "c"}], 0, 0),
        ([{"prompt": "q", "completion": "a", "label": value} for value in (True, False)], 0, 1),
        ([{"prompt": "q", "completion": f"{value}", "label": value} for value in (True, False)], 0, 0),
    ],
)
def test_what_makes_rows_of_a_kind_equal_and_what_contradicts(
    jsonl: Callable[..., Path], rows: list[dict[str, Any]], repeated: int, contradicted: int
) -> None:
    report = check(Reading(jsonl("t.jsonl", rows)))
    assert len(found(report, "duplicates")) == repeated
    assert len(found(report, "contradictions")) == contradicted


def test_labels_judgements_meta_and_plain_answers_are_counted_and_thin_slices_named(jsonl: Callable[..., Path]) -> None:
    texts = [{"text": f"text {n}", "label": n % 2, "meta": {"intent": f"i{n % 3}", "id": n}} for n in range(60)]
    balance = check(Reading(jsonl("t.jsonl", texts))).balance
    assert balance is not None
    assert balance.fields == {"label": {"0": 30, "1": 30}, "meta.intent": {"i0": 20, "i1": 20, "i2": 20}}
    drawn = random.Random(2)
    letters = {"en": "abcdefgh ", "ar": "ابتثجحخد "}

    def asked(language: str, label: str, place: int) -> Conversation:
        return row("".join(drawn.choices(letters[language], k=40)), label, f"t:{place}")

    wanted = [("en", "yes", 60), ("en", "no", 60), ("ar", "yes", 60), ("ar", "no", 3)]
    rows = [asked(language, label, n) for language, label, count in wanted for n in range(count)]
    report = check(rows)
    assert report.balance is not None
    assert report.balance.slices == {"arabic, answer no": 3}
    assert [f.message for f in found(report, "balance")] == ["thin slices: arabic, answer no (3)"]


def test_a_field_of_names_is_no_label_and_its_memory_is_bounded() -> None:
    checks = Checks(similarity=None, look_for_personal=False)
    for n in range(5000):
        checks.see(row(f"q{n}", f"a{n}", f"t:{n}", meta={f"key{n}": n, "name": f"n{n}"}))
    assert len(checks._spread._fields) == 200
    assert max(len(values) for values in checks._spread._fields.values()) <= 21
    report = checks.report()
    assert report.balance is not None
    assert report.balance.fields == {}


# -- toxic words ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("You are an IDIOT, go", "en-insult"), ("well, fuck", "en-profanity"), ("I will kill you now", "en-threat"),
        ("يا كَلـــب اذهب", "ar-insult"), ("وسأقتلك غدا", "ar-threat"), ("هذه الشرموطة", "ar-profanity"),
    ],
)  # fmt: skip
def test_a_toxic_word_is_a_warning_that_names_rule_and_word_and_drops_nothing(text: str, rule: str) -> None:
    report = check([row(text), row("fine", text, "t:2"), row("nice", place="t:3")])
    fired = found(report, "toxicity")
    assert fired
    assert all(finding.level == "warning" and f"(rule {rule})" in finding.message for finding in fired)
    assert fired[0].places == ("t:1", "t:2")
    assert report.rows == 3


@pytest.mark.parametrize(
    "text",
    ["the skin prick test", "kill the pain", "a classic assessment", "Scunthorpe", "cocktail",
     "كلب جارتي عضني", "حمار الوحش", "هل الخلاء قريب", "growth retardation", "shellfish and shiitake"],
)  # fmt: skip
def test_words_of_a_clinic_and_parts_of_words_are_not_toxic(text: str) -> None:
    assert found(check([row(text)]), "toxicity") == []


def test_a_list_of_ones_own_takes_the_place_of_the_shipped_one(tmp_path: Path) -> None:
    path = tmp_path / "w.yaml"
    path.write_text("rude:\n  language: en\n  words: [blast it]\n")
    checks = Checks(rules=Rules.load(path))
    for text in ("Blast it!", "idiot"):
        checks.see(row(text))
    assert [f.message for f in found(checks.report(), "toxicity")] == ["1 row with “blast it” (rule rude)"]
    path.write_text("rude:\n  lang: en\n")
    with pytest.raises(InvalidConfig, match="lang"):
        Rules.load(path)


# -- advice -----------------------------------------------------------------------------------------------------------


def test_copies_and_contradicted_rows_are_no_good_examples() -> None:
    rows = [row(f"question {'abc'[n]}", place=f"t:{n}") for n in range(3)]
    rows += [row("question a", place="t:3"), row("question d", "x", "t:4"), row("question d", "y", "t:5")]
    (size,) = found(check(rows), "size")
    assert size.message == "3 good examples of 6; a fine-tune is promising from about 1,000"


@pytest.mark.parametrize(("stating", "is_said"), [(6, True), (5, False)])
def test_rows_that_teach_facts_are_told_apart_from_behaviour(stating: int, is_said: bool) -> None:
    rows = [
        row(f"When was clinic {'abcdefghij'[n % 10] * 9}{n} opened?", f"In {1950 + n}.", f"t:{n}")
        for n in range(stating)
    ]
    rows += [row(f"When did {1950 + n} begin?", f"In {1950 + n}.", f"t:{n}") for n in range(20 - stating)]
    assert bool(found(check(rows), "facts")) is is_said


# -- memory -----------------------------------------------------------------------------------------------------------


def test_a_finding_counts_all_places_and_names_the_first() -> None:
    report = check(
        [row("ask me", "b", f"t:{n}") for n in range(1)], {"e": [row("ask me", place=f"e:{n}") for n in range(1500)]}
    )
    (leak,) = found(report, "leakage")
    assert (leak.count, len(leak.places)) == (1500, MOST_PLACES)
    assert leak.message == "1,500 rows of e asked in the training rows too"


def test_records_come_back_by_key_and_in_order_from_memory_and_from_disk() -> None:
    drawn = random.Random(3)
    records = [(drawn.choice([5, 7, 2**63 + 1, 2**64 - 1]), n) for n in range(3000)]
    for most in (10, 10_000):
        spool = Spool([("key", "u8"), ("row", "u4")], most)
        for begin in range(0, 3000, 7):
            spool.add(*zip(*records[begin : begin + 7], strict=True))
        parts = list(spool.parts())
        assert (len(parts) > 1) is (most == 10)
        back = [(int(one["key"]), int(one["row"])) for part in parts for one in part]
        assert back == sorted(records)


def test_json_answers_of_one_row_in_two_places_are_equal(jsonl: Callable[..., Path]) -> None:
    rows = [{"prompt": "q", "completion": json.dumps({"a": 1})}] * 3
    (same,) = found(check(Reading(jsonl("t.jsonl", rows))), "duplicates")
    assert same.places[0].count("=") == 2
