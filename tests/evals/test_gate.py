"""Each rule of a policy passes and fails where it should, and the verdict is bound to what it judged."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from evals.gate import Policy, check, difference, judge
from lifecycle.errors import NotFound
from lifecycle.report import Interval

AT = datetime(2026, 1, 2, tzinfo=UTC)
PERFECT, POOR = Interval(value=1.0, low=0.91, high=1.0, n=40), Interval(value=0.95, low=0.83, high=0.99, n=40)


def policy(*rules: dict[str, Any]) -> Policy:
    return Policy.model_validate({"name": "test", "rules": rules})


def passed(report, rule: dict[str, Any], arm: str = "adapter") -> list[bool]:
    return [one.passed for one in check(report, policy(rule), arm)]


@pytest.mark.parametrize(("adapter", "by", "passes"), [(0.70, 0.0, True), (0.52, 0.0, False), (0.70, 0.2, False)])
def test_an_arm_must_beat_the_base_by_its_whole_interval(make_report, adapter, by, passes) -> None:
    report = make_report({"base": 0.5, "adapter": adapter})
    assert passed(report, {"rule": "beats", "arm": "base", "by": by}) == [passes]


def test_a_lead_that_holms_correction_takes_away_does_not_beat(make_report) -> None:
    report = make_report({"base": 0.5, "adapter": 0.6})
    weak = tuple(one.model_copy(update={"p_adjusted": 0.2}) for one in report.comparisons)
    assert passed(report, {"rule": "beats"}) == [True]
    assert passed(report.model_copy(update={"comparisons": weak}), {"rule": "beats"}) == [False]


@pytest.mark.parametrize(("adapter", "margin", "passes"), [(0.60, 0.02, True), (0.59, 0.02, False), (0.59, 0.05, True)])
def test_an_arm_may_not_lose_more_than_the_margin(make_report, adapter, margin, passes) -> None:
    report = make_report({"base": 0.1, "rag": 0.585, "adapter": adapter})
    assert passed(report, {"rule": "not_worse", "arms": ["rag"], "margin": margin}) == [passes]


def test_every_named_rival_is_checked_and_an_arm_is_none_to_itself(make_report) -> None:
    report = make_report({"base": 0.1, "few-shot": 0.9, "rag": 0.5})
    checks = check(report, policy({"rule": "not_worse", "arms": ["few-shot", "rag"]}), "rag")
    assert [(one.rule, one.passed) for one in checks] == [("does not lose to few-shot", False)]


def test_a_comparison_made_the_other_way_round_is_turned(make_report) -> None:
    report = make_report({"adapter": 0.9, "base": 0.5})
    assert report.comparisons[0].arm == "base"
    turned = difference(report, "adapter", "base")
    assert turned is not None
    assert (turned.delta, turned.low, turned.high) == pytest.approx((0.4, 0.37, 0.43))
    assert passed(report, {"rule": "beats"}) == [True]


@pytest.mark.parametrize(
    "rule", [{"rule": "beats"}, {"rule": "not_worse", "arms": ["base"]}, {"rule": "latency", "times": 9}]
)
def test_a_rival_that_was_not_measured_is_not_beaten(make_report, rule) -> None:
    report = make_report({"rag": 0.5, "adapter": 0.9})
    checks = check(report, policy(rule), "adapter")
    assert not checks[0].passed
    assert "'base' was not measured" in checks[0].detail


def test_the_arm_to_beat_does_not_beat_itself(make_report) -> None:
    report = make_report({"base": 0.5, "adapter": 0.9})
    assert passed(report, {"rule": "beats", "arm": "adapter"}) == [False]


@pytest.mark.parametrize(
    ("figure", "judge_by", "passes"), [(PERFECT, "low", True), (POOR, "low", False), (POOR, "value", True)]
)
def test_safety_is_judged_by_the_end_of_the_interval_that_the_policy_names(
    make_report, figure, judge_by, passes
) -> None:
    report = make_report({"base": 0.5, "adapter": 0.9}, safety={"base": POOR, "adapter": figure})
    rule = {"rule": "safety", "value": 0.9, "judge_by": judge_by}
    assert passed(report, rule) == [passes]


def test_a_declared_safety_figure_without_any_item_fails(make_report) -> None:
    report = make_report({"base": 0.5, "adapter": 0.9}, safety_metric="escalation_recall")
    assert passed(report, {"rule": "safety", "value": 0.1}) == [False]


def test_a_task_without_a_safety_figure_says_so_and_passes(make_report) -> None:
    (one,) = check(make_report({"base": 0.5, "adapter": 0.9}), policy({"rule": "safety", "value": 0.9}), "adapter")
    assert one.passed
    assert "declares no safety figure" in one.detail


@pytest.mark.parametrize(
    ("metric", "value", "passes"), [("fields", 0.9, True), ("fields", 0.91, False), ("valid_json", 0.1, False)]
)
def test_a_metric_must_reach_its_bound(make_report, metric, value, passes) -> None:
    report = make_report({"base": 0.5, "adapter": 0.9})
    assert passed(report, {"rule": "at_least", "metric": metric, "value": value}) == [passes]


@pytest.mark.parametrize(("value", "passes"), [(0.9, True), (0.91, False)])
def test_a_floor_without_a_metric_lies_under_the_deciding_one(make_report, value, passes) -> None:
    report = make_report({"base": 0.5, "adapter": 0.9})
    assert passed(report, {"rule": "at_least", "value": value}) == [passes]


@pytest.mark.parametrize(("p95", "passes"), [(2.0, True), (2.01, False)])
def test_latency_is_bounded_by_the_bases(make_report, p95, passes) -> None:
    report = make_report({"base": 0.5, "adapter": 0.9})
    slow = report.arms[1].model_copy(update={"latency_p95": p95})
    report = report.model_copy(update={"arms": (report.arms[0], slow)})
    assert passed(report, {"rule": "latency", "times": 2.0}) == [passes]


@pytest.mark.parametrize(("n", "passes"), [(100, True), (99, False)])
def test_too_few_items_do_not_pass(make_report, n, passes) -> None:
    report = make_report({"base": 0.5, "adapter": 0.9}, n=n)
    assert passed(report, {"rule": "items", "at_least": 100}) == [passes]


@pytest.mark.parametrize(("errors", "passes"), [(2, True), (3, False)])
def test_failed_requests_are_bounded(make_report, errors, passes) -> None:
    report = make_report({"base": 0.5, "adapter": 0.9}, n=200)
    failing = report.arms[1].model_copy(update={"errors": errors})
    report = report.model_copy(update={"arms": (report.arms[0], failing)})
    assert passed(report, {"rule": "errors", "at_most": 0.01}) == [passes]


def test_one_failed_rule_rejects_and_the_verdict_names_all_it_is_bound_to(make_report) -> None:
    report = make_report({"base": 0.5, "adapter": 0.9})
    rules = policy({"rule": "beats"}, {"rule": "items", "at_least": 1_000})
    verdict = judge(report, rules, "adapter", at=AT)
    assert [one.passed for one in verdict.checks] == [True, False]
    assert not verdict.passed
    assert verdict.version_digest == report.arms[1].version_digest
    assert verdict.evaluation_digest == report.digest
    assert verdict.policy_digest == rules.digest
    assert judge(report, policy({"rule": "beats"}), "adapter", at=AT).passed


def test_judging_is_pure(make_report) -> None:
    report = make_report({"base": 0.5, "adapter": 0.9})
    assert judge(report, policy({"rule": "beats"}), "adapter", at=AT) == judge(
        report, policy({"rule": "beats"}), "adapter", at=AT
    )


def test_an_unknown_arm_is_not_found_with_the_arms_that_there_are(make_report) -> None:
    with pytest.raises(NotFound, match="base, adapter"):
        judge(make_report({"base": 0.5, "adapter": 0.9}), policy({"rule": "beats"}), "hybrid", at=AT)


@pytest.mark.parametrize(
    "rules", [[], [{"rule": "wins"}], [{"rule": "safety"}], [{"rule": "items", "at_least": 5, "x": 1}]]
)
def test_a_policy_that_says_nothing_or_nonsense_is_refused(rules) -> None:
    with pytest.raises(ValidationError):
        Policy.model_validate({"rules": rules})
