"""The suite: samples, how they are asked, how answers are scored, and which figures decide."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from evals.asking.spilled import Picked
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
    """Decides: from 0 to 1, higher is better. Each item has it as one number, or it is a text statistic that pairs."""
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

    part: bool = False
    """Whether the samples are those of a slice."""

    def clusters_of(self, places: Sequence[int]) -> list[Hashable] | None:
        """Of the samples at these places; None where one stands for itself."""
        labels: list[Hashable] = [self.clusters[place] for place in places]
        return None if None in labels else labels

    @cached_property
    def clusters(self) -> Sequence[str | None]:
        """Of each sample."""
        return [sample.cluster for sample in self.samples]

    def at(self, places: Sequence[int], *, part: bool | None = None) -> Suite:
        """Of the samples at these places; `part` where they are those of a slice."""
        chosen = replace(self, samples=Picked(self.samples, places), part=self.part if part is None else part)
        vars(chosen)["clusters"] = [self.clusters[place] for place in places]
        return chosen

    @property
    def together(self) -> bool:
        """Whether the deciding figure is of all items together."""
        return all(figure.name != self.metric for figure in self.figures)

    @property
    def item_metric(self) -> str | None:
        """The first figure of single items beside a deciding one of all items together, of its own scorer if that has
        one: by it items are told apart."""
        if not self.together:
            return None
        beside = (scorer for scorer in self.scorers if self.metric in {figure.name for figure in scorer.figures()})
        near = [figure for scorer in beside for figure in scorer.figures() if figure.kind is not Kind.STATISTIC]
        names = [figure.name for figure in near or self.figures]
        return names[0] if names else None

    @property
    def of_items(self) -> str:
        """The figure by which single items are told apart."""
        return self.item_metric or self.metric

    @property
    def figures(self) -> tuple[Figure, ...]:
        """Those that single items have, in the order of the scorers."""
        return tuple(
            figure for scorer in self.scorers for figure in scorer.figures() if figure.kind is not Kind.STATISTIC
        )


_WHY_NOT = {
    True: "safety is told by single items, whose failures are counted",
    False: "two arms are not paired by it, since its scorer does not say what each answer adds (`summed`)",
}
"""By whether it pairs."""


def undecidable(name: str, figures: Sequence[Figure], metric: str | None, safety: str | None) -> list[Problem]:
    """Why the two cannot decide over a suite with these figures."""
    known = {figure.name: figure for figure in figures}
    graded = [figure.name for figure in figures if figure.kind not in (Kind.STATISTIC, Kind.DIFFERENCE)]
    paired = [figure.name for figure in figures if figure.kind is Kind.STATISTIC and figure.pairs]
    cures = {
        key: f"one of {', '.join(names)}" if names else "a scorer that gives single items a figure, such as chrf"
        for key, names in (("metric", [*graded, *paired]), ("safety", graded))
    }
    cure = cures["metric"]
    problems = [] if metric else [Problem("metric", "is missing: nothing says what decides", cure)]
    for key, named in (("metric", metric), ("safety", safety)):
        figure, cure = known.get(named) if named else None, cures[key]
        if named and figure is None:
            problems.append(Problem(key, f"'{named}' is no figure that the items of '{name}' get", cure))
        elif figure and figure.kind is Kind.STATISTIC and not (figure.pairs and key == "metric"):
            problems.append(Problem(key, f"'{named}' is of all items together: {_WHY_NOT[figure.pairs]}", cure))
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
