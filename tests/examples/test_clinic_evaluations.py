"""The clinic's evaluations: what their scorers say of answers that are as the targets, and of a wrong one."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from evals.asking.answers import Answer
from evals.config import EvalConfig
from evals.scorers.scorer import ScoringContext
from evals.scorers.scoring import score
from evals.solvers.solver import Attempt
from evals.tasks.loading import load_suite
from lifecycle.version import digest_of

EVALS = Path(__file__).parents[2] / "examples/clinic/evals"
MISSED = {"retriever_missed", "model_missed"}
ADDED = {
    "triage": {"department_accuracy", "department_labelled", "urgency_accuracy", "urgency_labelled"},
    "handbook": {"citation_precision", "citation_recall", "citation_given", "answers", "abstains", "faithful", *MISSED},
    "digest": {"summary_rouge_l", "english_rouge_l", "text_rouge_l"},
}


def attempt(text: str, passage: str) -> Attempt:
    """With a passage before it that says what the answer says."""
    passages = {"passages": (passage,), "texts": (text,)} if passage not in ("", "none") else {}
    told = {"key": digest_of(text), "version": "v", "item": "i", "latency": 0.1, "concurrency": 1}
    return Attempt.of(Answer.model_validate({**told, "text": text, "at": datetime.now(UTC), **passages}))


@pytest.mark.parametrize("task", ADDED)
async def test_a_right_answer_has_the_best_of_each_figure(task: str, tmp_path: Path) -> None:
    suite = load_suite(EvalConfig.load(EVALS / f"{task}.yaml"), tmp_path)
    seen: set[str] = set()
    for sample in suite.samples:
        right = attempt(sample.target, str(sample.metadata.get("passage", "")))
        made = await score(suite.scorers, sample, right, ScoringContext(retrieves=task == "handbook"))
        assert made.unscored == {}
        assert made.figures[suite.metric] == 1.0
        assert all(value == (name not in MISSED) for name, value in made.figures.items()), sample.id
        seen |= made.figures.keys()
    assert seen >= ADDED[task]


async def test_a_wrong_answer_of_the_handbook_is_the_retrievers_fault_or_the_models(tmp_path: Path) -> None:
    suite = load_suite(EvalConfig.load(EVALS / "handbook.yaml"), tmp_path)
    sample = next(sample for sample in suite.samples if sample.metadata["answerable"])
    wrong = '{"answer": "at night", "source": "h00"}'
    for passage, missed in ((sample.metadata["passage"], "model_missed"), ("h00", "retriever_missed")):
        made = await score(suite.scorers, sample, attempt(wrong, passage), ScoringContext(retrieves=True))
        assert {name for name in MISSED if made.figures[name]} == {missed}
        assert made.figures["answer_exact"] == 0.0
