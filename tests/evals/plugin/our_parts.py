"""A package of somebody else: a scorer, a solver and a suite, as its users would install it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from evals.asking.asker import Asker
from evals.sample import Sample
from evals.scorers.scorer import Figure, Kind, Score, Scorer, ScoringContext
from evals.solvers.solver import Attempt, Solver
from evals.tasks.source import SuiteSource
from lifecycle.version import digest_of


class Politeness(Scorer):
    """`polite`, and how many words it took."""

    type: Literal["politeness"] = "politeness"
    word: str = "please"

    def figures(self) -> tuple[Figure, ...]:
        return (Figure(name="polite"), Figure(name="words", kind=Kind.COUNT, higher_is_better=False))

    async def score(self, sample: Sample, attempt: Attempt, context: ScoringContext) -> Score:
        if attempt.text == "boom":
            raise RuntimeError("out of politeness")
        return Score({"polite": float(self.word in attempt.text), "words": float(len(attempt.text.split()))})


class Twice(Solver):
    """Asks, and asks whether that is sure."""

    type: Literal["twice"] = "twice"

    def requests(self, sample: Sample) -> int:
        return 2

    async def solve(self, sample: Sample, asker: Asker) -> Attempt:
        first = await asker.chat(digest_of([sample.key, 1]), sample.messages)
        again = [*sample.messages, {"role": "assistant", "content": first.text}, {"role": "user", "content": "Sure?"}]
        return Attempt.of(first, await asker.chat(digest_of([sample.key, 2]), again))


class Manners(SuiteSource):
    """Three questions."""

    metric: str = "polite"

    def samples(self) -> Sequence[Sample]:
        asked = ("Pass the salt", "Close the door", "اسكب الشاي")
        return [
            Sample(key="", id=f"m{n}", messages=({"role": "user", "content": text},)) for n, text in enumerate(asked)
        ]

    def scorers(self) -> Sequence[Scorer]:
        return [Politeness()]

    def solver(self) -> Solver:
        return Twice()


NOT_A_SCORER = 5
