"""Figures that only all answers together have: BLEU as sacrebleu has it, macro-F1 with its confusion table."""

from __future__ import annotations

import random
from typing import Any

import pytest
from sacrebleu.metrics.bleu import BLEU
from sklearn.metrics import f1_score

from evals.sample import Sample
from evals.scorers.labels import Label
from evals.scorers.overlap import Bleu
from evals.scorers.scorer import Score, ScoringContext
from evals.solvers.solver import Attempt
from evals.statistics.jackknife import statistic
from lifecycle.errors import InvalidInput


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


def test_an_interval_of_a_statistic_counts_clusters_as_one() -> None:
    share = lambda totals: float(totals[0] / totals[1])  # noqa: E731
    draw = random.Random(5)
    rows = [(float(draw.random() < 0.7), 1.0) for _ in range(200)]
    alone = statistic(rows, share)
    assert alone.value == pytest.approx(sum(hit for hit, _ in rows) / 200)
    assert 0.03 < alone.high - alone.value < 0.08
    doubled = statistic([row for row in rows for _ in range(4)], share, [at for at in range(200) for _ in range(4)])
    assert (doubled.low, doubled.high) == (pytest.approx(alone.low), pytest.approx(alone.high))
    assert (doubled.n, doubled.clusters) == (800, 200)
    many = statistic(rows * 10, share)
    assert many.high - many.low < (alone.high - alone.low) / 2
    with pytest.raises(InvalidInput, match="no items"):
        statistic([], share)


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
