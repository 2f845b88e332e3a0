"""Why an answer is wrong: the retriever missed the passage, or the model missed what stood before it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from evals.sample import Sample
from evals.scorers.knowledge import GoldScorer
from evals.scorers.scorer import Figure, Kind, Score, Scorer, ScoringContext
from evals.scorers.table import SCORERS
from evals.solvers.solver import Attempt
from lifecycle.errors import Problem
from lifecycle.plugins import code_of

_TABLE = "where answers go wrong"


class Missed(GoldScorer):
    """`retriever_missed`: the answer is wrong, and a right passage did not stand before the version. `model_missed`: it
    is wrong though all of them did. Together they are the share that is wrong; of answers without retrieval, and of
    samples with no right passage, there is neither. A table counts right answers too, which may come by luck.
    """

    type: Literal["missed"] = "missed"
    answer: Any
    """The scorer that says whether an answer is right: a name, or a mapping with `type`."""
    figure: str | None = None
    """Which of its figures; without it, the first."""
    at_least: float = Field(default=1.0, gt=0.0, le=1.0)
    """The figure of a right answer."""
    need: Literal["all", "any"] = "all"
    """How many of the right passages an answer takes."""

    @model_validator(mode="after")
    def _answer_is_scored(self) -> Self:
        scorer, problems = SCORERS.read(self.answer, "answer")
        if scorer is None:
            raise ValueError("; ".join(map(str, problems)))
        graded = [figure for figure in scorer.figures() if figure.kind is not Kind.STATISTIC]
        if self.figure is not None and self.figure not in {figure.name for figure in graded}:
            raise ValueError(f"{scorer.type} gives no figure {self.figure}")
        return self

    @cached_property
    def _scorer(self) -> Scorer:
        scorer, _ = SCORERS.read(self.answer, "answer")
        assert scorer is not None, "looked at when this was made"
        return scorer

    def figures(self) -> tuple[Figure, ...]:
        return (
            Figure(name="retriever_missed", higher_is_better=False),
            Figure(name="model_missed", higher_is_better=False),
        )

    def settled(self, samples: Sequence[Sample]) -> Self:
        return self.model_copy(update={"answer": self._scorer.settled(samples).model_dump(mode="json", by_alias=True)})

    def problems(self, sample: Sample) -> list[Problem]:
        return [*super().problems(sample), *self._scorer.problems(sample)]

    def described(self) -> Any:
        code = code_of(type(self._scorer))
        return [super().described(), self._scorer.described(), *([code] if code else [])]

    async def score(self, sample: Sample, attempt: Attempt, context: ScoringContext) -> Score:
        right, before = self.right(sample), attempt.passages
        if not right or not (context.retrieves or before):
            return Score()
        given = await self._scorer.score(sample, attempt, context)
        name = self.figure or next(figure.name for figure in self._scorer.figures())
        if name not in given.figures:
            reason = given.unscored.get(name, f"the answer got no {name}")
            return Score(unscored={figure.name: reason for figure in self.figures()})
        wrong = given.figures[name] < self.at_least
        there = [passage in before for passage in right]
        stood = all(there) if self.need == "all" else any(there)
        figures = {"retriever_missed": float(wrong and not stood), "model_missed": float(wrong and stood)}
        cell = ("passage there" if stood else "passage not there", "wrong" if wrong else "right")
        return Score(figures, cells={_TABLE: cell})
