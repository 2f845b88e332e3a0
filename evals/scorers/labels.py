"""Answers that are one label of a few: accuracy, macro-F1 over all items, and the confusion table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

import numpy as np
from pydantic import Field

from evals.sample import Sample
from evals.scorers.scorer import Figure, Kind, Score, Scorer, ScoringContext
from evals.scorers.texts import NormaliserName
from evals.solvers.solver import Attempt
from evals.statistics.labels import summed_f1
from evals.statistics.together import Summed
from lifecycle.errors import Problem
from lifecycle.text.normaliser import DEFAULT, normaliser
from lifecycle.text.scores import label_of, parse_object, spoken

_TABLE = "confusion"
MACRO_F1 = Figure(name="macro_f1", kind=Kind.STATISTIC, pairs=True)


def macro_f1_of(
    scores: Sequence[Score], labels: Sequence[str], *, part: bool, name: str = MACRO_F1.name, table: str = _TABLE
) -> dict[str, Summed]:
    """Macro-F1 by the cells of a confusion table. Over the items of a slice it is the mean over the labels that are
    right for one of them: another has an F1 of 0 there whatever is said."""
    cells = [score.cells.get(table) for score in scores]
    known = [cell for cell in cells if cell]
    if not known:
        return {}
    right = [cell[0] for cell in known]
    there = [label for label in labels if not part or label in right]
    summed = summed_f1([said or None for _, said in known], right, there)
    if len(known) == len(cells):
        return {name: summed}
    counts, strata = np.full((len(cells), summed.counts.shape[1]), np.nan), [cell[0] if cell else "" for cell in cells]
    counts[[at for at, cell in enumerate(cells) if cell]] = summed.counts
    return {name: Summed(counts, summed.value, strata)}


class Label(Scorer):
    """`accuracy`: the whole answer is the right label; `labelled`: it is any label; `macro_f1` of all items. With
    `field: urgency` they are `urgency_accuracy` and so on."""

    type: Literal["label"] = "label"
    labels: tuple[str, ...] = ()
    """What an answer may be. Without it, what the targets are."""
    field: str | None = Field(default=None, exclude_if=lambda field: field is None)
    """Of a JSON answer, where the label stands; without it, all of the answer is the label."""
    normaliser: NormaliserName = DEFAULT.name

    def settled(self, samples: Sequence[Sample]) -> Self:
        if self.labels:
            return self
        return self.model_copy(
            update={"labels": tuple(sorted({self._text(sample.shown_target) for sample in samples}))}
        )

    def figures(self) -> tuple[Figure, ...]:
        accuracy, labelled = (Figure(name=self._name(name)) for name in ("accuracy", "labelled"))
        return (accuracy, labelled, MACRO_F1.model_copy(update={"name": self._name(MACRO_F1.name)}))

    def problems(self, sample: Sample) -> list[Problem]:
        if self._label(sample.shown_target) is None:
            return [
                Problem("target", f"{sample.target!r:.80} is none of {', '.join(self.labels)}", "one of the labels")
            ]
        return []

    def while_asking(self) -> bool:
        return True

    async def score(self, sample: Sample, attempt: Attempt, context: ScoringContext) -> Score:
        right, said = self._label(sample.shown_target), self._label(attempt.text)
        figures = {self._name("accuracy"): float(said == right), self._name("labelled"): float(said is not None)}
        return Score(figures, cells={self._table: (str(right), said or "")}, said=said)

    async def failed(self, sample: Sample, attempt: Attempt) -> Score:
        right = str(self._label(sample.shown_target))
        return Score({self._name("accuracy"): 0.0, self._name("labelled"): 0.0}, cells={self._table: (right, "")})

    def summed(self, samples: Sequence[Sample], scores: Sequence[Score], *, part: bool = False) -> dict[str, Summed]:
        return macro_f1_of(scores, self.labels, part=part, name=self._name(MACRO_F1.name), table=self._table)

    def _label(self, text: str) -> str | None:
        return label_of(self._text(text), self.labels, normaliser(self.normaliser))

    def _text(self, text: str) -> str:
        return text if self.field is None else spoken((parse_object(text) or {}).get(self.field))

    def _name(self, figure: str) -> str:
        return f"{self.field}_{figure}" if self.field else figure

    @property
    def _table(self) -> str:
        return f"{_TABLE}: {self.field}" if self.field else _TABLE
