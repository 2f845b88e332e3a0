"""The series as numbers: by version, apart by bucket, and quantiles that agree with what was observed."""

from __future__ import annotations

import random

import pytest

from service.observability.counted import NOTHING, SECONDS, Counted, quantile
from service.observability.telemetry import Telemetry
from service.request_context import Tally


def asked(telemetry: Telemetry, version: str, *, tokens: int = 2, failed: str = "") -> None:
    figures = telemetry.request(version, "chat")
    if failed:
        figures.failed(failed)
    else:
        figures.done(Tally(prompt_tokens=3, completion_tokens=tokens, first_token=0.02, per_token=0.01, queue=0.001))


def test_requests_errors_and_tokens_are_told_by_version_over_endpoints_and_codes():
    telemetry = Telemetry()
    asked(telemetry, "triage:1")
    asked(telemetry, "triage:1", failed="overloaded")
    asked(telemetry, "triage:1", failed="too_slow")
    asked(telemetry, "tiny", tokens=7)
    counts = telemetry.counted()
    assert (counts["triage:1"].requests, counts["triage:1"].errors) == (3, 2)
    assert (counts["tiny"].prompt_tokens, counts["tiny"].completion_tokens) == (3, 7)
    assert sum(counts["triage:1"].first_token) == sum(counts["triage:1"].per_token) == 1


def test_what_came_between_two_readings_is_their_difference_and_a_sum_takes_it_back():
    telemetry = Telemetry()
    asked(telemetry, "triage:1")
    before = telemetry.counted()["triage:1"]
    asked(telemetry, "triage:1")
    after = telemetry.counted()["triage:1"]
    assert before + (after - before) == after
    assert (after - before).requests == 1
    assert after - after == NOTHING


def test_a_series_that_began_again_is_counted_from_its_beginning():
    assert Counted(requests=2) - Counted(requests=90, errors=3) == Counted(requests=2)


def test_a_quantile_is_within_its_values_bucket_and_none_of_nothing():
    rng = random.Random(7)
    values = sorted(rng.lognormvariate(-1, 1) for _ in range(2000))
    bounds = (0.0, *SECONDS)
    buckets = [sum(1 for value in values if low < value <= high) for low, high in zip(bounds, SECONDS, strict=False)]
    buckets.append(sum(1 for value in values if value > SECONDS[-1]))
    for share in (0.01, 0.5, 0.95, 1.0):
        told, true = quantile(tuple(buckets), SECONDS, share), values[int(share * 2000) - 1]
        assert told is not None
        place = next(place for place, bound in enumerate(SECONDS) if true <= bound)
        assert bounds[place] <= told <= SECONDS[place]
    assert quantile((), SECONDS, 0.5) is None


def test_a_quantile_above_all_bounds_is_the_last_bound():
    assert quantile((*([0] * len(SECONDS)), 5), SECONDS, 0.5) == SECONDS[-1]


@pytest.mark.parametrize(
    ("buckets", "share", "told"), [((0, 10), 0.5, 1.5), ((5, 5), 0.5, 1.0), ((4, 0, 4), 0.25, 0.5)]
)
def test_values_are_spread_evenly_within_a_bucket(buckets: tuple[int, ...], share: float, told: float):
    bounds = (1.0, 2.0, 3.0)[: max(2, len(buckets))]
    whole = (*buckets, *([0] * (len(bounds) + 1 - len(buckets))))
    assert quantile(whole, bounds, share) == pytest.approx(told)
