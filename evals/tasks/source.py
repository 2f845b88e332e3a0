"""The seam of suites: a package brings samples, how they are asked and how they are scored, under one name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from evals.safety.table import OURS
from evals.sample import Sample
from evals.scorers.scorer import Scorer
from evals.solvers.chat import Chat
from evals.solvers.solver import Solver
from lifecycle.plugins import SUITES, Seam
from lifecycle.version import Frozen


class SuiteSource(Frozen, ABC):
    """A suite with samples of its own: one of `evals/safety`, or another package's, which is found by an entry point of
    the group `dabt.suites`. An evaluation names it as its `task`; the fields are what its `settings` may say.
    """

    metric: str
    """The figure that decides, unless the evaluation says another."""
    safety: str | None = None

    @abstractmethod
    def samples(self) -> Sequence[Sample]:
        """All of them, in an order that does not change. Their keys are made anew, of what they say."""

    @abstractmethod
    def scorers(self) -> Sequence[Scorer]:
        """At least one."""

    def solver(self) -> Solver:
        """How versions are asked."""
        return Chat()

    def notes(self) -> Sequence[str]:
        """What a reader of its figures must know, such as items that could not be had."""
        return ()


SOURCES: Seam[SuiteSource] = Seam("suite", SUITES, OURS, SuiteSource)  # type: ignore[type-abstract]
