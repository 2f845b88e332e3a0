"""The suite: samples, how they are asked, how answers are scored, and which figures decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evals.sample import Sample
from evals.scorers.scorer import Figure, Kind, Scorer
from evals.solvers.solver import Solver
from lifecycle.errors import InvalidConfig, Problem
from lifecycle.version import Digest


@dataclass(frozen=True)
class Suite:
    """What an evaluation measures, whoever is measured. `lifecycle.gates.SuiteFacts` is what a gate knows of it."""

    name: str
    samples: Sequence[Sample]
    solver: Solver
    scorers: tuple[Scorer, ...]
    metric: str
    """Decides. Each item has it as one number from 0 to 1, higher is better."""
    digest: Digest
    """Of the samples, the solver and the scorers: whatever decides a figure besides the version."""
    data_digest: Digest
    """Of the items alone, all of them, whatever their order: the same items are the same under any task."""
    whole: int
    """How many items there are; `samples` are fewer when they are a sample of them."""
    safety: str | None = None
    scoring: Digest | None = None
    """Of the solver and the scorers with their settings, apart from the samples: two runs with the same one asked and
    scored alike, whatever the items. None where nobody said."""
    cluster: str | None = None
    """The field of an item that says which items belong together."""
    notes: tuple[str, ...] = ()
    """What a reader of its figures must know."""

    @property
    def figures(self) -> tuple[Figure, ...]:
        """Those that single items have, in the order of the scorers."""
        return tuple(
            figure for scorer in self.scorers for figure in scorer.figures() if figure.kind is not Kind.STATISTIC
        )


def undecidable(name: str, figures: Sequence[Figure], metric: str | None, safety: str | None) -> list[Problem]:
    """Why the two cannot decide over a suite with these figures."""
    known = {figure.name: figure for figure in figures}
    graded = [figure.name for figure in figures if figure.kind not in (Kind.STATISTIC, Kind.DIFFERENCE)]
    cure = f"one of {', '.join(graded)}"
    problems = [] if metric else [Problem("metric", "is missing: nothing says what decides", cure)]
    for key, named in (("metric", metric), ("safety", safety)):
        figure = known.get(named) if named else None
        if named and figure is None:
            problems.append(Problem(key, f"'{named}' is no figure that the items of '{name}' get", cure))
        elif figure and figure.kind is Kind.STATISTIC:
            problems.append(Problem(key, f"'{named}' is of all items together: nothing is decided by it", cure))
        elif figure and figure.kind is Kind.DIFFERENCE:
            problems.append(Problem(key, f"'{named}' is a difference, which goes below 0", cure))
        elif figure and not figure.higher_is_better:
            problems.append(Problem(key, f"of '{named}' less is better", cure))
    return problems


def require_decidable(name: str, figures: Sequence[Figure], metric: str | None, safety: str | None) -> str:
    """The deciding figure. Raises `InvalidConfig` where it, or the safety figure, cannot decide."""
    if problems := undecidable(name, figures, metric, safety):
        raise InvalidConfig(f"the evaluation of '{name}' cannot be decided", problems)
    assert metric is not None
    return metric
