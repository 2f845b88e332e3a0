"""Answers that are labels: which one, and macro-F1 as scikit-learn has it, with an interval that holds."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.statistics.labels import macro_f1
from evals.tasks.lmeval.metrics import label, labels_of, rules
from lifecycle.errors import InvalidConfig, InvalidData, InvalidInput
from lifecycle.text.normaliser import LIGHT_1
from lifecycle.text.scores import label_of

LABELS = ("negative", "positive")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("positive", "positive"),
        (" Positive.\n", "positive"),
        ("NEGATIVE", "negative"),
        ("The sentiment is positive.", None),
        ("positive positive", None),
        ("positive or negative", None),
        ("not positive", None),
        ("posit", None),
        ("", None),
    ],
)
def test_an_answer_is_a_label_when_all_of_it_is(answer: str, said: str | None) -> None:
    assert label_of(answer, LABELS) == said


def test_accuracy_is_the_right_label_and_labelled_is_any() -> None:
    assert label(["positive"], ["Positive!"], LABELS) == {"accuracy": 1.0, "labelled": 1.0}
    assert label(["positive"], ["negative"], LABELS) == {"accuracy": 0.0, "labelled": 1.0}
    assert label(["positive"], ["good"], LABELS) == {"accuracy": 0.0, "labelled": 0.0}
    assert label(["إيجابي"], ["ايجابي"], ["إيجابي", "سلبي"]) == {"accuracy": 1.0, "labelled": 1.0}


def test_a_target_that_is_no_label_is_the_datas_fault() -> None:
    with pytest.raises(InvalidData, match="'neutral' is none of negative, positive"):
        label(["neutral"], ["positive"], LABELS)


def test_a_tasks_labels_and_rule_are_read_from_its_metrics() -> None:
    mine = [{"metric": "valid_json", "required": []}, {"metric": "label", "labels": list(LABELS)}]
    assert labels_of(mine) == (LABELS, LIGHT_1)
    assert labels_of(mine[:1]) is None
    assert rules(mine)["normalisers"] == ["light-1"]
    with pytest.raises(InvalidConfig, match="nothing"):
        labels_of([{"metric": "label", "labels": list(LABELS), "normaliser": "nothing"}])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["a", "b", "c", None])), min_size=1, max_size=30))
def test_macro_f1_is_that_of_scikit_learn(pairs: list[tuple[str, str | None]]) -> None:
    from sklearn.metrics import f1_score

    right, given_ = [one for one, _ in pairs], [other for _, other in pairs]
    wanted = f1_score(right, [one or "-" for one in given_], labels=list("abc"), average="macro", zero_division=0)
    figure = macro_f1(given_, right, "abc")
    assert figure.value == pytest.approx(wanted)
    assert 0.0 <= figure.low <= figure.value + 1e-9
    assert figure.value - 1e-9 <= figure.high <= 1.0
    assert figure.n == len(pairs)


def test_one_label_for_everything_is_half_right_and_has_a_third() -> None:
    right = ["positive", "negative"] * 50
    assert macro_f1(["positive"] * 100, right, LABELS).value == pytest.approx(1 / 3)


def test_all_right_is_no_proof_of_perfection() -> None:
    right = ["positive", "negative"] * 10
    figure = macro_f1(right, right, LABELS)
    assert (figure.value, figure.high) == (1.0, 1.0)
    assert figure.low < 0.9


def test_the_interval_holds_the_truth_nineteen_times_in_twenty() -> None:
    """A labeller that is right with a chance of 0.8 on both labels has a macro-F1 of 0.8."""
    draw = random.Random(7)
    held, tries = 0, 400
    for _ in range(tries):
        right = [draw.choice(LABELS) for _ in range(120)]
        given_ = [one if draw.random() < 0.8 else LABELS[1 - LABELS.index(one)] for one in right]
        figure = macro_f1(given_, right, LABELS)
        held += figure.low <= 0.8 <= figure.high
    assert 0.92 <= held / tries <= 0.98


def test_items_that_belong_together_count_as_one() -> None:
    right = ["positive", "negative"] * 20
    given_ = [*right[:30], *("positive",) * 10]
    alone = macro_f1(given_, right, LABELS)
    repeated = macro_f1(given_ * 9, right * 9, LABELS, clusters=list(range(40)) * 9)
    assert repeated.value == pytest.approx(alone.value)
    assert (repeated.low, repeated.high) == (pytest.approx(alone.low), pytest.approx(alone.high))
    assert (repeated.n, repeated.clusters) == (360, 40)


def test_nothing_and_an_unknown_target_are_refused() -> None:
    with pytest.raises(InvalidInput, match="no items"):
        macro_f1([], [], LABELS)
    with pytest.raises(InvalidInput, match="neutral is right, and none of the labels"):
        macro_f1(["positive"], ["neutral"], LABELS)
