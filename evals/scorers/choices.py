"""Choices that were scored by their likelihood (`solvers/choices.py`): whether the right one came out.

`acc` takes the choice that is likeliest as a whole, `acc_norm` the one with the most log-probability per character, so
that a short choice has no advantage. `choice_probability` is the right choice's share of what all choices have.
"""

from __future__ import annotations

import math
from typing import Literal

from evals.sample import Sample
from evals.scorers.scorer import Figure, Kind, Score, Scorer, ScoringContext
from evals.solvers.solver import Attempt


class Choice(Scorer):
    """Of a classifier, which names its label and tells no likelihood of others, `acc` alone."""

    type: Literal["choice"] = "choice"

    def figures(self) -> tuple[Figure, ...]:
        return (Figure(name="acc"), Figure(name="acc_norm"), Figure(name="choice_probability", kind=Kind.MEAN))

    def while_asking(self) -> bool:
        return True

    async def score(self, sample: Sample, attempt: Attempt, context: ScoringContext) -> Score:
        scored = [(answer.text, answer.logprob) for answer in attempt.answers if answer.logprob is not None]
        acc = float(attempt.text == sample.target)
        if len(scored) < 2:
            unscored = dict.fromkeys(("acc_norm", "choice_probability"), "no choice was scored by its likelihood")
            return Score({"acc": acc}, unscored)
        best = max(logprob for _, logprob in scored)
        whole = math.fsum(math.exp(logprob - best) for _, logprob in scored)
        right = math.exp(dict(scored)[str(sample.target)] - best) / whole
        normed = max(scored, key=lambda choice: choice[1] / len(choice[0]))[0]
        told = "  ".join(f"{text!r:.40}: {logprob:.2f}" for text, logprob in scored)
        figures = {"acc": acc, "acc_norm": float(normed == sample.target), "choice_probability": right}
        return Score(figures, explanation=told)
