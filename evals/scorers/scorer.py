"""The seam of scoring: a sample and an attempt → figures, each of a kind.

inspect_ai's users know the noun: there a scorer gives a `Score` with one value, and metrics make one number of all;
here a `Score` may have several figures, the kind of each says how all of them become one number, and what could not be
scored says why. Read `table.py` next for what there is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Self

from evals.judging.judge import Judges
from evals.sample import Sample
from evals.solvers.solver import Attempt
from evals.statistics.together import Summed, interval
from lifecycle.errors import Problem
from lifecycle.report import Interval
from lifecycle.version import Frozen


class Kind(StrEnum):
    """How a figure of single items becomes one of all."""

    PROPORTION = "proportion"
    """Each item is right or wrong: a share."""
    MEAN = "mean"
    """A number per item, from 0 to 1 if it is to decide."""
    COUNT = "count"
    """So many of something per item; shown as their mean."""
    DIFFERENCE = "difference"
    """Of two scores of one item, from -1 to 1; nothing is decided by it."""
    STATISTIC = "text statistic"
    """Only all items together have it, such as macro-F1 and BLEU; one that `pairs` can decide."""


class Figure(Frozen):
    """What a scorer gives of an item, or of all of them."""

    name: str
    kind: Kind = Kind.PROPORTION
    higher_is_better: bool = True
    pairs: bool = False
    """Of a text statistic: `Scorer.summed` tells what each answer adds to it, so that two arms are compared by it."""
    harm: bool = False
    """Whether each item below 1 is a harm: such are counted, with the most that they may be (`statistics/exact.py`)."""


@dataclass(frozen=True, slots=True)
class Score:
    """Of one attempt. A figure that is in neither mapping does not bear on the item."""

    figures: Mapping[str, float] = field(default_factory=dict)
    unscored: Mapping[str, str] = field(default_factory=dict)
    """Figure → why it has no number for this answer. It is counted and shown: no miss, no hit, no tie."""
    explanation: str = ""
    counts: tuple[float, ...] = ()
    """What the scorer's own text statistics are made of."""
    cells: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Table → (row, column) in which the item counts: what was right and what was said, in a confusion table."""
    said: str | None = None
    """What the scorer read out of the answer, such as its label: several answers vote by it. Else by their text."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Kept by the million (`asking/spilled.py`), where what dataclasses do of themselves takes twice as long."""
        return Score, (self.figures, self.unscored, self.explanation, self.counts, self.cells, self.said)


@dataclass(frozen=True)
class ScoringContext:
    """What a scorer may use besides the sample and the attempt."""

    judges: Judges | None = None
    """Other models, which may be asked for a verdict."""
    rival: Attempt | None = None
    """What the baseline made of the same sample; None for the baseline itself."""
    retrieves: bool = False
    """Whether the version has knowledge, so that no passage means that none was found."""


class Scorer(Frozen, ABC, arbitrary_types_allowed=True):
    """How attempts are scored. The fields are its settings: the keys of an entry of `scorers:` in a task file.

    A package brings its own by an entry point of the group `dabt.scorers`, named as `type` is.
    """

    type: str

    version: ClassVar[int] = 1
    """Of the way it scores. Another way is another number: it is part of a suite's digest."""

    def while_asking(self) -> bool:
        """Whether a score takes a moment, far less than an answer, and needs neither a judge nor the rival's attempt.
        Such scores are made while other answers are awaited; all others once everything is answered, so that no arm's
        requests wait for them."""
        return False

    @abstractmethod
    def figures(self) -> tuple[Figure, ...]:
        """All that it may give."""

    @abstractmethod
    async def score(self, sample: Sample, attempt: Attempt, context: ScoringContext) -> Score:
        """Of an answer, which may be anything: what cannot be read is wrong, or unscored with its reason."""

    def settled(self, samples: Sequence[Sample]) -> Self:
        """With whatever its settings leave to the suite's samples, all of them; asked first of all."""
        return self

    def problems(self, sample: Sample) -> list[Problem]:
        """Why the sample's target cannot be scored by this, each with its place inside the sample; asked of every
        sample before anything is sent."""
        return []

    async def failed(self, sample: Sample, attempt: Attempt) -> Score:
        """Of an attempt whose request failed: zero in whatever an answer to this sample would get a figure for."""
        graded = [figure for figure in self.figures() if figure.kind is not Kind.STATISTIC]
        return Score(
            figures={figure.name: 0.0 for figure in graded if figure.higher_is_better},
            unscored={figure.name: "the request failed" for figure in graded if not figure.higher_is_better},
        )

    def overall(
        self, samples: Sequence[Sample], scores: Sequence[Score], clusters: Sequence[Hashable] | None
    ) -> dict[str, Interval]:
        """Its text statistics, over an arm's scores in the order of the samples."""
        told = {
            name: (summed, [int(at) for at in summed.known.nonzero()[0]])
            for name, summed in self.summed(samples, scores).items()
        }
        return {
            name: interval(summed.of(known), None if clusters is None else [clusters[at] for at in known])
            for name, (summed, known) in told.items()
            if known
        }

    def summed(self, samples: Sequence[Sample], scores: Sequence[Score], *, part: bool = False) -> dict[str, Summed]:
        """What each score adds to its text statistics that pair, by their names. `part`: the samples are those of a
        slice."""
        return {}

    def again(self) -> Scorer | None:
        """The scorer that makes the text statistics that pair of what a kept report has, `cells` and `counts` alone;
        its settings are written beside them. None where there is none, and reports are not compared by them."""
        return self

    def described(self) -> Any:
        """What decides its figures, as JSON: a suite's digest covers it."""
        return {"settings": self.model_dump(mode="json"), "version": self.version}
