"""Columns say what the outcomes say, and are all that figures, comparisons and slices read of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from evals.asking import spilled
from evals.asking.columns import Columns
from evals.asking.measure import ItemResult, MeasuredArm
from evals.asking.spilled import Spilled
from evals.config import EvalConfig
from evals.run import _examples
from evals.statistics.comparison import arm_result, comparisons
from evals.statistics.slices import slices
from tests.evals.statistics.test_slices import arm, suite

TOOK = {"latency": 2.0, "prompt_tokens": 3, "completion_tokens": 5}


def outcome(score: float | None = None, **more: object) -> ItemResult:
    return ItemResult.model_validate({"answer": "", "scores": {} if score is None else {"f": score}, **TOOK, **more})


OUTCOMES = [
    outcome(1.0),
    outcome(unscored={"f": "late"}, cut=True),
    ItemResult.of([outcome(0.0), outcome(1.0, error="HTTP 500"), outcome(unscored={"g": "odd", "f": "late"})]),
    outcome(0.25, unscored={"g": "odd"}),
]


def test_they_say_what_the_outcomes_say() -> None:
    columns = Columns.of(OUTCOMES)
    assert columns.having("f") == [0, 2, 3]
    assert columns.having("no such figure") == []
    assert columns.scores["f"][[0, 2, 3]].tolist() == [1.0, 0.5, 0.25]
    assert math.isnan(columns.scores["f"][1])
    assert (columns.sizes.tolist(), columns.several) == ([1, 1, 3, 1], True)
    assert columns.took.tolist() == [[2.0, 3.0, 5.0]] * 6
    assert columns.failed.tolist() == [False, False, False, True, False, False]
    assert columns.cut.tolist() == [False, True, False, False, False, False]
    assert columns.reasons() == {"f": {"late": 2}, "g": {"odd": 2}}


@pytest.mark.parametrize("places", [[], [0], [1, 2], [0, 3], [0, 1, 2, 3]])
def test_of_some_items_they_are_those_of_these_outcomes(places: list[int]) -> None:
    part, alone = Columns.of(OUTCOMES).at(places), Columns.of([OUTCOMES[at] for at in places])
    assert part.having("f") == alone.having("f")
    for name in alone.scores:
        np.testing.assert_array_equal(part.scores[name], alone.scores[name])
    for field in ("sizes", "took", "failed", "cut"):
        np.testing.assert_array_equal(getattr(part, field), getattr(alone, field))
    assert part.reasons() == alone.reasons()


class Counted(Spilled[ItemResult]):
    """Counts how often it was read from its beginning to its end, and how many single things were."""

    passes = single = 0

    def __iter__(self) -> Iterator[ItemResult]:
        self.passes += 1
        return super().__iter__()

    def __getitem__(self, at: object) -> object:  # type: ignore[override]
        self.single += 1
        return super().__getitem__(at)  # type: ignore[call-overload]


def test_all_figures_comparisons_and_slices_read_the_outcomes_once() -> None:
    items = suite(*({"language": "ar" if at % 2 else "latin"} for at in range(40)))
    arms = [arm("base", *[0, 1] * 20), arm("better", *[1] * 40)]
    kept = [Counted(measured.outcomes) for measured in arms]
    arms = [replace(measured, outcomes=outcomes) for measured, outcomes in zip(arms, kept, strict=True)]
    assert all(arm_result(measured, items).metrics["exact"].n == 40 for measured in arms)
    assert comparisons(arms, items)[0].delta == 0.5
    assert [part.n for part in slices(arms, items, "base", ())] == [20, 20]
    assert [(outcomes.passes, outcomes.single) for outcomes in kept] == [(1, 0), (1, 0)]


def test_choosing_examples_reads_each_block_once_and_those_of_the_examples(
    monkeypatch: pytest.MonkeyPatch, config: EvalConfig
) -> None:
    monkeypatch.setattr(spilled, "_BLOCK", 10)
    items = suite(*[{}] * 500)
    arms: list[MeasuredArm] = [arm("base", *[0] * 500), arm("better", *[0, 1] * 250)]
    arms = [replace(measured, outcomes=Spilled(measured.outcomes)) for measured in arms]
    loads, load = [0], spilled.pickle.loads

    def counted(data: bytes) -> object:
        loads[0] += 1
        return load(data)

    monkeypatch.setattr(spilled.pickle, "loads", counted)
    chosen = _examples(config, items, arms)
    assert len(chosen) == config.examples
    assert any(example.scores == {"base": 0.0, "better": 1.0} for example in chosen)
    assert loads[0] <= 2 * (50 + config.examples)
