"""How the pauses of a stream are told from its steps."""

from __future__ import annotations

from benchmarks.figures import Bar
from benchmarks.scenarios.stall import _figures, _longest

STEPS = [(0.0, 1.0), (1.0, 2.0), (2.0, 5.0), (5.0, 6.0), (6.0, 7.0)]


def test_a_pause_counts_when_it_began_before_the_load_or_ends_after_it() -> None:
    assert _longest(STEPS, (4.5, 5.5)) == 3.0
    assert _longest(STEPS, (1.5, 2.5)) == 3.0
    assert _longest(STEPS, (5.1, 6.5)) == 1.0


def test_what_a_load_adds_is_told_in_usual_steps() -> None:
    usual, between, added = _figures("stall", STEPS, [(2.5, 4.0)], [(5.5, 6.5)], Bar(at_most=1))
    assert (usual.middle, between.middle, added.middle) == (1000.0, 1.0, 2.0)
    assert added.passed is False
