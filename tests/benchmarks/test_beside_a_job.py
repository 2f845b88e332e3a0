"""The table of latencies beside a job: ratios of the turns of one run."""

from __future__ import annotations

from benchmarks.beside_a_job import table
from benchmarks.load import Ask, Run, Told

ASK = Ask("base_model", "hello", 1)


def turn(*seconds: float, failed: int = 0) -> Run:
    """Whole answers that took so long, their only token half-way."""
    told = [Told(ASK, 0.0, each, (1,), (each / 2,)) for each in seconds]
    return Run((*told, *[Told(ASK, 0.0, 1.0, error="503")] * failed))


def test_each_turn_is_held_against_the_one_before_it() -> None:
    alone = [turn(0.1, 0.1, 0.1), turn(0.2, 0.2, 0.2), turn(0.1, 0.1, 0.1)]
    beside = [turn(0.2, 0.2, 0.2), turn(0.2, 0.2, 0.2), turn(0.3, 0.3, 0.3)]
    lines = table(alone, beside).splitlines()
    assert lines[2:4] == [
        "| first token, p50 | 50 ms | 100 ms | 2.00 (1.00 to 3.00) |",
        "| first token, p95 | 50 ms | 100 ms | 2.00 (1.00 to 3.00) |",
    ]
    assert lines[4] == "| whole answer, p50 | 100 ms | 200 ms | 2.00 (1.00 to 3.00) |"


def test_requests_that_failed_are_counted() -> None:
    assert table([turn(0.1)], [turn(0.1, failed=2)]).splitlines()[-1] == "| requests failed | 0 | 2 | |"
