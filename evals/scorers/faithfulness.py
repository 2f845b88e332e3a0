"""Whether an answer says what its passages say: by words in common, sentence by sentence, so that anybody can check it.

It is a measure of words, not of meaning: "closes at nine" is supported by "never closes at nine". `grounded` asks a
judge instead (`evals/judging/grounded.py`); the two go together.
"""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field

from evals.sample import Sample
from evals.scorers.knowledge import PHRASES, abstained
from evals.scorers.scorer import Figure, Kind, Score, Scorer, ScoringContext
from evals.solvers.solver import Attempt
from lifecycle.text.scores import spoken_text
from retrieval.analysis import analyse

_ENDS = re.compile(r"(?<=[.!?؟…])\s+|\n+")
_CITATION = re.compile(r"\[[^\[\]\s]{1,80}\]")


class Faithfulness(Scorer):
    """`faithful`: the share of the answer's sentences that a passage supports; `all_faithful`: every one.

    A passage supports a sentence that has at least `support` of its words (stems, without stop words) and all of its
    numbers in that one passage. An answer that abstains, that says nothing, or that had no passages has neither;
    what is not supported stands in the explanation.
    """

    type: Literal["faithfulness"] = "faithfulness"
    support: float = Field(default=0.75, gt=0.0, le=1.0)
    field: str | None = None
    """Of a JSON answer, where its words stand."""
    phrases: tuple[str, ...] = PHRASES["abstention-1"]
    """By which an answer abstains."""

    def figures(self) -> tuple[Figure, ...]:
        return (Figure(name="faithful", kind=Kind.MEAN), Figure(name="all_faithful"))

    async def score(self, sample: Sample, attempt: Attempt, context: ScoringContext) -> Score:
        passages = [frozenset(analyse(text)) for text in attempt.passages.values()]
        if not passages or abstained(attempt.text, self.phrases, self.field):
            return Score()
        answer = spoken_text(attempt.text, self.field) if self.field else attempt.text
        said = [sentence for sentence in _ENDS.split(_CITATION.sub("", answer)) if analyse(sentence)]
        if not said:
            return Score()
        bare = [sentence.strip() for sentence in said if not self._supported(sentence, passages)]
        share = 1 - len(bare) / len(said)
        return Score(
            {"faithful": share, "all_faithful": float(not bare)},
            explanation="\n".join(f"no passage supports: {sentence}" for sentence in bare),
        )

    async def failed(self, sample: Sample, attempt: Attempt) -> Score:
        """An answer that never came says nothing that could be unfaithful."""
        return Score(unscored={figure.name: "the request failed" for figure in self.figures()})

    def _supported(self, sentence: str, passages: list[frozenset[str]]) -> bool:
        terms = frozenset(analyse(sentence))
        numbers = frozenset(term for term in terms if any(letter.isdigit() for letter in term))
        return any(
            numbers <= passage and len(terms & passage) >= self.support * len(terms) - 1e-9 for passage in passages
        )
