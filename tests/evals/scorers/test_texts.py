"""Scores of texts: each by its own rule, and hostile answers cost nothing but their own figure."""

from __future__ import annotations

from typing import Any

import pytest

from evals.sample import Sample
from evals.scorers.table import SCORERS

HOSTILE = {
    "a number of 4,301 digits": "9" * 4301,
    "500 nested brackets": "[" * 500,
    "500 nested objects": '{"a":' * 500 + "1" + "}" * 500,
    "half of a surrogate pair": "yes \ud83d",
    "nothing": "",
    "only signs": "؟!",
    "a null byte": "\0",
    "direction marks": "\u200f\u200e",
    "a very long answer": "yes " * 5000,
}
TEXTS = ["exact", "normalised", "f1", "contains", "rouge", "bleu", "chrf"]


@pytest.mark.parametrize(
    ("name", "answer", "target", "value"),
    [
        ("exact", " yes\n", "yes", 1.0),
        ("exact", "Yes", "yes", 0.0),
        ("exact", "مدرسه", "مدرسة", 0.0),
        ("normalised", "Yes!", "yes", 1.0),
        ("normalised", "مَدرسه", "مدرسة", 1.0),
        ("normalised", "-5", "5", 0.0),
        ("f1", "the red house", "red house by the sea", pytest.approx(2 * 2 / (2 + 4))),
        ("contains", "It is Paris, of course.", "paris", 1.0),
        ("contains", "It is Parisian", "paris", 0.0),
        ("contains", "في مدرسه كبيرة", "مدرسة", 1.0),
        ("chrf", "abc", "abc", 1.0),
        ("rouge", "المستشفى مفتوح اليوم", "المستشفى مفتوح اليوم", 1.0),
        ("rouge", "👍", "👍", 1.0),
        ("rouge", "👎", "👍", 0.0),
    ],
)
async def test_the_first_figure_of_each(scored: Any, name: str, answer: str, target: str, value: float) -> None:
    score = await scored(name, answer, target)
    assert next(iter(score.figures.values())) == value


async def test_rouge_is_that_of_the_package_on_english(scored: Any) -> None:
    from rouge_score.rouge_scorer import RougeScorer

    answer, target = "the cat sat on the mat today", "the cat lay on a mat"
    theirs = RougeScorer(["rouge1", "rouge2", "rougeL"]).score(target, answer)
    ours = (await scored("rouge", answer, target)).figures
    assert ours == {
        "rouge_1": theirs["rouge1"].fmeasure,
        "rouge_2": theirs["rouge2"].fmeasure,
        "rouge_l": theirs["rougeL"].fmeasure,
    }


async def test_rouge_reads_arabic_words_and_not_their_vowels(scored: Any) -> None:
    score = await scored("rouge", "ذَهَبَ الطبيب إلى المدينة", "ذهب الطبيب الى القرية")
    assert score.figures["rouge_1"] == pytest.approx(3 / 4)
    assert score.figures["rouge_l"] == pytest.approx(3 / 4)
    assert score.figures["rouge_2"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("texts", "need", "value"), [(("red", "blue"), "all", 0.0), (("red", "blue"), "any", 1.0), (("red",), "all", 1.0)]
)
async def test_contains_takes_texts_of_its_own(scored: Any, texts: tuple[str, ...], need: str, value: float) -> None:
    assert (await scored("contains", "a red house", None, texts=texts, need=need)).figures == {"contains": value}


@pytest.mark.parametrize(
    ("answer", "whole", "value"), [("call 12 now", False, 1.0), ("call 12 now", True, 0.0), ("12", True, 1.0)]
)
async def test_a_pattern_is_found_or_is_all_of_it(scored: Any, answer: str, whole: bool, value: float) -> None:
    score = await scored("regex", answer, "x", pattern=r"\d+", whole=whole, name="number")
    assert score.figures == {"number": value}


async def test_a_pattern_that_looks_for_ever_leaves_its_item_unscored(scored: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("evals.scorers.texts._SLOW", 0.02)
    score = await scored("regex", "a" * 40 + "!", "x", pattern="(a|a)*$")
    assert score.figures == {}
    assert "still looking" in score.unscored["regex"]


@pytest.mark.parametrize("answer", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("name", TEXTS)
async def test_no_answer_breaks_a_scorer_of_texts(scored: Any, name: str, answer: str) -> None:
    score = await scored(name, answer, "yes")
    assert score.unscored == {}
    assert all(0.0 <= value <= 1.0 for value in score.figures.values())


@pytest.mark.parametrize("name", ["exact", "normalised", "f1", "rouge", "chrf", "bleu", "contains"])
@pytest.mark.parametrize("target", ["", " \u200f", None, {"tool_calls": []}])
def test_a_target_that_is_no_text_is_told_before_anything_is_asked(name: str, target: Any) -> None:
    scorer, _ = SCORERS.read(name, "scorers.0")
    (problem,) = scorer.problems(Sample(key="k", id="i", messages=(), target=target))  # type: ignore[union-attr]
    assert problem.place == "target"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"type": "regex", "pattern": "("}, "no regular expression"),
        ({"type": "normalised", "normaliser": "light-9"}, "one of light-1"),
        ({"type": "regex"}, "is missing"),
    ],
)
def test_settings_that_cannot_be_are_told_with_their_place(settings: dict[str, Any], said: str) -> None:
    _, (problem,) = SCORERS.read(settings, "scorers.2")
    assert problem.place.startswith("scorers.2")
    assert said in f"{problem.fault} {problem.cure}"


async def test_nearer_is_which_of_two_answers_it_is_nearer_to(scored: Any) -> None:
    meta = {"rejected": "go away"}
    assert (await scored("nearer", "please come in", "please come", meta=meta)).figures == {"nearer": 1.0}
    assert (await scored("nearer", "go away now", "please come", meta=meta)).figures == {"nearer": 0.0}
    assert (await scored("nearer", "###", "please come", meta=meta)).figures == {"nearer": 0.5}
