"""Telemetry: bounded series, every request counted once."""

from __future__ import annotations

import pytest

from service.engine.interface import Tally
from service.observability import telemetry
from service.observability.telemetry import Telemetry


def page(made: Telemetry) -> dict[str, float]:
    lines = [line for line in made.page().decode().splitlines() if not line.startswith("#")]
    return {series: float(value) for series, value in (line.rsplit(" ", 1) for line in lines)}


def test_past_the_limit_versions_share_one_label(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "MAX_VERSIONS", 3)
    made = Telemetry()
    for at in range(10):
        made.request(f"triage:{at}", "chat").failed("not_found")
    values = page(made)
    assert values['dabt_requests_total{endpoint="chat",version="other"}'] == 7
    assert sum("dabt_requests_total" in series for series in values) == 4


def test_only_the_first_outcome_of_a_request_counts() -> None:
    made = Telemetry()
    request = made.request("triage:1", "chat")
    assert page(made)["dabt_requests_in_flight"] == 1
    request.done(Tally(prompt_tokens=5, completion_tokens=3))
    request.failed("disconnected")
    values = page(made)
    assert values["dabt_requests_in_flight"] == 0
    assert values['dabt_completion_tokens_total{version="triage:1"}'] == 3
    assert not any("dabt_request_errors_total{" in series for series in values)


def test_what_could_not_be_timed_is_left_out() -> None:
    made = Telemetry()
    made.request("triage:1", "chat").done(Tally(prompt_tokens=1, completion_tokens=1))
    values = page(made)
    assert 'dabt_time_to_first_token_seconds_count{version="triage:1"}' not in values
    assert values['dabt_request_seconds_count{version="triage:1"}'] == 1


def test_two_services_in_one_process_do_not_mix() -> None:
    one, other = Telemetry(), Telemetry()
    one.request("triage:1", "chat").failed("x")
    assert not any("triage" in series for series in page(other))
