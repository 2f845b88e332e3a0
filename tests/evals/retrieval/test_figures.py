"""Recall, precision, MRR and nDCG: equal to trec_eval's, by hand and on random runs."""

from __future__ import annotations

import random

import pytest
import pytrec_eval

from evals.retrieval import figures
from evals.retrieval.gold import gold_of, gold_problems
from lifecycle.errors import InvalidInput

CUTS = (1, 3, 5, 10)


def test_figures_equal_pytrec_eval_on_random_runs():
    draw = random.Random(12)
    names = [f"h{number:02}" for number in range(40)]
    gold: dict[str, dict[str, int]] = {}
    ranked: dict[str, list[str]] = {}
    for query in range(200):
        key = f"q{query}"
        gold[key] = {name: draw.randint(1, 3) for name in draw.sample(names, draw.randint(1, 12))}
        ranked[key] = draw.sample(names, draw.randint(1, 30))
    measures = {f"{name}.{','.join(map(str, CUTS))}" for name in ("recall", "P", "ndcg_cut")} | {"recip_rank"}
    runs = {key: {name: float(-place) for place, name in enumerate(row)} for key, row in ranked.items()}
    theirs = pytrec_eval.RelevanceEvaluator(gold, measures).evaluate(runs)
    for key, row in ranked.items():
        right = gold[key]
        assert figures.reciprocal_rank(row, right) == pytest.approx(theirs[key]["recip_rank"], abs=1e-12)
        for k in CUTS:
            assert figures.recall(row, right, k) == pytest.approx(theirs[key][f"recall_{k}"], abs=1e-12)
            assert figures.precision(row, right, k) == pytest.approx(theirs[key][f"P_{k}"], abs=1e-12)
            assert figures.ndcg(row, right, k) == pytest.approx(theirs[key][f"ndcg_cut_{k}"], abs=1e-12)


def test_a_right_passage_that_is_found_twice_counts_once():
    assert figures.ndcg(["h1", "h1"], ["h1"], 10) == 1.0
    assert figures.recall(["h1", "h1"], ["h1", "h2"], 2) == 0.5
    assert figures.precision(["h1", "h1", "h2"], ["h1", "h2"], 2) == 1.0, "the second place is h2's"
    assert figures.reciprocal_rank(["h3", "h3", "h1"], ["h1"]) == 0.5


def test_a_label_that_names_a_passage_twice_names_one():
    assert figures.recall(["h1"], ["h1", "h1"], 1) == figures.ndcg(["h1"], ["h1", "h1"], 3) == 1.0
    assert gold_of({"passages": ["h1", "h1", "h2"]}) == ("h1", "h2")


@pytest.mark.parametrize(
    ("k", "recall", "precision", "mrr"),
    [(1, 0.0, 0.0, 0.0), (2, 0.5, 0.5, 0.5), (3, 0.5, 1 / 3, 0.5), (9, 1.0, 2 / 9, 0.5)],
)
def test_the_kth_place_is_in_and_the_next_one_is_not(k, recall, precision, mrr):
    ranked, gold = ["x", "h1", "y", "h2"], ["h1", "h2"]
    assert figures.recall(ranked, gold, k) == recall
    assert figures.precision(ranked, gold, k) == precision
    assert figures.reciprocal_rank(ranked, gold, k) == mrr


def test_nothing_found_is_zero_and_nothing_to_find_is_no_figure():
    for measure in (figures.recall, figures.precision, figures.reciprocal_rank, figures.ndcg):
        assert measure([], ["h1"], 3) == 0.0
        with pytest.raises(InvalidInput, match="no passage is right"):
            measure(["h1"], [], 3)
        with pytest.raises(InvalidInput, match="1 or more"):
            measure(["h1"], ["h1"], 0)


@pytest.mark.parametrize("worth", [0.0, -1.0, float("nan"), float("inf")])
def test_a_worth_that_is_no_number_above_zero_is_refused(worth):
    with pytest.raises(InvalidInput, match="above 0"):
        figures.ndcg(["h1"], {"h1": worth}, 1)


def test_a_label_may_be_a_list_a_text_or_nothing():
    assert gold_of({"passage": "h07"}, "passage") == ("h07",)
    assert gold_of({"passages": []}) == gold_of({"passages": "none"}) == gold_of({"passages": ""}) == ()
    assert not gold_problems({"passages": []})


@pytest.mark.parametrize("metadata", [{}, {"passages": None}, {"passages": 7}, {"passages": [7]}, {"passages": {}}])
def test_a_missing_label_is_no_word_that_there_is_nothing_to_find(metadata):
    (problem,) = gold_problems(metadata)
    assert problem.place == "metadata.passages"
