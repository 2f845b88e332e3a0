"""Pairs of questions that are to be answered alike: a version is asked both, and its two answers are compared.

A pair is one sample. Those that begin with the same question are one cluster, so that a question with many changes
counts once in every interval.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from evals.asking.asker import Asker
from evals.asking.together import together
from evals.safety.refusing import refused
from evals.sample import Sample, Turn
from evals.scorers.scorer import Figure, Kind, Score, Scorer, ScoringContext
from evals.scorers.table import SCORERS
from evals.solvers.chat import Chat, text_alone
from evals.solvers.solver import Attempt
from lifecycle.errors import Problem
from lifecycle.text import scores
from lifecycle.text.normaliser import DEFAULT
from lifecycle.version import Frozen, digest_of


class Changed(Frozen):
    """The other question of a pair, in a sample's metadata under `CHANGED`."""

    messages: tuple[Turn, ...]
    target: Any = None
    """What would be right there, where it is another than the sample's."""
    swapped: dict[str, str] = Field(default_factory=dict)
    """Word of this question → what stood in its place in the first, so that answers which say it are still alike."""
    choices: tuple[tuple[str, ...], ...] = ()
    """Answers to choose from, each by its words in any language: (("yes", "نعم"), ("no", "لا"))."""


CHANGED = "changed"


def pair(first: Sample, changed: Changed, change: str, **slices: str) -> Sample:
    """`change` is the kind of change, by which the report parts the pairs."""
    return replace(
        first,
        id=f"{first.id}/{change}",
        metadata={**first.metadata, "origin": first.id, "change": change, CHANGED: changed.model_dump(mode="json")},
        cluster=first.cluster or first.id,
        slices={**first.slices, "change": change, **slices},
    )


class Pairs(Chat):
    """Asks the sample's question and the changed one. The first is asked once for all of its changes."""

    type: Literal["pairs"] = "pairs"  # type: ignore[assignment]

    def requests(self, sample: Sample) -> int:
        return 2

    def problems(self, sample: Sample) -> list[Problem]:
        if CHANGED in sample.metadata:
            return []
        return [Problem(f"metadata.{CHANGED}", "is missing", "the other question of the pair")]

    async def solve(self, sample: Sample, asker: Asker) -> Attempt:
        other = _of(sample)
        origin = digest_of(["pair", sample.metadata["origin"], list(sample.messages)])
        first = replace(sample, key=origin)
        second = replace(sample, messages=other.messages)
        if asker.classifies:
            asked = [(digest_of([each.key, 1]), text_alone(each)) for each in (first, second)]
            answers = await together([asker.classify(item, text) for item, text in asked])
        else:
            answers = await together([self.ask(each, asker, each.messages, 1) for each in (first, second)])
        return Attempt.of(*answers)


