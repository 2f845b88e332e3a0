"""Answers as texts: the same, the same to a reader, words in common, a part of it, a pattern in it."""

from __future__ import annotations

from typing import Annotated, Literal

import regex
from pydantic import AfterValidator, Field

from evals.sample import Sample
from evals.scorers.scorer import Figure, Kind, Score, Scorer, ScoringContext
from evals.solvers.solver import Attempt
from lifecycle.errors import InvalidConfig, Problem
from lifecycle.text import scores
from lifecycle.text.letters import visible
from lifecycle.text.normaliser import DEFAULT, Normaliser, normaliser

_SLOW = 1.0
"""Seconds that a pattern may look at one answer."""


def text_problems(sample: Sample) -> list[Problem]:
    """Why the target is no text to compare with."""
    if isinstance(sample.target, str) and visible(sample.target).strip():
        return []
    return [Problem("target", "it is empty, or no text", "a text, or another scorer")]


def _known(name: str) -> str:
    try:
        return normaliser(name).name
    except InvalidConfig as error:
        raise ValueError(f"{error.problems[0].fault}: {error.problems[0].cure}") from error


NormaliserName = Annotated[str, AfterValidator(_known)]


class TextScorer(Scorer):
    """One figure by comparing the answer with a target that is a text."""

    def problems(self, sample: Sample) -> list[Problem]:
        return text_problems(sample)


class Exact(TextScorer):
    """`exact`: letter by letter, but for white space at both ends."""

    type: Literal["exact"] = "exact"

    def figures(self) -> tuple[Figure, ...]:
        return (Figure(name="exact"),)

    def while_asking(self) -> bool:
        return True

    async def score(self, sample: Sample, attempt: Attempt, context: ScoringContext) -> Score:
        return Score({"exact": float(attempt.text.strip() == sample.target.strip())})


class Normalised(TextScorer):
    """`normalised`: a reader would take both for the same (`lifecycle/text/normaliser.py`)."""

    type: Literal["normalised"] = "normalised"
    normaliser: NormaliserName = DEFAULT.name

    @property
    def rule(self) -> Normaliser:
        return normaliser(self.normaliser)

    def figures(self) -> tuple[Figure, ...]:
        return (Figure(name="normalised"),)

    def while_asking(self) -> bool:
        return True

    async def score(self, sample: Sample, attempt: Attempt, context: ScoringContext) -> Score:
        return Score({"normalised": scores.exact_match(attempt.text, sample.target, self.rule)})


class TokenF1(Normalised):
    """`token_f1`: words in common after normalisation (SQuAD, arXiv 1606.05250)."""

    type: Literal["f1"] = "f1"  # type: ignore[assignment]

    def figures(self) -> tuple[Figure, ...]:
        return (Figure(name="token_f1", kind=Kind.MEAN),)

    async def score(self, sample: Sample, attempt: Attempt, context: ScoringContext) -> Score:
        return Score({"token_f1": scores.token_f1(attempt.text, sample.target, self.rule)})


class Contains(Scorer):
    """`contains`: the answer says the target, or all (or any) of `texts`, word for word after normalisation."""

    type: Literal["contains"] = "contains"
    texts: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """In place of the target."""
    need: Literal["all", "any"] = "all"
    normaliser: NormaliserName = DEFAULT.name

    def figures(self) -> tuple[Figure, ...]:
        return (Figure(name="contains"),)

    def problems(self, sample: Sample) -> list[Problem]:
        return [] if self.texts else text_problems(sample)

    def while_asking(self) -> bool:
        return True

    async def score(self, sample: Sample, attempt: Attempt, context: ScoringContext) -> Score:
        rule = normaliser(self.normaliser)
        said = f" {rule.normal(attempt.text)} "
        there = [f" {rule.normal(text)} " in said for text in self.texts or (sample.target,)]
        return Score({"contains": float(all(there) if self.need == "all" else any(there))})


def _pattern(text: str) -> str:
    try:
        regex.compile(text)
    except regex.error as error:
        raise ValueError(f"is no regular expression: {error}") from error
    return text


class Pattern(Scorer):
    """`regex`, or `name`: the pattern is found in the answer, or with `whole` is all of it."""

    type: Literal["regex"] = "regex"
    pattern: Annotated[str, Field(min_length=1), AfterValidator(_pattern)]
    whole: bool = False
    name: str = Field(default="regex", pattern=r"^[a-z][a-z0-9_]*$")

    def figures(self) -> tuple[Figure, ...]:
        return (Figure(name=self.name),)

    async def score(self, sample: Sample, attempt: Attempt, context: ScoringContext) -> Score:
        look = regex.fullmatch if self.whole else regex.search
        try:
            found = look(self.pattern, attempt.text, timeout=_SLOW)
        except TimeoutError:
            return Score(unscored={self.name: f"the pattern was still looking after {_SLOW:g} s"})
        return Score({self.name: float(found is not None)}, said=found.group() if found else None)
