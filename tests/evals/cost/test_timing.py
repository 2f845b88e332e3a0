"""An arm's times, from what was measured of each item."""

from __future__ import annotations

import pytest

from evals.asking.measure import ItemResult
from evals.cost.timing import busy_seconds, percentiles, timing_of


def item(began: float, took: float, *, first: float | None = None, error: str = "", tokens: int = 10) -> ItemResult:
    return ItemResult(
        answer="x",
        scores={},
        latency=took,
        prompt_tokens=100,
        completion_tokens=tokens,
        first_token=first,
        error=error,
        spans=((began, began + took),),
    )


def test_busy_seconds_are_the_union_of_the_spans_whatever_their_order() -> None:
    assert busy_seconds({"a": [(5.0, 6.0), (0.0, 2.0), (1.0, 3.0), (1.5, 1.6)]}) == {"a": pytest.approx(4.0)}
    assert busy_seconds({"a": []}) == {"a": 0.0}


def test_where_two_arms_turns_meet_each_has_its_share_and_no_second_counts_twice() -> None:
    shared = busy_seconds({"a": [(0.0, 2.0)], "b": [(1.0, 3.0), (1.0, 2.0)]})
    assert shared == {"a": pytest.approx(1 + 1 / 3), "b": pytest.approx(1 + 2 / 3)}


def test_throughput_leaves_out_the_turns_of_other_arms_and_a_night_between_two_parts_of_a_run() -> None:
    at_once = [item(0.0, 2.0), item(0.0, 2.0)]
    next_day = [item(86_400.0, 2.0), item(86_400.0, 2.0)]
    timing = timing_of([*at_once, *next_day], 2)
    assert timing is not None
    assert (timing.busy, timing.items_per_second, timing.tokens_per_second) == (4.0, 1.0, 10.0)
    assert timing.concurrency == 2


def test_a_refusal_is_in_no_figure_and_an_arm_that_answers_nothing_has_none() -> None:
    timing = timing_of([item(0.0, 2.0), item(5.0, 0.01, error="HTTP 400")], 1)
    assert timing is not None
    assert (timing.latency.p50, timing.busy, timing.latency.n) == (2.0, 2.0, 1)
    assert timing_of([item(0.0, 0.1, error="HTTP 400")], 1) is None


def test_the_first_token_is_the_endpoints_own_word_and_nothing_where_it_does_not_say() -> None:
    told = timing_of([item(0.0, 2.0, first=0.25), item(2.0, 2.0)], 1)
    assert told is not None
    assert told.first_token is not None
    assert (told.first_token.p50, told.first_token.n) == (0.25, 1)
    silent = timing_of([item(0.0, 2.0)], 1)
    assert silent is not None
    assert silent.first_token is None


def test_percentiles_are_those_of_all_items() -> None:
    of = percentiles([float(value) for value in range(101)])
    assert (of.p50, of.p95, of.p99, of.n) == (50.0, 95.0, 99.0, 101)
