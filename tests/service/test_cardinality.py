"""How many series there may be: bounded, whatever callers do and however long the service runs."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest

from service.engine.interface import Tally
from service.observability import telemetry
from service.observability.cardinality import IDLE_SECONDS, Bounded
from service.observability.telemetry import Telemetry
from service.request_context import RequestContext

TALLY = Tally(prompt_tokens=1, completion_tokens=1, queue=0.1, first_token=0.1, per_token=0.1)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_first_values_have_series_and_the_rest_share_one() -> None:
    bounded = Bounded("version", 2, Clock())
    assert [bounded(value) for value in ("a", "b", "c", "a", "c", "b")] == ["a", "b", "other", "a", "other", "b"]


def test_a_value_in_use_never_gives_way() -> None:
    clock = Clock()
    bounded = Bounded("version", 2, clock)
    for _ in range(10):
        assert [bounded(value) for value in ("a", "b", "c")] == ["a", "b", "other"]
        clock.now += IDLE_SECONDS / 2


def test_a_value_that_nobody_uses_gives_its_place_and_its_series_to_the_next() -> None:
    clock, registry = Clock(), CollectorRegistry()
    bounded = Bounded("version", 2, clock)
    counter = Counter("asked", "", ["version", "code"], registry=registry)
    bounded.covers(counter)
    for value, code in (("old", "x"), ("old", "y"), ("used", "x")):
        counter.labels(bounded(value), code).inc()
    clock.now = IDLE_SECONDS
    bounded("used")
    assert bounded("new") == "new"
    counter.labels("new", "x").inc()
    page = generate_latest(registry).decode()
    assert "old" not in page
    assert 'asked_total{code="x",version="used"} 1.0' in page
    assert bounded("old") == "other", "both places are in use again"


def test_the_page_stops_growing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "MAX_VERSIONS", 30)
    monkeypatch.setattr(telemetry, "MAX_TIMED_VERSIONS", 3)
    monkeypatch.setattr(telemetry, "MAX_KEYS", 5)
    made = Telemetry()
    sizes = []
    for at in range(100):
        measured = made.request(f"triage:{at}", "chat")
        measured.done(TALLY)
        made.answered(RequestContext(key_id=f"key-{at}", figures=measured), "/v1/chat/completions", 200)
        sizes.append(made.page().count(b"\n"))
    assert sizes[29] < sizes[30]
    assert sizes[31] == sizes[-1]
    page = made.page().decode()
    assert 'dabt_requests_total{endpoint="chat",version="other"} 70.0' in page
    assert 'dabt_key_requests_total{key="other"} 95.0' in page
    assert 'dabt_request_seconds_count{version="other"} 97.0' in page


def test_what_the_bounds_allow_is_a_page_of_a_size_that_a_scrape_can_take() -> None:
    """Versions and keys to the limit of each, two endpoints and two codes: the lines that this can come to."""
    made = Telemetry()
    for at in range(max(telemetry.MAX_VERSIONS, telemetry.MAX_KEYS) + 1):
        for endpoint, code in (("chat", "overloaded"), ("completion", "invalid_input")):
            made.request(f"triage:{at}", endpoint).failed(code)  # type: ignore[arg-type]
        measured = made.request(f"triage:{at}", "chat")
        measured.done(TALLY)
        made.answered(RequestContext(key_id=f"key-{at}", code="not_found"), "/v1/chat/completions", 404)
        made.answered(RequestContext(key_id=f"key-{at}", figures=measured), "/v1/chat/completions", 200)
    assert made.page().count(b"\n") < 20_000
