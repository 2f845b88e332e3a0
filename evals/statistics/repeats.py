"""Items that were asked several times: pass@k, the majority's answer, and how much of an error is sampling. Pure.

An item counts once, as the mean of its answers, in every interval and test (`comparison.py`): K answers to n items are
never K times n items. `lifecycle/repeats.py` has the noun.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from evals.statistics.intervals import Z_POWER
from lifecycle.errors import InvalidInput
from lifecycle.intervals import Z_TWO_SIDED
from lifecycle.repeats import Repeats

if TYPE_CHECKING:
    from evals.asking.measure import ItemResult


class Answered(Protocol):
    """One of several answers to an item: measured now, or read from a report that is kept."""

    @property
    def scores(self) -> Mapping[str, float]: ...
    @property
    def said(self) -> str: ...
    @property
    def error(self) -> str: ...


SHOWN = (2, 5, 10, 20, 50, 100, 200, 500)
"""The k of pass@k that are shown where there are more answers; and that of all answers."""


def pass_at(k: int, n: int, right: int) -> float:
    """The chance that of `k` answers at least one is right, when `right` of `n` were: the unbiased estimate (Chen et
    al. 2021, arXiv 2107.03374, section 2.1)."""
    _check(k, n, right)
    return 1.0 - math.comb(n - right, k) / math.comb(n, k)


def all_of(k: int, n: int, right: int) -> float:
    """The chance that `k` answers are all right, likewise: pass^k (Yao et al. 2024, arXiv 2406.12045)."""
    _check(k, n, right)
    return math.comb(right, k) / math.comb(n, k)


def majority(answers: Sequence[Answered], figure: str) -> float | None:
    """The figure of the answer that most of them give (self-consistency, Wang et al. 2022, arXiv 2203.11171).

    Answers that are as frequent as each other share the vote. One that failed has none, and where all failed it is 0.
    None where the winner has no such figure.
    """
    if all(answer.error for answer in answers):
        return 0.0
    votes = Counter(answer.said for answer in answers if not answer.error)
    most = max(votes.values())
    given = [
        answer.scores[figure]
        for answer in answers
        if not answer.error and votes[answer.said] == most and figure in answer.scores
    ]
    return sum(given) / len(given) if given else None


def figures_of(items: Sequence[Sequence[Answered]], figure: str) -> dict[str, list[float]]:
    """What only several answers have, by name, over the items that the figure bears on: `majority`, and of yes/no
    scores `pass@k` and `pass^k`. One that an item lacks, because answers are unscored, is left out."""
    scores = [[answer.scores[figure] for answer in item if figure in answer.scores] for item in items]
    least = min(map(len, scores))
    made: dict[str, list[float]] = {}
    if all(value in (0.0, 1.0) for item in scores for value in item):
        for k in [*(k for k in SHOWN if k < least), *([least] if least > 1 else [])]:
            made[f"{figure} pass@{k}"] = [pass_at(k, len(item), int(sum(item))) for item in scores]
            made[f"{figure} pass^{k}"] = [all_of(k, len(item), int(sum(item))) for item in scores]
    votes = [majority(item, figure) for item in items]
    if None not in votes:
        made[f"{figure} majority"] = [vote for vote in votes if vote is not None]
    return made


def repeats(values: Sequence[Sequence[float]], se: float, answers: int | None = None) -> Repeats | None:
    """Of a mean over items, each the mean of its `values`, with the standard error `se`; None where none was asked
    several times.

    The variance of sampling is the mean of that within the items, which each tell with one degree less than they have
    answers.
    """
    several = [item for item in values if len(item) > 1]
    if not several:
        return None
    within = sum(float(np.var(item, ddof=1)) for item in several) / len(several)
    sampling = math.sqrt(within * sum(1 / len(item) for item in values)) / len(values)
    count = sum(map(len, values)) if answers is None else answers
    return Repeats(per_item=max(map(len, several)), answers=count, se=se, sampling=sampling)


def differences(first: ItemResult, second: ItemResult, figure: str) -> list[float]:
    """Of one item between two arms, answer by answer. Where one answered greedily, its one answer stands for all."""
    ours, theirs = first.each, second.each
    count = max(len(ours), len(theirs))
    pairs = ((ours[at % len(ours)].scores, theirs[at % len(theirs)].scores) for at in range(count))
    return [a[figure] - b[figure] for a, b in pairs if figure in a and figure in b]


def smallest_difference(n: int, variance: float) -> float:
    """The true difference that `n` items show in 4 of 5 runs at alpha 0.05, two-sided, by the normal approximation.

    `variance` is that of one item's difference: ω² + σ²_A/K_A + σ²_B/K_B (Miller 2024, section 5).
    """
    if n < 1 or variance < 0:
        raise InvalidInput("needs items, and a variance")
    return (Z_TWO_SIDED + Z_POWER) * math.sqrt(variance / n)


def items_for(difference: float, variance: float) -> int:
    """Items that show a true `difference` so, the other way round."""
    if difference == 0 or variance < 0:
        raise InvalidInput("needs a difference that is not 0, and a variance")
    return max(1, math.ceil(((Z_TWO_SIDED + Z_POWER) / difference) ** 2 * variance))


def _check(k: int, n: int, right: int) -> None:
    if not (1 <= k <= n and 0 <= right <= n):
        raise InvalidInput(f"there are no {k} of {n} answers with {right} right")
