"""Answers of versions with knowledge, against the passages that are right: what is cited, and when nothing is said.

The labels are those of `evals/retrieval/gold.py`: a field of `meta`. Read `missed.py` and `faithfulness.py` next.
"""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field

from evals.retrieval.gold import FIELD, gold_of, gold_problems
from evals.sample import Sample
from evals.scorers.scorer import Figure, Kind, Score, Scorer, ScoringContext
from evals.scorers.texts import NormaliserName
from evals.solvers.solver import Attempt
from lifecycle.errors import Problem
from lifecycle.text.letters import visible
from lifecycle.text.normaliser import DEFAULT, normaliser
from lifecycle.text.scores import parse_object, spoken_text

PHRASES = {
    "abstention-1": (
        "I do not know", "I don't know", "I cannot answer", "I can't answer", "I could not find", "I couldn't find",
        "cannot be answered", "not enough information", "no information about", "no information on",
        "do not have information", "don't have information", "the passages do not say", "the passages do not mention",
        "لا أعرف", "لا أعلم", "لست أعرف", "لا يمكنني الإجابة", "لا أستطيع الإجابة", "لم أجد", "لا توجد معلومات",
        "لا تتوفر معلومات", "ليس لدي معلومات", "لا تذكر المقاطع", "لا يوجد في المقاطع",
    ),
}  # fmt: skip
"""Words by which an answer says that it gives none. A list that is changed gets another name."""
_BRACKETS = re.compile(r"\[([^\[\]]{1,400})\](?!\()")
_BETWEEN = re.compile(r"[\s,;،؛\[\]]+")


class GoldScorer(Scorer):
    """Scores by the labels of passages that are right."""

    gold: str = FIELD
    """The field of `meta` that has their ids."""

    def problems(self, sample: Sample) -> list[Problem]:
        return gold_problems(sample.metadata, self.gold)

    def bearing(self, sample: Sample) -> frozenset[str]:
        """The figures that an answer to this sample may get."""
        return frozenset(figure.name for figure in self.figures()) if self.right(sample) else frozenset()

    def right(self, sample: Sample) -> tuple[str, ...]:
        return gold_of(sample.metadata, self.gold)

    async def failed(self, sample: Sample, attempt: Attempt) -> Score:
        given, bearing = await super().failed(sample, attempt), self.bearing(sample)
        return Score(
            {name: value for name, value in given.figures.items() if name in bearing},
            {name: reason for name, reason in given.unscored.items() if name in bearing},
        )


class Citations(GoldScorer):
    """`citation_precision`, `citation_recall`: the ids that the answer cites against those that are right, as ALCE does
    (arXiv 2305.14627), with labels in place of a model that judges entailment. An answer that cites nothing has 0 in
    both. `citation_given`, of answers with passages that cite: all that is cited stood before the version.

    Of a sample with no right passage there is no figure: see `abstention`.
    """

    type: Literal["citations"] = "citations"
    field: str | None = None
    """Of a JSON answer, with an id or a list of them; without it, ids stand in brackets in the text: [h07]."""

    def figures(self) -> tuple[Figure, ...]:
        return (
            Figure(name="citation_precision", kind=Kind.MEAN),
            Figure(name="citation_recall", kind=Kind.MEAN),
            Figure(name="citation_given"),
        )

    def bearing(self, sample: Sample) -> frozenset[str]:
        return super().bearing(sample) - {"citation_given"}

    async def score(self, sample: Sample, attempt: Attempt, context: ScoringContext) -> Score:
        right = {name.casefold() for name in self.right(sample)}
        if not right:
            return Score()
        cited = cited_ids(attempt.text, self.field)
        hits = len(cited & right)
        figures = {"citation_precision": hits / len(cited) if cited else 0.0, "citation_recall": hits / len(right)}
        before = {name.casefold() for name in attempt.passages}
        if cited and (before or context.retrieves):
            figures["citation_given"] = float(cited <= before)
        return Score(figures, explanation=f"cites {', '.join(sorted(cited)) or 'nothing'}")


def cited_ids(answer: str, field: str | None) -> frozenset[str]:
    """The ids that an answer cites, in lower case; `none` is no id."""
    if field is None:
        texts = _BRACKETS.findall(visible(answer))
    else:
        value = (parse_object(answer) or {}).get(field)
        parts = value if isinstance(value, list) else [value]
        texts = [visible(part) for part in parts if isinstance(part, str)]
    ids = {name.casefold() for text in texts for name in _BETWEEN.split(text) if name}
    return frozenset(ids - {"none"})


class Abstention(GoldScorer):
    """`abstains`, of samples with no right passage: the answer says that it gives none. `answers`, of all others: it
    does not. Both are shown, since a version that always abstains has the first without any worth.
    """

    type: Literal["abstention"] = "abstention"
    field: str | None = None
    """Of a JSON answer, where the words stand; without it, all of the answer is read."""
    phrases: tuple[str, ...] = ()
    """The version's own words, in place of the list's."""
    list_: Literal["abstention-1"] = Field(default="abstention-1", alias="list")
    normaliser: NormaliserName = DEFAULT.name

    def figures(self) -> tuple[Figure, ...]:
        return (Figure(name="abstains"), Figure(name="answers"))

    def bearing(self, sample: Sample) -> frozenset[str]:
        return frozenset({"answers" if self.right(sample) else "abstains"})

    async def score(self, sample: Sample, attempt: Attempt, context: ScoringContext) -> Score:
        phrase = abstained(attempt.text, self.phrases or PHRASES[self.list_], self.field, self.normaliser)
        if not self.right(sample):
            return Score({"abstains": float(phrase is not None)})
        said = bool(visible(attempt.text).strip())
        return Score({"answers": float(phrase is None and said)}, explanation=f"abstains: {phrase}" if phrase else "")


def abstained(answer: str, phrases: tuple[str, ...], field: str | None, rule: str = DEFAULT.name) -> str | None:
    """The phrase by which an answer says that it gives none, word for word after normalisation; else None."""
    how = normaliser(rule)
    said = f" {how.normal(spoken_text(answer, field) if field else answer)} "
    return next((phrase for phrase in phrases if f" {how.normal(phrase)} " in said), None)
