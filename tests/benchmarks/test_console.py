"""The table of what open pages cost: ratios of the turns of one run, beside what two turns differ anyway."""

from __future__ import annotations

from benchmarks.console import Turn, events_table
from tests.benchmarks.test_beside_a_job import turn


def test_each_turn_beside_open_pages_is_held_against_both_without_them() -> None:
    turns = [
        Turn(turn(0.1), turn(0.3), turn(0.2), events=100),
        Turn(turn(0.2), turn(0.2), turn(0.4, failed=1), events=100),
    ]
    lines = events_table(turns, pages=50).splitlines()
    assert lines[0] == "| | without | with 50 open pages | ratio (range) | without against without (range) |"
    assert lines[4] == "| whole answer, p50 | 150 ms | 300 ms | 1.50 (1.00 to 2.00) | 2.00 (1.00 to 3.00) |"
    assert lines[6] == "| requests failed | 0 | 1 | | |"
