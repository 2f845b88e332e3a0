"""What answers add to figures of all items together, as a report keeps it: macro-F1's cells, BLEU's counts.

It is written beside each answer, with the scorers' settings beside the report, so that two kept reports are compared by
such a figure as two arms of one report are (`evals/statistics/together.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field, ValidationError

from evals.sample import Sample
from evals.scorers.scorer import Kind, Score, Scorer
from evals.scorers.table import SCORERS
from evals.statistics.together import Summed, gap
from lifecycle.report import Comparison
from lifecycle.version import Frozen


class Adds(Frozen):
    """What one answer adds to one scorer's figures."""

    cells: dict[str, tuple[str, str]] = Field(default_factory=dict, exclude_if=lambda cells: not cells)
    """Table → what was right and what was said."""
    counts: tuple[float, ...] = Field(default=(), exclude_if=lambda counts: not counts)

    @classmethod
    def of(cls, score: Score) -> Adds:
        return cls(cells=dict(score.cells), counts=score.counts)

    @property
    def score(self) -> Score:
        return Score(cells=self.cells, counts=self.counts)


def kept(scorers: Sequence[Scorer]) -> dict[int, tuple[str, Scorer]]:
    """Place of a scorer → the first figure of its own that all items have together and that pairs, and the scorer by
    which it can be made again."""
    made = {}
    for place, scorer in enumerate(scorers):
        figure = next((figure.name for figure in scorer.figures() if figure.pairs), None)
        again = scorer.again() if figure else None
        if figure and again:
            made[place] = (figure, again)
    return made


def scorer_of(together: Mapping[str, Mapping[str, Any]], metric: str) -> tuple[str, Scorer] | None:
    """By what the report's answers are kept, and the scorer; None where none that is installed makes the figure."""
    for key, settings in together.items():
        scorer, _ = SCORERS.read(dict(settings), key)
        if scorer and metric in {figure.name for figure in scorer.figures()}:
            return key, scorer
    return None


def graded(scorer: Scorer) -> list[str]:
    """Its figures that single items have."""
    return [figure.name for figure in scorer.figures() if figure.kind is not Kind.STATISTIC]


class Difference(NamedTuple):
    """`comparison` is None where no item bears on the figure in both."""

    comparison: Comparison | None
    figures: tuple[float, float] | None
    """On those items, before and after."""
    without: tuple[int, int]
    """Items that do not bear on it, before and after."""


Answers = Sequence[Sequence[Adds]]
"""Of each item, what each of its answers adds."""


def difference(
    scorer: Scorer, sides: tuple[Answers, Answers], clusters: Sequence[str | None], names: dict[str, str], *, most: int
) -> Difference:
    """After less before, of the same items in the same order; an item counts once, however many answers it has. Where
    fewer than `most` items bear on it in both, it is the figure of a slice. `names` are the arms and the metric."""
    metric = names["metric"]
    was, now = (_summed(scorer, metric, answers, part=False) for answers in sides)
    if was is None or now is None:
        return Difference(None, None, (len(clusters) * (was is None), len(clusters) * (now is None)))
    places = [int(at) for at in (was.known & now.known).nonzero()[0]]
    without = (int((~was.known).sum()), int((~now.known).sum()))
    was, now = (_summed(scorer, metric, [answers[at] for at in places], part=len(places) < most) for answers in sides)
    if was is None or now is None:
        return Difference(None, None, without)
    of_items = [clusters[at] for at in places]
    labels = None if any(label is None for label in of_items) else of_items
    old, new = (float(side.value(side.counts.sum(axis=0))) for side in (was, now))
    return Difference(gap(now, was, labels, **names), (old, new), without)


def _summed(scorer: Scorer, metric: str, answers: Answers, *, part: bool) -> Summed | None:
    """Of items; one without answers bears on nothing. None where all are such."""
    sizes = [max(1, len(of_item)) for of_item in answers]
    scores = [added.score for of_item in answers for added in (of_item or (Adds(),))]
    samples = [Sample(key="", id="", messages=())] * len(scores)
    whole = scorer.summed(samples, scores, part=part).get(metric)
    return whole.mean_of(sizes) if whole is not None and whole.known.any() else None


class _Together(Frozen, extra="ignore"):
    together: dict[str, dict[str, Any]] = Field(default_factory=dict)


def together_of(folder: Path) -> dict[str, dict[str, Any]]:
    """What the report's evaluation.json says of its scorers; nothing of one from before, or of another tool."""
    try:
        return _Together.model_validate_json((folder / "evaluation.json").read_bytes()).together
    except (OSError, ValidationError):
        return {}
