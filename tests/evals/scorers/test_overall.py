"""Figures that only all answers together have: BLEU as sacrebleu has it, macro-F1 with its confusion table."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU
from sklearn.metrics import f1_score

from evals.sample import Sample
from evals.scorers.labels import Label
from evals.scorers.overlap import Bleu, bleu_of
from evals.scorers.scorer import Score, ScoringContext
from evals.solvers.solver import Attempt
from lifecycle.report import Interval


def sample(at: int, target: str) -> Sample:
    return Sample(key=f"k{at}", id=f"i{at}", messages=(), target=target)


async def test_bleu_of_all_is_sacrebleus_and_not_a_mean() -> None:
    words, draw = (
        ["the", "a", "cat", "dog", "sat", "on", "mat", "in", "house", "الطبيب", "في", "المدينة"],
        random.Random(3),
    )
    targets = [" ".join(draw.choices(words, k=12)) for _ in range(40)]
    answers = [" ".join(w if draw.random() < 0.8 else draw.choice(words) for w in text.split()) for text in targets]
    samples = [sample(at, target) for at, target in enumerate(targets)]
    scorer = Bleu()
    scores = [
        await scorer.score(one, Attempt((), text), ScoringContext()) for one, text in zip(samples, answers, strict=True)
    ]
    figure = scorer.overall(samples, scores, None)["bleu"]
    assert figure.value == pytest.approx(BLEU(tokenize="intl").corpus_score(answers, [targets]).score / 100)
    assert figure.low < figure.value < figure.high
    assert figure.n == 40
    failed = await scorer.failed(samples[0], Attempt((), ""))
    assert scorer.overall(samples, [failed, *scores[1:]], None)["bleu"].value < figure.value


async def test_macro_f1_is_scikit_learns_and_the_table_says_what_was_said() -> None:
    right, said = ["a", "a", "b", "b", "c"], ["a", "b", "b", "none of them", "c"]
    samples = [sample(at, target) for at, target in enumerate(right)]
    scorer = Label().settled(samples)
    assert scorer.labels == ("a", "b", "c")
    scores = [
        await scorer.score(one, Attempt((), text), ScoringContext()) for one, text in zip(samples, said, strict=True)
    ]
    wanted = f1_score(right, said, labels=["a", "b", "c"], average="macro", zero_division=0)
    assert scorer.overall(samples, scores, None)["macro_f1"].value == pytest.approx(wanted)
    assert [score.cells["confusion"] for score in scores] == [("a", "a"), ("a", "b"), ("b", "b"), ("b", ""), ("c", "c")]
    assert [score.figures["accuracy"] for score in scores] == [1, 0, 1, 0, 1]
    assert [score.figures["labelled"] for score in scores] == [1, 1, 1, 0, 1]
    assert (await scorer.failed(samples[0], Attempt((), "a"))).cells == {"confusion": ("a", "")}


def test_bleu_of_any_sums_is_sacrebleus() -> None:
    draw = np.random.default_rng(4)
    given = draw.integers(0, 40, (400, 4))
    common = np.minimum(draw.integers(0, 25, (400, 4)) * draw.integers(0, 2, (400, 4)), given)
    lengths = draw.integers(0, 60, (400, 2))
    sums = np.hstack([common, given, lengths]).astype(float)
    wanted = [
        BLEU.compute_bleu(list(row[:4]), list(row[4:8]), row[8], row[9], smooth_method="exp").score / 100
        for row in sums.astype(int).tolist()
    ]
    assert min(map(bool, wanted)) < max(map(bool, wanted))
    assert bleu_of(sums) == pytest.approx(wanted)


def test_a_few_long_texts_count_as_the_few_that_they_are() -> None:
    """Forty short texts, and beside them one that is as long as all of them: twice the words, and less sure."""

    def figure(lengths: list[int]) -> Interval:
        draw = random.Random(6)
        counts = []
        for length in lengths:
            right = sum(draw.random() < 0.8 for _ in range(length))
            counts.append((*[right] * 4, *[length] * 4, length, length))
        return Bleu().overall([sample(0, "")] * len(counts), [Score(counts=row) for row in counts], None)["bleu"]

    even, one_long = figure([12] * 40), figure([12] * 40 + [480])
    assert one_long.high - one_long.low > 1.3 * (even.high - even.low)


def test_a_score_of_nothing_is_empty() -> None:
    assert (Score().figures, Score().unscored) == ({}, {})


async def test_a_label_in_a_field_of_a_json_answer_has_figures_of_the_fields_name(scored: Any) -> None:
    target, labels = '{"urgency": "soon", "reply": "Hello"}', ["soon", "routine"]
    for answer, figures, said in (
        ('{"urgency": "Soon."}', (1.0, 1.0), "soon"),
        ('{"urgency": "routine"}', (0.0, 1.0), "routine"),
        ('{"urgency": 3}', (0.0, 0.0), ""),
        ("soon", (0.0, 0.0), ""),
    ):
        score = await scored("label", answer, target, labels=labels, field="urgency")
        assert score.figures == dict(zip(("urgency_accuracy", "urgency_labelled"), figures, strict=True))
        assert score.cells == {"confusion: urgency": ("soon", said)}


def test_the_digest_of_a_suite_with_whole_labels_is_what_it_was() -> None:
    settings = {"type": "label", "labels": ["a"], "normaliser": "light-1"}
    assert Label(labels=("a",)).described() == {"settings": settings, "version": 1}
