"""Figures of all items together for measured arms: what `together.py` says of counts, said of arms. Read it first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from evals.asking.measure import MeasuredArm
from evals.asking.spilled import Picked
from evals.statistics.repeats import repeats
from evals.statistics.together import Summed, error, gap, interval, moves
from evals.tasks.suite import Suite
from lifecycle.errors import InvalidInput
from lifecycle.report import Comparison, Interval

T = TypeVar("T")


@dataclass(frozen=True)
class _Answers:
    """What an arm's answers add to a figure, over the items of `places`."""

    summed: Summed
    sizes: Sequence[int]
    """Answers to each item."""
    places: Sequence[int]

    @property
    def items(self) -> Summed:
        return self.summed.mean_of(self.sizes)

    def over(self, places: Sequence[int]) -> _Answers:
        starts = {place: sum(self.sizes[:at]) for at, place in enumerate(self.places)} if max(self.sizes) > 1 else {
            place: at for at, place in enumerate(self.places)
        }  # fmt: skip
        size_of = dict(zip(self.places, self.sizes, strict=True))
        rows = [starts[place] + number for place in places for number in range(size_of[place])]
        return _Answers(self.summed.of(rows), [size_of[place] for place in places], places)


def figures_together(measured: MeasuredArm, suite: Suite) -> dict[str, Interval]:
    """Of the figures that pair, with their intervals; one that no answer bears on is left out."""
    return {name: _figure(answers, suite) for name, answers in _answers(measured, suite).items()}


def known_together(measured: MeasuredArm, suite: Suite) -> set[int]:
    """The places of the items that bear on the deciding figure."""
    answers = _answers(measured, suite).get(suite.metric)
    return set(answers.places) if answers else set()


def compared_together(arm: MeasuredArm, against: MeasuredArm, suite: Suite, places: Sequence[int]) -> Comparison:
    """On the deciding figure, over the items of `places`. Raises `InvalidInput` where there are none."""
    if not places:
        raise InvalidInput(f"no item of {arm.arm.label} and {against.arm.label} bears on {suite.metric}")
    # Of a slice it is over the labels of these items: both arms' by the same.
    alone = suite.at(places)
    mine, theirs = (_answers(within(side, places), alone)[suite.metric] for side in (arm, against))
    names = {"arm": arm.arm.label, "against": against.arm.label, "metric": suite.metric}
    made = gap(mine.items, theirs.items, suite.clusters_of(places), **names)
    if max(*mine.sizes, *theirs.sizes) == 1 or made.se is None:
        return made
    apart = [_apart(ours, others) for ours, others in zip(_moves(mine), _moves(theirs), strict=True)]
    return made.model_copy(update={"repeats": repeats(apart, made.se, sum(mine.sizes) + sum(theirs.sizes))})


def within(arm: MeasuredArm, places: Sequence[int]) -> MeasuredArm:
    """What the arm made of the items at these places."""
    answers = arm.columns.answers(places).tolist()
    parts = [Picked(scores, answers) for scores in arm.parts]
    return replace(arm, outcomes=Picked(arm.outcomes, places), parts=parts, known=arm.columns.at(places))


def each(values: Sequence[T], counts: Sequence[int]) -> list[T]:
    """Each value as often as its item was asked."""
    return [value for value, count in zip(values, counts, strict=True) for _ in range(count)]


def _answers(measured: MeasuredArm, suite: Suite) -> dict[str, _Answers]:
    sizes = measured.columns.sizes.tolist()
    samples, all_places = Picked(suite.samples, each(range(len(sizes)), sizes)), range(len(sizes))
    made: dict[str, _Answers] = {}
    for scorer, scores in zip(suite.scorers, measured.parts, strict=False):
        for name, summed in scorer.summed(samples, scores, part=suite.part).items():
            whole = _Answers(summed, sizes, all_places)
            if places := [int(at) for at in whole.items.known.nonzero()[0]]:
                made[name] = whole if len(places) == len(sizes) else whole.over(places)
    return made


def _figure(answers: _Answers, suite: Suite) -> Interval:
    clusters = suite.clusters_of(answers.places)
    figure = interval(answers.items, clusters)
    if max(answers.sizes) == 1:
        return figure
    return figure.model_copy(update={"repeats": repeats(_moves(answers), error(answers.items, clusters))})


def _moves(answers: _Answers) -> list[list[float]]:
    return moves(answers.summed, answers.sizes)


def _apart(first: Sequence[float], second: Sequence[float]) -> list[float]:
    """Answer by answer. Where one answered greedily, its one answer stands for all."""
    count = max(len(first), len(second))
    return [first[at % len(first)] - second[at % len(second)] for at in range(count)]
