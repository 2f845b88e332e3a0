"""A judge says whether the passages support the answer: the rubric of `rubric.py`, with the passages beside it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from evals.judging.rubric import Rubric
from evals.sample import Sample
from evals.scorers.scorer import Figure, Kind, Score, ScoringContext
from evals.solvers.solver import Attempt


class Grounded(Rubric):
    """`grounded`: the share of the questions that the judge answers with yes, and one figure for each question. Of an
    answer that had no passages there is none."""

    type: Literal["grounded"] = "grounded"  # type: ignore[assignment]
    questions: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], str] = Field(
        default={"supported": "Do the passages support everything that the answer says?"}, min_length=1
    )

    def figures(self) -> tuple[Figure, ...]:
        return (Figure(name="grounded", kind=Kind.MEAN), *(Figure(name=name) for name in self.questions))

    def beside(self, sample: Sample, attempt: Attempt) -> str:
        lines = "\n".join(f"[{name}] {text}" for name, text in attempt.passages.items())
        return f"\n<passages>\n{lines}\n</passages>\n{super().beside(sample, attempt)}"

    async def score(self, sample: Sample, attempt: Attempt, context: ScoringContext) -> Score:
        if not attempt.passages:
            return Score()
        given = await super().score(sample, attempt, context)
        if "rubric" not in given.figures:
            return given
        figures = {name: value for name, value in given.figures.items() if name != "rubric"}
        return Score({"grounded": given.figures["rubric"], **figures})
