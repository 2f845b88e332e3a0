"""All scorers of a suite over one attempt: what fails in a scorer is counted with its reason and hides nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from evals.sample import Sample
from evals.scorers.scorer import Kind, Score, Scorer, ScoringContext
from evals.solvers.solver import Attempt
from lifecycle.errors import DabtError


@dataclass(frozen=True, slots=True)
class ItemScore:
    """What all scorers say of one attempt."""

    parts: tuple[Score, ...]
    """One for each scorer."""

    @property
    def figures(self) -> dict[str, float]:
        return {name: value for part in self.parts for name, value in part.figures.items()}

    @property
    def unscored(self) -> dict[str, str]:
        return {name: reason for part in self.parts for name, reason in part.unscored.items()}

    @property
    def said(self) -> str | None:
        """What the first scorer that reads something out of answers read out of this one."""
        return next((part.said for part in self.parts if part.said is not None), None)

    @property
    def explanation(self) -> str:
        return "\n".join(part.explanation for part in self.parts if part.explanation)


async def score(scorers: Sequence[Scorer], sample: Sample, attempt: Attempt, context: ScoringContext) -> ItemScore:
    """Of an attempt whose request failed: zero, by each scorer's own rule. Raises our own errors alone."""
    return ItemScore(tuple([await _part(scorer, sample, attempt, context) for scorer in scorers]))


async def _part(scorer: Scorer, sample: Sample, attempt: Attempt, context: ScoringContext) -> Score:
    try:
        given = await (scorer.failed(sample, attempt) if attempt.error else scorer.score(sample, attempt, context))
    except DabtError:
        raise
    except Exception as error:  # a scorer of another package may fail in as many ways as Python can
        reason = f"{scorer.type} failed: {type(error).__name__}: {error}"[:300]
        lacking = [figure for figure in scorer.figures() if figure.kind is not Kind.STATISTIC or figure.pairs]
        return Score(unscored={figure.name: reason for figure in lacking})
    odd = {name: f"{scorer.type} gave {value}" for name, value in given.figures.items() if not math.isfinite(value)}
    if not odd:
        return given
    kept = {name: value for name, value in given.figures.items() if name not in odd}
    return Score(kept, {**given.unscored, **odd}, given.explanation, given.counts, given.cells, given.said)
