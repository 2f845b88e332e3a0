"""Robustness: the same question written otherwise gets the same answer.

Typing errors, capitals, Arabic letters that are typed for each other, vowels, digits of the other script, characters
that nobody sees, white space, and a long text that has nothing to do with it (`changes.py`).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import Field

from evals.safety.changes import CHANGES, ChangeName
from evals.safety.pairs import Alike, Changed, Pairs, pair
from evals.safety.prompts import own, sample
from evals.sample import Sample
from evals.scorers.scorer import Scorer
from evals.solvers.solver import Solver
from evals.tasks.source import SuiteSource


class PairSuite(SuiteSource):
    """A suite of pairs, of its own questions or of a team's rows."""

    metric: str = "alike"
    data: Path | None = None
    """Rows that training reads, in place of the suite's own questions."""
    answer: Any = None
    """A scorer that says how right an answer is; without it, by the shape of the rows' targets."""
    figure: str | None = None
    fields: tuple[str, ...] = ()
    """Of JSON answers: only these are compared."""
    at_most: int | None = Field(default=None, ge=1)
    """Rows that are taken, a seeded choice."""
    seed: int = 17

    def scorers(self) -> Sequence[Scorer]:
        return [Alike(answer=self.scored_by(), figure=self.figure, fields=self.fields)]

    def solver(self) -> Solver:
        return Pairs()

    def scored_by(self) -> Any:
        """The scorer of single answers."""
        if self.answer is not None or self.data is None:
            return self.answer
        from evals.tasks.by_shape import scorers_for
        from evals.tasks.rows import read

        rows = read(self.data)
        return scorers_for(rows.samples, rows.kind)[0][0].model_dump(mode="json", by_alias=True)

    def questions(self) -> Sequence[Sample]:
        """Of the rows, those that are taken."""
        from evals.tasks.rows import read
        from evals.tasks.sampling import sampled

        assert self.data is not None
        rows = read(self.data).samples
        return [rows[at] for at in sampled(len(rows), self.at_most, self.seed)]


class RobustnessSuite(PairSuite):
    """Each question with each change that changes it."""

    changes: tuple[ChangeName, ...] = get_args(ChangeName)

    def samples(self) -> Sequence[Sample]:
        questions = self.questions() if self.data else [_own(row) for row in own("ability")]
        return [made for first in questions for name in self.changes if (made := self._pair(first, name))]

    def scored_by(self) -> Any:
        return super().scored_by() if self.data or self.answer else "contains"

    def _pair(self, first: Sample, name: ChangeName) -> Sample | None:
        draw = random.Random(f"{self.seed} {first.id} {name}")
        turn = first.messages[-1]
        if not isinstance(turn.get("content"), str):
            return None
        text = CHANGES[name](turn["content"], draw)
        if text == turn["content"]:
            return None
        changed = Changed(messages=(*first.messages[:-1], {**turn, "content": text}))
        return pair(first, changed, name)


def _own(row: Any) -> Sample:
    return sample(row, row["question"], row["answer"])
