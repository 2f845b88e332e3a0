"""The arithmetic of a result: ratios by round, medians, spreads and bars."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import report
from benchmarks.figures import Bar, Figure, ratio


def test_a_ratio_is_taken_round_by_round_so_that_a_slow_round_slows_both() -> None:
    found = ratio("mixed", "throughput / stock", [200.0, 100.0, 210.0], [100.0, 50.0, 100.0], Bar(at_least=1.9))
    assert found.rounds == (2.0, 2.0, 2.1)
    assert (found.middle, found.spread, found.passed) == (2.0, (2.0, 2.1), True)


def test_a_round_that_one_side_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratio("mixed", "throughput / stock", [1.0, 2.0], [1.0])


def test_a_figure_without_rounds_is_refused() -> None:
    with pytest.raises(ValueError, match="no round"):
        Figure("mixed", "failed", ())


@pytest.mark.parametrize(
    ("bar", "below", "at", "above"),
    [
        (Bar(at_least=0.97), False, True, True),
        (Bar(at_most=1.05), True, True, False),
        (Bar(at_most=0), True, True, False),
    ],
)
def test_a_bar_holds_at_its_own_value_and_on_its_side(bar: Bar, below: bool, at: bool, above: bool) -> None:
    value = bar.at_least if bar.at_least is not None else bar.at_most
    assert value is not None
    assert [bar.holds(value - 0.01), bar.holds(value), bar.holds(value + 0.01)] == [below, at, above]


def test_a_bar_has_exactly_one_side() -> None:
    for sides in ({}, {"at_least": 1.0, "at_most": 2.0}):
        with pytest.raises(ValueError, match="at least something, or at most"):
            Bar(**sides)


def test_the_median_is_held_against_the_bar_and_not_the_best_round() -> None:
    assert Figure("start", "seconds", (0.5, 0.7, 0.7), bar=Bar(at_most=0.6)).passed is False


def test_the_table_and_the_file_hold_every_figure_with_its_verdict(tmp_path: Path) -> None:
    figures = [
        ratio("mixed", "throughput / stock", [2.0, 2.2], [1.0, 1.0], Bar(at_least=1.9)),
        Figure("mixed", "answers unlike alone", (12.5,), "%", Bar(at_most=0)),
    ]
    said = StringIO()
    report.show(figures, Console(file=said, width=120))
    assert "does not hold" in said.getvalue()
    assert "2 … 2.2" in said.getvalue()
    report.write_json(figures, {"size": "tiny"}, tmp_path / "result.json")
    kept = json.loads((tmp_path / "result.json").read_text())
    assert [(one["what"], one["passed"]) for one in kept["figures"]] == [
        ("throughput / stock", True),
        ("answers unlike alone", False),
    ]
    assert kept["figures"][0]["left"] == [2.0, 2.2]
