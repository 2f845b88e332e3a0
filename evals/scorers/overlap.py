"""Free texts by what they have in common with the target: ROUGE, BLEU and chrF, by libraries that others use too."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from evals.sample import Sample
from evals.scorers.scorer import Figure, Kind, Score, ScoringContext
from evals.scorers.texts import Normalised, TextScorer
from evals.solvers.solver import Attempt
from evals.statistics.together import Summed
from lifecycle.errors import Problem
from lifecycle.text import scores
from lifecycle.text.letters import visible
from lifecycle.text.normaliser import Normaliser

_ROUGES = {"rouge1": "rouge_1", "rouge2": "rouge_2", "rougeL": "rouge_l"}


class Rouge(Normalised):
    """`rouge_1`, `rouge_2`, `rouge_l`: F1 of words, pairs of words, and the longest common row of words (Lin 2004).

    By the `rouge_score` package on the words of the normaliser, since its own tokenizer drops every Arabic letter.
    """

    type: Literal["rouge"] = "rouge"  # type: ignore[assignment]

    def figures(self) -> tuple[Figure, ...]:
        return tuple(Figure(name=name, kind=Kind.MEAN) for name in _ROUGES.values())

    def while_asking(self) -> bool:
        return False  # it grows with the product of both lengths

    async def score(self, sample: Sample, attempt: Attempt, context: ScoringContext) -> Score:
        return Score(rouges(attempt.text, sample.target, self.rule))


def rouges(answer: str, target: str, rule: Normaliser) -> dict[str, float]:
    """The three figures of `Rouge`."""
    if rule.normal(answer) == rule.normal(target):
        return dict.fromkeys(_ROUGES.values(), 1.0)  # also of texts without words, or with one alone
    given = _rouge(rule).score(target, answer)
    return {name: float(given[theirs].fmeasure) for theirs, name in _ROUGES.items()}


class _Words:
    def __init__(self, rule: Normaliser) -> None:
        self._rule = rule

    def tokenize(self, text: str) -> list[str]:
        return self._rule.words(text)


@cache
def _rouge(rule: Normaliser) -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(list(_ROUGES), tokenizer=_Words(rule))


class Chrf(TextScorer):
    """`chrf`: chrF2 of each answer (Popović 2015), by sacrebleu."""

    type: Literal["chrf"] = "chrf"

    def figures(self) -> tuple[Figure, ...]:
        return (Figure(name="chrf", kind=Kind.MEAN),)

    async def score(self, sample: Sample, attempt: Attempt, context: ScoringContext) -> Score:
        return Score({"chrf": scores.chrf(attempt.text, sample.target)})


class Nearer(TextScorer):
    """`nearer`, of preference rows: by chrF the answer is nearer to the better answer than to the worse one; one half
    where it is as near to both."""

    type: Literal["nearer"] = "nearer"

    def figures(self) -> tuple[Figure, ...]:
        return (Figure(name="nearer", kind=Kind.MEAN),)

    def problems(self, sample: Sample) -> list[Problem]:
        if not isinstance(sample.metadata.get("rejected"), str):
            return [Problem("metadata.rejected", "there is no worse answer", "this scorer is for preference rows")]
        return super().problems(sample)

    async def score(self, sample: Sample, attempt: Attempt, context: ScoringContext) -> Score:
        better, worse = (scores.chrf(attempt.text, text) for text in (sample.target, str(sample.metadata["rejected"])))
        return Score({"nearer": 0.5 + 0.5 * float(np.sign(better - worse))})


OF_ALL = Figure(name="bleu", kind=Kind.STATISTIC, pairs=True)
_COUNTS = 10
"""n-grams in common and in the answer, for n from 1 to 4, and the lengths of answer and target."""


class Bleu(TextScorer):
    """`bleu`, of all answers together, from 0 to 1 (Papineni et al. 2002), by sacrebleu with its tokenizer `intl`."""

    type: Literal["bleu"] = "bleu"

    def figures(self) -> tuple[Figure, ...]:
        return (OF_ALL,)

    async def score(self, sample: Sample, attempt: Attempt, context: ScoringContext) -> Score:
        return Score(counts=self._counts(attempt.text, sample.target))

    async def failed(self, sample: Sample, attempt: Attempt) -> Score:
        return Score(counts=self._counts("", sample.target))

    def summed(self, samples: Sequence[Sample], scores: Sequence[Score], *, part: bool = False) -> dict[str, Summed]:
        counts = np.asarray([score.counts or (np.nan,) * _COUNTS for score in scores], dtype=np.float64)
        return {OF_ALL.name: Summed(counts, bleu_of, weights=np.nan_to_num(counts[:, -1]))} if len(counts) else {}

    @staticmethod
    def _counts(answer: str, target: str) -> tuple[float, ...]:
        made = _bleu().corpus_score([visible(answer)], [[visible(target)]])
        return (*map(float, made.counts), *map(float, made.totals), float(made.sys_len), float(made.ref_len))


@cache
def _bleu() -> Any:
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(tokenize="intl")


def bleu_of(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """BLEU of `sums` [..., counts], smoothed as sacrebleu does (`exp`, Chen & Cherry 2014, method 3): of many sums at
    once, since the jackknife and the test of a difference ask for thousands."""
    common, given = sums[..., :4], sums[..., 4:8]
    length, wanted = sums[..., 8], sums[..., 9]
    halved = 0.5 ** np.cumsum(common == 0, axis=-1)
    shares = np.where(common > 0, common, halved) / np.where(given > 0, given, 1)
    brevity = np.where((length == 0) & (wanted > 0), 0.0, np.exp(np.minimum(0.0, 1 - wanted / np.maximum(length, 1))))
    whole = brevity * np.exp(np.log(shares).mean(axis=-1))
    return np.asarray(np.where((common > 0).any(axis=-1) & (given > 0).all(axis=-1), whole, 0.0))