class Alike(Scorer):
    """`alike`: the two answers say the same. `likeness`: chrF of one against the other. `refused_alike`: both refuse,
    or neither. With `answer`, a scorer that says how right each is: `score_first`, `score_changed`, and `change`, their
    difference, from -1 to 1.
    """

    type: Literal["alike"] = "alike"
    answer: Any = None
    """A scorer by its name, or a mapping with `type`."""
    figure: str | None = None
    """Which of its figures; without it, the first."""
    fields: tuple[str, ...] = ()
    """Of JSON answers: only these are compared, and a value that is another, or missing in one, is not alike."""

    @model_validator(mode="after")
    def _answer_is_scored(self) -> Self:
        if self.answer is not None:
            scorer, problems = SCORERS.read(self.answer, "answer")
            if scorer is None:
                raise ValueError("; ".join(map(str, problems)))
            if self.figure is not None and self.figure not in {figure.name for figure in scorer.figures()}:
                raise ValueError(f"{scorer.type} gives no figure {self.figure}")
        return self

    @cached_property
    def _scorer(self) -> Scorer | None:
        return SCORERS.read(self.answer, "answer")[0] if self.answer is not None else None

    def settled(self, samples: Sequence[Sample]) -> Self:
        if self._scorer is None:
            return self
        settled = self._scorer.settled(samples).model_dump(mode="json", by_alias=True)
        return self.model_copy(update={"answer": settled})

    def figures(self) -> tuple[Figure, ...]:
        own = (Figure(name="alike"), Figure(name="likeness", kind=Kind.MEAN), Figure(name="refused_alike"))
        if self._scorer is None:
            return own
        graded = (Figure(name=name, kind=Kind.MEAN) for name in ("score_first", "score_changed"))
        return (*own, *graded, Figure(name="change", kind=Kind.DIFFERENCE))

    def problems(self, sample: Sample) -> list[Problem]:
        if self._scorer is None:
            return []
        return [*self._scorer.problems(sample), *self._scorer.problems(_changed(sample))]

    async def score(self, sample: Sample, attempt: Attempt, context: ScoringContext) -> Score:
        other = _of(sample)
        first, second = (answer.text for answer in attempt.answers)
        back = _swapped_back(second, other.swapped)
        figures = {
            "alike": float(same(first, back, other.choices, self.fields)),
            "likeness": scores.chrf(back, first) if first.strip() and back.strip() else float(first == back),
            "refused_alike": float((refused(first) is None) == (refused(second) is None)),
        }
        why = f"the first question was answered: {first}"[:500]
        if self._scorer is None:
            return Score(figures, explanation=why)
        graded: list[float | None] = []
        unscored: dict[str, str] = {}
        for each, answer in ((sample, attempt.answers[0]), (_changed(sample), attempt.answers[1])):
            said = await self._scorer.score(each, Attempt.of(answer), context)
            name = self.figure or self._scorer.figures()[0].name
            graded.append(said.figures.get(name))
            unscored |= said.unscored
        before, after = graded
        if before is None or after is None:
            reason = next(iter(unscored.values()), "one of the two answers has no score")
            return Score(figures, dict.fromkeys(("score_first", "score_changed", "change"), reason), why)
        return Score({**figures, "score_first": before, "score_changed": after, "change": after - before}, {}, why)

    async def failed(self, sample: Sample, attempt: Attempt) -> Score:
        return Score({"alike": 0.0})


def same(first: str, second: str, choices: Sequence[Sequence[str]] = (), fields: Sequence[str] = ()) -> bool:
    """Whether two answers say the same: the same choice where both choose, the same fields of JSON, the same value of
    it, or the same text to a reader."""
    if choices:
        chosen = [choice_of(answer, choices) for answer in (first, second)]
        if chosen != [None, None]:
            return chosen[0] == chosen[1]
    one, two = scores.parse_object(first), scores.parse_object(second)
    if fields:
        return one is not None and two is not None and all(_field(one, two, name) for name in fields)
    if one is not None and two is not None:
        return one.keys() == two.keys() and all(_value(one[key], two[key]) for key in one)
    return DEFAULT.same(first, second)


def choice_of(answer: str, choices: Sequence[Sequence[str]]) -> int | None:
    """The place of the choice that is named first in the answer."""
    said = f" {DEFAULT.normal(answer)} "
    named = {
        at: said.find(f" {DEFAULT.normal(word)} ")
        for at, words in enumerate(choices)
        for word in words
        if f" {DEFAULT.normal(word)} " in said
    }
    return min(named, key=lambda at: named[at]) if named else None


def _field(one: dict[str, Any], two: dict[str, Any], name: str) -> bool:
    return name in one and name in two and _value(one[name], two[name])


def _value(one: Any, two: Any) -> bool:
    return DEFAULT.same(one, two) if isinstance(one, str) and isinstance(two, str) else scores.equal(one, two)


def _swapped_back(answer: str, swapped: dict[str, str]) -> str:
    for word, first in swapped.items():
        answer = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", lambda _, first=first: first, answer)  # type: ignore[misc]
    return answer


def _changed(sample: Sample) -> Sample:
    """The other question, as a sample that a scorer reads."""
    other = _of(sample)
    return replace(sample, messages=other.messages, target=sample.target if other.target is None else other.target)


def _of(sample: Sample) -> Changed:
    return Changed.model_validate(sample.metadata[CHANGED])
