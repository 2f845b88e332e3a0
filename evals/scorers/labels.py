"""Answers that are one label of a few: accuracy, macro-F1 over all items, and the confusion table."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Literal, Self

from evals.sample import Sample
from evals.scorers.scorer import Figure, Kind, Score, Scorer, ScoringContext
from evals.scorers.texts import NormaliserName
from evals.solvers.solver import Attempt
from evals.statistics.labels import macro_f1
from lifecycle.errors import Problem
from lifecycle.report import Interval
from lifecycle.text.normaliser import DEFAULT, normaliser
from lifecycle.text.scores import label_of

_TABLE = "confusion"


class Label(Scorer):
    """`accuracy`: the whole answer is the right label; `labelled`: it is any label; `macro_f1` of all items."""

    type: Literal["label"] = "label"
    labels: tuple[str, ...] = ()
    """What an answer may be. Without it, what the targets are."""
    normaliser: NormaliserName = DEFAULT.name

    def settled(self, samples: Sequence[Sample]) -> Self:
        if self.labels:
            return self
        return self.model_copy(update={"labels": tuple(sorted({sample.shown_target for sample in samples}))})

    def figures(self) -> tuple[Figure, ...]:
        return (Figure(name="accuracy"), Figure(name="labelled"), Figure(name="macro_f1", kind=Kind.STATISTIC))

    def problems(self, sample: Sample) -> list[Problem]:
        if self._label(sample.shown_target) is None:
            return [
                Problem("target", f"{sample.target!r:.80} is none of {', '.join(self.labels)}", "one of the labels")
            ]
        return []

    async def score(self, sample: Sample, attempt: Attempt, context: ScoringContext) -> Score:
        right, said = self._label(sample.shown_target), self._label(attempt.text)
        figures = {"accuracy": float(said == right), "labelled": float(said is not None)}
        return Score(figures, cells={_TABLE: (str(right), said or "")}, said=said)

    async def failed(self, sample: Sample, attempt: Attempt) -> Score:
        right = str(self._label(sample.shown_target))
        return Score({"accuracy": 0.0, "labelled": 0.0}, cells={_TABLE: (right, "")})

    def overall(
        self, samples: Sequence[Sample], scores: Sequence[Score], clusters: Sequence[Hashable] | None
    ) -> dict[str, Interval]:
        right, said = zip(*(score.cells[_TABLE] for score in scores), strict=True)
        return {"macro_f1": macro_f1([label or None for label in said], right, self.labels, clusters)}

    def _label(self, text: str) -> str | None:
        return label_of(text, self.labels, normaliser(self.normaliser))
