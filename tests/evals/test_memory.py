"""Memory grows by a little for each item, and by nothing else: no draw, table or second copy of what is kept."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from benchmarks.evaluation_memory import measured, workplace
from evals.asking.answers import AnswerStore
from evals.asking.spilled import _BLOCK
from evals.statistics.comparison import arm_result, comparisons
from tests.evals.asking.test_answers import CONDITIONS, answer
from tests.evals.statistics.test_comparison import measured as arm
from tests.evals.statistics.test_comparison import task


def peak_of(work) -> int:
    """Bytes at most, beyond what there was before."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["yes or no", "graded", "clusters"])
def test_statistics_work_in_some_hundred_bytes_an_item(kind: str) -> None:
    """10,000 draws with replacement took 0.23 MiB an item."""

    def peak(n: int) -> int:
        rng = np.random.default_rng(1)
        suite = task(n, [f"c{at // 2}" for at in range(n)] if kind == "clusters" else None)
        scores = [(rng.random(n) if kind == "graded" else rng.integers(0, 2, n)).astype(float) for _ in range(2)]
        arms = [arm(str(at), list(values)) for at, values in enumerate(scores)]
        return peak_of(lambda: ([arm_result(one, suite) for one in arms], comparisons(arms, suite)))

    peak(50)  # what is imported once
    small, large = peak(1_000), peak(4_000)
    assert (large - small) / 3_000 < 512


def test_answers_that_are_kept_are_not_in_memory_but_where_they_stand_is(tmp_path: Path) -> None:
    store = AnswerStore(tmp_path / "answers.jsonl")
    text = "x" * 10_000

    def keep() -> None:
        for number in range(100):
            store.add(answer(CONDITIONS.key("chat", str(number), {}), text=text))

    assert peak_of(keep) / 100 < 2_000
    key = CONDITIONS.key("chat", "7", {})
    assert store.get(key).text == text
    assert AnswerStore(store.path).get(key) == store.get(key)


def test_a_whole_run_holds_a_few_kibibytes_for_each_item_of_two_arms(tmp_path: Path) -> None:
    def peak(n: int) -> int:
        with workplace(tmp_path, n) as (config, registry, home):
            few = config.model_copy(update={"chunk": 4})  # as many are under way as in a run of any size
            return peak_of(lambda: measured(few, registry, home))

    peak(20)  # libraries
    # A block that was read, of each row, is in both, and so is a row of turns.
    assert (peak(300 + _BLOCK) - peak(300)) / _BLOCK < 10 * 1024
