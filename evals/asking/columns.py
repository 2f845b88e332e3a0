"""What the statistics read of an arm's outcomes again and again, as columns of numbers: one pass over the outcomes,
which lie on a disk, in place of one for each figure of each slice.

Of an item and figure they take eight bytes, of an item four more, and of an answer 26.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Answered(Protocol):
    """What is read of a single answer: see `measure.ItemResult`."""

    @property
    def latency(self) -> float: ...
    @property
    def prompt_tokens(self) -> int: ...
    @property
    def completion_tokens(self) -> int: ...
    @property
    def error(self) -> str: ...
    @property
    def cut(self) -> bool: ...
    @property
    def unscored(self) -> Mapping[str, str]: ...


class Outcome(Protocol):
    """And of an item."""

    @property
    def scores(self) -> Mapping[str, float]: ...
    @property
    def each(self) -> Sequence[Answered]: ...


@dataclass(frozen=True)
class Columns:
    """A place for each item, or for each answer where it says so."""

    scores: Mapping[str, Floats]
    """By figure; NaN where an item has none."""
    sizes: NDArray[np.int32]
    """Answers to each item."""
    took: Floats
    """Of each answer: seconds, prompt tokens, completion tokens."""
    failed: NDArray[np.bool_]
    """Of each answer."""
    cut: NDArray[np.bool_]
    """Of each answer: ended by its limit of tokens."""
    unscored: Mapping[tuple[str, str], NDArray[np.int64]]
    """Figure and why an answer has no number for it → the places of these answers."""

    @classmethod
    def of(cls, outcomes: Iterable[Outcome]) -> Columns:
        scores: dict[str, array[float]] = {}
        sizes, took = array("i"), array("d")
        failed, cut = bytearray(), bytearray()
        unscored: dict[tuple[str, str], array[int]] = {}
        for place, outcome in enumerate(outcomes):
            for name, value in outcome.scores.items():
                _filled(scores.setdefault(name, array("d")), place).append(value)
            sizes.append(len(outcome.each))
            for answer in outcome.each:
                for why in answer.unscored.items():
                    unscored.setdefault(why, array("q")).append(len(failed))
                took.extend((answer.latency, answer.prompt_tokens, answer.completion_tokens))
                failed.append(bool(answer.error))
                cut.append(answer.cut)
        return cls(
            scores={name: np.frombuffer(_filled(column, len(sizes))) for name, column in scores.items()},
            sizes=np.frombuffer(sizes, dtype=np.int32) if sizes else np.empty(0, dtype=np.int32),
            took=(np.frombuffer(took) if took else np.empty(0)).reshape(-1, 3),
            failed=np.frombuffer(failed, dtype=np.bool_),
            cut=np.frombuffer(cut, dtype=np.bool_),
            unscored={why: np.frombuffer(answers, dtype=np.int64) for why, answers in unscored.items()},
        )

    @property
    def several(self) -> bool:
        """Whether an item was asked several times."""
        return bool((self.sizes > 1).any())

    def having(self, figure: str) -> list[int]:
        """The places of the items that have it."""
        column = self.scores.get(figure)
        return [] if column is None else np.flatnonzero(~np.isnan(column)).tolist()

    def answers(self, places: Sequence[int]) -> NDArray[np.int64]:
        """The places of the answers to these items."""
        chosen = np.asarray(places, dtype=np.int64)
        if not self.several:
            return chosen
        ends = np.cumsum(self.sizes, dtype=np.int64)
        return np.concatenate([np.arange(ends[at] - self.sizes[at], ends[at]) for at in chosen] or [chosen])

    def at(self, places: Sequence[int]) -> Columns:
        """Of the items at these places, in this order."""
        chosen, answers = np.asarray(places, dtype=np.int64), self.answers(places)
        where = np.full(len(self.failed), -1, dtype=np.int64)
        where[answers] = np.arange(len(answers))
        unscored = {why: np.sort(where[those][where[those] >= 0]) for why, those in self.unscored.items()}
        return Columns(
            scores={name: column[chosen] for name, column in self.scores.items()},
            sizes=self.sizes[chosen],
            took=self.took[answers],
            failed=self.failed[answers],
            cut=self.cut[answers],
            unscored={why: those for why, those in unscored.items() if len(those)},
        )

    def reasons(self) -> dict[str, dict[str, int]]:
        """Figure → why answers have no number for it → how many."""
        counts: dict[str, dict[str, int]] = {}
        for (name, reason), answers in sorted(self.unscored.items(), key=lambda told: int(told[1][0])):
            counts.setdefault(name, {})[reason] = len(answers)
        return counts


def _filled(column: array[float], length: int) -> array[float]:
    """So long, with NaN for what is lacking."""
    column.extend([math.nan] * (length - len(column)))
    return column
