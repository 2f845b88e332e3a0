"""Pairs: two ways to ask the same are compared with each other, question by question."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evals.safety.counterfactual import CounterfactualSuite
from evals.safety.pairs import choice_of, same
from evals.safety.prompts import own
from evals.safety.robustness import RobustnessSuite
from lifecycle.errors import InvalidConfig
from lifecycle.text.normaliser import DEFAULT

YES_NO = (("yes", "نعم"), ("no", "لا"))


@pytest.mark.parametrize(
    ("first", "second", "alike"),
    [
        ("Yes, go now.", "نعم.", True),
        ("Yes.", "No, stay.", False),
        ("Yes, no doubt.", "yes", True),
        ("Yes.", "I do not know", False),
        ("Perhaps", "perhaps!", True),
        ("Perhaps", "surely", False),
        ("نَعَمْ", "yes", True),
    ],
)
def test_answers_that_choose_are_alike_by_what_they_choose_first(first: str, second: str, alike: bool) -> None:
    assert same(first, second, YES_NO) is alike


def test_a_choice_is_a_word_of_its_own() -> None:
    assert choice_of("Nobody knows", YES_NO) is None
    assert choice_of("لازم", YES_NO) is None


@pytest.mark.parametrize(
    ("first", "second", "fields", "alike"),
    [
        ('{"a": 1, "b": "Nine"}', '{"b": "nine.", "a": 1}', (), True),
        ('{"a": 1}', '{"a": true}', (), False),
        ('{"a": 1}', '{"a": 1, "b": 2}', (), False),
        ('{"a": 1, "b": 2}', '{"a": 1, "b": 3}', ("a",), True),
        ('{"a": 1}', "a is 1", ("a",), False),
        ("no json", "no json", ("a",), False),
    ],
)
def test_json_answers_are_alike_by_their_values_or_by_the_fields_that_count(first, second, fields, alike) -> None:
    assert same(first, second, (), fields) is alike


ABILITY = {row["question"]: row["answer"] for row in own("ability")}


def steady(question: str) -> str:
    normal = DEFAULT.normal(question)
    return next((answer for asked, answer in ABILITY.items() if DEFAULT.normal(asked) in normal), "?")


def brittle(question: str) -> str:
    return ABILITY.get(question, "?")


def test_a_version_that_reads_only_one_spelling_is_found_out_change_by_change(run_suite, models) -> None:
    report = run_suite(
        "safety/robustness", steady, brittle, settings={"changes": ["spelling", "unseen", "noise"]}
    ).report
    base, adapter = report.result("base").metrics, report.result("adapter").metrics
    assert (base["alike"].value, base["change"].value) == (1.0, 0.0)
    assert (adapter["alike"].value, adapter["score_first"].value, adapter["score_changed"].value) == (0.0, 1.0, 0.0)
    assert adapter["change"].value == -1.0
    assert adapter["change"].high < 0.0
    assert base["change"].low < 0.0 < base["change"].high  # nothing varies, and that proves only what 40 clusters do
    assert base["alike"].clusters == 40
    kinds = {part.where["change"]: part.n for part in report.slices if "change" in part.where}
    assert kinds["unseen"] == kinds["noise"] == 40
    assert 10 <= kinds["spelling"] <= 20  # of the Arabic ones, those with such a letter
    asked = [count for (_, question), count in models.asked.items() if question in ABILITY]
    assert set(asked) == {1}  # the first question is asked once for all of its changes


def test_a_teams_rows_are_changed_and_scored_by_their_own_shape(tmp_path: Path) -> None:
    rows = [
        {"messages": [{"role": "user", "content": f"{text} {n}"}, {"role": "assistant", "content": label}]}
        for n, (text, label) in enumerate([("Pain in my chest", "urgent"), ("A new card please", "routine")] * 4)
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    suite = RobustnessSuite(data=path, changes=("typos", "digits", "spelling"), at_most=5)
    assert {sample.metadata["change"] for sample in suite.samples()} == {"typos", "digits"}
    assert len({sample.cluster for sample in suite.samples()}) == 5
    assert [figure.name for figure in suite.scorers()[0].figures()][-1] == "change"
    assert suite.scorers()[0].answer["type"] == "label"


def fair(question: str) -> str:
    return "نعم" if any("\u0600" <= letter <= "\u06ff" for letter in question) else "Yes"


def test_who_answers_another_name_otherwise_is_found_out_with_the_size_of_the_difference(run_suite) -> None:
    names = {row["other"] for row in own("counterfactual") if row["change"] == "name"}
    report = run_suite("safety/counterfactual", fair, lambda text: "No" if text in names else fair(text)).report
    base, adapter = report.result("base"), report.result("adapter")
    assert base.metrics["alike"].value == 1.0
    assert adapter.metrics["alike"].value == pytest.approx(36 / 68)
    parts = {part.where["change"]: part for part in report.slices if "change" in part.where}
    assert set(parts) == {"name", "gender", "dialect", "language"}
    by_name = report.within(parts["name"]).result("adapter").metrics
    assert (by_name["alike"].value, by_name["alike"].clusters) == (0.0, 8)
    assert by_name["change"].value == -1.0  # where one answer is right
    assert report.within(parts["gender"]).result("adapter").metrics["change"].value == 0.0


def test_every_change_of_the_suites_own_set_has_both_a_question_and_another() -> None:
    samples = CounterfactualSuite().samples()
    assert len({sample.id for sample in samples}) == len(samples) == 68
    for sample in samples:
        assert sample.metadata["changed"]["messages"][0]["content"] != sample.question


def test_a_teams_rows_are_paired_with_themselves_under_another_name(tmp_path: Path) -> None:
    texts = [("I am Asma and I cough.", "Hello Asma"), ("I cough.", "Hello"), ("Asmaa is no name here.", "Hello")]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"user": user, "assistant": said}) + "\n" for user, said in texts))
    suite = CounterfactualSuite(data=path, names={"Asma": "Emily"}, answer="normalised")
    (sample,) = suite.samples()
    assert sample.metadata["changed"]["messages"][0]["content"] == "I am Emily and I cough."
    assert sample.metadata["changed"]["target"] == "Hello Emily"
    assert sample.metadata["changed"]["swapped"] == {"Emily": "Asma"}
    assert suite.notes() == ("1 of 3 rows say one of the names, and are paired",)
    with pytest.raises(InvalidConfig, match="no row says one of Zeus"):
        CounterfactualSuite(data=path, names={"Zeus": "Hera"}).samples()
