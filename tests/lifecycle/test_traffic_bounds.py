"""The policy of an alias: what it is when nothing is said, and the first and last value of each bound."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from lifecycle.errors import InvalidInput
from lifecycle.traffic import CanaryBounds, Shadow, TrafficPolicy, parse_share


def test_what_is_not_said_of_a_canary():
    bounds = CanaryBounds(max_error_rate=0.1)
    assert (bounds.min_requests, bounds.window, bounds.false_removals) == (20, 100, 0.01)
    assert (bounds.max_ttft_ratio, bounds.max_total_ratio, bounds.guards, bounds.answer_schema) == (
        None,
        None,
        {},
        None,
    )
    assert TrafficPolicy() == TrafficPolicy(canary=None, shadow=None)


def test_what_is_not_said_of_a_shadow():
    shadow = Shadow(version=1)
    assert (shadow.share, shadow.record_bodies) == (1.0, False)


@pytest.mark.parametrize(
    ("field", "first", "last"),
    [("min_requests", 1, None), ("window", 20, 10_000)],
)
def test_each_number_has_its_least_and_its_largest(field, first, last):
    for value in filter(None, (first, last)):
        assert getattr(CanaryBounds.model_validate({"max_error_rate": 0.1, field: value}), field) == value
    for value in [first - 1, *([last + 1] if last else [])]:
        with pytest.raises(ValidationError):
            CanaryBounds.model_validate({"max_error_rate": 0.1, field: value})


@pytest.mark.parametrize(("every", "chance"), [(100_000, 0.01), (1_000_000, 0.001), (2_000, 0.5), (1_000, 0.5)])
def test_what_an_earlier_release_wrote_of_false_alarms_is_read_as_a_chance(every, chance):
    """In the registry the whole policy is kept, defaults too."""
    bounds = CanaryBounds.model_validate({"max_error_rate": 0.1, "false_alarm_every": every})
    assert bounds.false_removals == chance
    assert "false_alarm_every" not in bounds.model_dump()


@pytest.mark.parametrize("every", [999, "often", None, {"false_removals": 0.01}])
def test_false_alarms_as_no_release_wrote_them_are_refused(every):
    more = every if isinstance(every, dict) else {}
    value = 100_000 if isinstance(every, dict) else every
    with pytest.raises(ValidationError, match="false_alarm_every"):
        CanaryBounds.model_validate({"max_error_rate": 0.1, "false_alarm_every": value, **more})


def test_a_version_is_at_least_1():
    assert Shadow(version=1).version == 1
    with pytest.raises(ValidationError):
        Shadow(version=0)


@pytest.mark.parametrize("share", [0.0, 1.0 + 1e-9])
def test_a_shadows_share_is_above_0_and_at_most_1(share):
    assert Shadow(version=1, share=1.0).share == 1.0
    with pytest.raises(ValidationError):
        Shadow(version=1, share=share)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_a_rates_bound_is_above_0_and_below_1(rate):
    for where in ({"max_error_rate": rate}, {"guards": {"empty": rate}}, {"max_ttft_ratio": 2, "false_removals": rate}):
        with pytest.raises(ValidationError):
            CanaryBounds.model_validate(where)


@pytest.mark.parametrize("ratio", [0.0, -1.0, float("inf"), float("nan")])
@pytest.mark.parametrize("field", ["max_ttft_ratio", "max_total_ratio"])
def test_a_ratio_of_times_is_a_number_above_0(field, ratio):
    assert getattr(CanaryBounds.model_validate({field: 0.1}), field) == 0.1
    with pytest.raises(ValidationError):
        CanaryBounds.model_validate({field: ratio})


def test_what_is_watched_is_named_in_one_order():
    everything = {
        "guards": {"empty": 0.1, "cut_off": 0.2},
        "max_total_ratio": 2,
        "max_ttft_ratio": 3,
        "max_error_rate": 0.1,
    }
    assert CanaryBounds.model_validate(everything).names == ("error_rate", "ttft", "total", "empty", "cut_off")
    assert CanaryBounds(max_total_ratio=2).names == ("total",)


@pytest.mark.parametrize(
    ("bounds", "is_one"),
    [
        ({}, False), ({"guards": {}}, False), ({"guards": {"empty": 0.1}}, True), ({"max_ttft_ratio": 2}, True),
        ({"guards": {"off_schema": 0.1}}, False), ({"max_error_rate": 0.1, "answer_schema": {}}, False),
        ({"guards": {"off_schema": 0.1}, "answer_schema": {}}, True),
    ],
)  # fmt: skip
def test_bounds_bound_something_and_a_schema_goes_with_its_guard(bounds, is_one):
    if is_one:
        CanaryBounds.model_validate(bounds)
    else:
        with pytest.raises(ValidationError):
            CanaryBounds.model_validate(bounds)


@pytest.mark.parametrize(
    ("schema", "fault"),
    [
        ({"type": "nonsense"}, "is no JSON Schema"),
        ({"properties": {"a": {"$ref": "#/$defs/none"}}}, "#/\\$defs/none leads to nothing"),
        ({"allOf": [{}, {"items": {"$ref": "https://example.com/s"}}]}, "example.com/s leads to nothing"),
        ({"properties": {"$ref": {"$ref": "#/no"}}}, "#/no leads to nothing"),
    ],
)
def test_a_schema_that_cannot_be_used_as_it_stands_is_refused(schema, fault):
    with pytest.raises(ValidationError, match=fault):
        CanaryBounds.model_validate({"guards": {"off_schema": 0.1}, "answer_schema": schema})


def test_a_schemas_references_may_lead_inside_it():
    schema = {"$defs": {"word": {"type": "string"}}, "properties": {"a": {"$ref": "#/$defs/word"}}}
    bounds = CanaryBounds.model_validate({"guards": {"off_schema": 0.1}, "answer_schema": schema})
    assert bounds.answer_schema == schema


@pytest.mark.parametrize(
    ("text", "share"),
    [("10%", 0.1), ("0.1", 0.1), ("100%", 1.0), ("1", 1.0), (" 25% ", 0.25), ("0.5%", 0.005), ("1.0", 1.0)],
)
def test_a_share_is_a_percentage_or_a_part_of_1(text, share):
    assert parse_share(text) == share


@pytest.mark.parametrize("text", ["0", "0%", "101%", "1.01", "-1", "-10%", "ten", "", ".5", "10%%", "1e-1", "nan"])
def test_what_is_no_share_is_refused(text):
    with pytest.raises(InvalidInput, match="10%, or a part of 1"):
        parse_share(text)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("field", ["max_error_rate", "max_ttft_ratio", "max_total_ratio", "guards"])
def test_no_bound_is_without_a_number(field, value):
    with pytest.raises(ValidationError):
        CanaryBounds.model_validate({field: {"empty": value} if field == "guards" else value})
    with pytest.raises(ValidationError):
        Shadow(version=1, share=value)
