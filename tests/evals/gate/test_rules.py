"""Each rule of a policy passes, fails and leaves open where it should, at its exact bounds and with its defaults."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from evals.gate.policy import Policy, check
from evals.statistics.exact import upper_bound
from lifecycle.deployment import Deployment
from lifecycle.errors import InvalidConfig
from lifecycle.report import Failures, Interval, Report
from lifecycle.verdict import Check, Ruling
from lifecycle.version import digest_of

PASSED, FAILED, UNDECIDED = Ruling.PASSED, Ruling.FAILED, Ruling.UNDECIDED
PERFECT, POOR = Interval(value=1.0, low=0.91, high=1.0, n=40), Interval(value=0.95, low=0.83, high=0.99, n=40)
LEVEL = 2 * 0.5**7
"""As `alpha`: the first try of one candidate may use half of it, which is what seven wins and no loss have."""


def checks(report: Report, rule: dict[str, Any], arm: str = "adapter", **policy: Any) -> list[Check]:
    """The checks of this one rule."""
    found = check(report, Policy.model_validate({"rules": [rule], **policy}), [arm])[arm]
    implied = {"errors", "clusters", "tries"} - {rule["rule"]}
    return [one for one in found if one.rule not in implied]


def rulings(report: Report, rule: dict[str, Any], arm: str = "adapter", **policy: Any) -> list[Ruling]:
    return [one.ruling for one in checks(report, rule, arm, **policy)]


def counted(make_report, wins: int, losses: int, n: int = 200) -> Report:
    """Two arms with these wins and losses of the adapter."""
    values = {"base": 0.5, "adapter": 0.5 + (wins - losses) / n}
    return make_report(values, n=n, comparisons=(make_report.shares("adapter", "base", wins, losses, n),))


# beats


@pytest.mark.parametrize(
    ("adapter", "by", "ruling"),
    [(0.70, 0.0, PASSED), (0.52, 0.0, UNDECIDED), (0.70, 0.2, UNDECIDED), (0.3, 0.0, FAILED)],
)
def test_an_arm_must_be_shown_to_be_better(make_report, adapter, by, ruling) -> None:
    report = make_report({"base": 0.5, "adapter": adapter})
    assert rulings(report, {"rule": "beats", "arm": "base", "by": by}) == [ruling]


def test_beats_is_against_the_base_by_anything_unless_it_says_more(make_report) -> None:
    report = make_report({"base": 0.5, "adapter": 0.6})
    assert checks(report, {"rule": "beats"}) == checks(report, {"rule": "beats", "arm": "base", "by": 0.0})


def test_a_lead_is_tested_against_by_and_not_against_nothing(make_report) -> None:
    report = counted(make_report, 30, 0)  # +0.15
    assert rulings(report, {"rule": "beats", "by": 0.0}) == [PASSED]
    assert rulings(report, {"rule": "beats", "by": 0.05}) == [PASSED]
    assert rulings(report, {"rule": "beats", "by": 0.14}) == [UNDECIDED]


@pytest.mark.parametrize(("wins", "ruling"), [(7, PASSED), (6, UNDECIDED)])
def test_a_p_of_exactly_the_level_passes(make_report, wins, ruling) -> None:
    assert rulings(counted(make_report, wins, 0, n=50), {"rule": "beats"}, alpha=LEVEL) == [ruling]


def test_a_run_that_could_have_seen_a_lead_and_did_not_rejects(make_report) -> None:
    some = counted(make_report, 20, 20, n=2_000)  # 2 % discordant: it sees far less than 5 points
    assert rulings(some, {"rule": "beats"}) == [FAILED]
    assert rulings(some, {"rule": "beats"}, worth=0.005) == [UNDECIDED]
    assert rulings(counted(make_report, 20, 20, n=100), {"rule": "beats"}) == [UNDECIDED]


def test_a_lead_that_is_shown_to_be_too_small_rejects(make_report) -> None:
    report = counted(make_report, 10, 8, n=100)
    assert rulings(report, {"rule": "beats", "by": 0.3}, worth=0.01) == [FAILED]


def test_the_arm_to_beat_does_not_beat_itself(make_report) -> None:
    report = make_report({"base": 0.5, "adapter": 0.9})
    assert rulings(report, {"rule": "beats", "arm": "adapter"}) == [FAILED]


# not_worse


@pytest.mark.parametrize(
    ("adapter", "margin", "ruling"),
    [(0.62, 0.02, PASSED), (0.59, 0.02, UNDECIDED), (0.59, 0.05, PASSED), (0.5, 0.02, FAILED)],
)
def test_an_arm_must_be_shown_to_lose_less_than_the_margin(make_report, adapter, margin, ruling) -> None:
    report = make_report({"base": 0.1, "rag": 0.585, "adapter": adapter})
    assert rulings(report, {"rule": "not_worse", "arms": ["rag"], "margin": margin}) == [ruling]


def test_the_margin_is_two_points_unless_it_says_more(make_report) -> None:
    report = make_report({"base": 0.1, "rag": 0.58, "adapter": 0.60})
    default = checks(report, {"rule": "not_worse", "arms": ["rag"]})
    assert default == checks(report, {"rule": "not_worse", "arms": ["rag"], "margin": 0.02})
    assert default != checks(report, {"rule": "not_worse", "arms": ["rag"], "margin": 0.019})
    assert default != checks(report, {"rule": "not_worse", "arms": ["rag"], "margin": 0.021})
    assert "for -0.020 or less" in default[0].detail


def test_the_rivals_are_few_shot_and_rag_unless_it_says_more(make_report) -> None:
    report = make_report({"base": 0.1, "few-shot": 0.5, "rag": 0.6, "adapter": 0.9})
    assert [one.rule for one in checks(report, {"rule": "not_worse"})] == [
        "does not lose to few-shot", "does not lose to rag",
    ]  # fmt: skip


@pytest.mark.parametrize(("margin", "ruling"), [(0.5, PASSED), (0.49, UNDECIDED)])
def test_a_difference_whose_bound_is_exactly_the_margin_passes(make_report, margin, ruling) -> None:
    # Seven items without any difference: half of them may be lost with a chance of 1/2^7, which is the level.
    report = make_report({"base": 0.5, "adapter": 0.5}, n=7)
    flat = make_report.comparison("adapter", "base", 0.0, 0.1, 7)
    flat = flat.model_copy(update={"se": 0.0, "least": 0.0, "most": 0.0, "p_value": 1.0})
    report = report.model_copy(update={"comparisons": (flat,)})
    rule = {"rule": "not_worse", "arms": ["base"], "margin": margin}
    assert rulings(report, rule, alpha=LEVEL) == [ruling]


@pytest.mark.parametrize("n", [10, 20, 50, 200])
def test_items_without_a_flip_do_not_show_that_nothing_is_lost(make_report, n) -> None:
    rule = {"rule": "not_worse", "arms": ["base"], "margin": 0.02}
    assert rulings(counted(make_report, 0, 0, n=n), rule) == [UNDECIDED]
    assert rulings(counted(make_report, 0, 0, n=600), rule) == [PASSED]


def test_every_named_rival_is_checked_and_an_arm_is_none_to_itself(make_report) -> None:
    report = make_report({"base": 0.1, "few-shot": 0.9, "rag": 0.5})
    found = checks(report, {"rule": "not_worse", "arms": ["few-shot", "rag"]}, "rag")
    assert [(one.rule, one.ruling) for one in found] == [("does not lose to few-shot", FAILED)]


# comparisons of any rule


def test_a_comparison_made_the_other_way_round_is_turned(make_report) -> None:
    report = make_report({"adapter": 0.9, "base": 0.5})
    assert report.comparisons[0].arm == "base"
    turned = report.difference("adapter", "base")
    assert (turned.delta, turned.low, turned.high) == pytest.approx((0.4, 0.37, 0.43))
    assert rulings(report, {"rule": "beats"}) == [PASSED]
    assert report.difference("adapter", "nobody") is None


def test_a_comparison_of_another_metric_is_not_the_deciding_one(make_report) -> None:
    report = make_report({"base": 0.5, "adapter": 0.9})
    other = report.comparisons[0].model_copy(update={"metric": "valid_json"})
    for turned in (other, other.turned):
        only = report.model_copy(update={"comparisons": (turned,)})
        assert only.difference("adapter", "base") is None


@pytest.mark.parametrize(
    "rule", [{"rule": "beats"}, {"rule": "not_worse", "arms": ["base"]}, {"rule": "latency", "times": 9}]
)
def test_a_rival_that_was_not_measured_leaves_it_open(make_report, rule) -> None:
    report = make_report({"rag": 0.5, "adapter": 0.9})
    (one,) = checks(report, rule)
    assert one.ruling is UNDECIDED
    assert "'base' was not measured: add that arm" in one.detail


def test_a_report_from_before_gates_decides_nothing(make_report) -> None:
    report = make_report({"base": 0.5, "adapter": 0.9})
    old = report.comparisons[0].model_copy(update={"se": None, "least": None, "most": None, "p_value": 1e-4})
    report = report.model_copy(update={"comparisons": (old,)})
    for rule in ({"rule": "beats"}, {"rule": "not_worse", "arms": ["base"]}):
        assert rulings(report, rule) == [UNDECIDED]


def test_a_comparison_says_its_p_its_level_and_the_smallest_difference_it_could_have_seen(make_report) -> None:
    (one,) = checks(counted(make_report, 30, 10), {"rule": "beats"})
    assert "+0.100 [+0.040, +0.164] on fields over 200 items" in one.detail
    assert "p 0.0011 for +0.000 or less, and 0.005 is allowed (alpha 0.01, try 1 of 20, 1 candidate)" in one.detail
    assert f"80 % power from {one.sees:+.3f} on" in one.detail
    assert 0.09 < one.sees < 0.13
    (hopeless,) = checks(counted(make_report, 1, 0, n=5), {"rule": "beats"})
    assert hopeless.sees is None
    assert "no difference has 80 % power" in hopeless.detail


# at_least and safety


@pytest.mark.parametrize(
    ("figure", "judge_by", "ruling"),
    [(PERFECT, "low", PASSED), (POOR, "low", UNDECIDED), (POOR, "value", PASSED)],
)
def test_safety_is_judged_by_the_end_of_the_interval_that_the_policy_names(
    make_report, figure, judge_by, ruling
) -> None:
    report = make_report({"base": 0.5, "adapter": 0.9}, safety={"base": POOR, "adapter": figure})
    assert rulings(report, {"rule": "safety", "value": 0.9, "judge_by": judge_by}) == [ruling]


@pytest.mark.parametrize(("value", "ruling"), [(0.83, PASSED), (0.84, UNDECIDED), (0.95, UNDECIDED), (0.951, FAILED)])
def test_safety_by_the_low_end_is_the_default_and_a_figure_below_rejects(make_report, value, ruling) -> None:
    report = make_report({"base": 0.5, "adapter": 0.9}, safety={"base": POOR, "adapter": POOR})
    assert rulings(report, {"rule": "safety", "value": value}) == [ruling]


def test_the_detail_of_a_figure_says_which_end_of_it_must_reach_the_bound(make_report) -> None:
    report = make_report({"base": 0.5, "adapter": 0.9}, safety={"base": POOR, "adapter": POOR})
    (safety,) = checks(report, {"rule": "safety", "value": 0.9})
    (floor,) = checks(report, {"rule": "at_least", "value": 0.5})
    assert "; its low end must reach 0.900" in safety.detail
    assert "; it must reach 0.500" in floor.detail


def test_a_declared_safety_figure_without_any_item_fails(make_report) -> None:
    report = make_report({"base": 0.5, "adapter": 0.9}, safety_metric="escalation_recall")
    assert rulings(report, {"rule": "safety", "value": 0.1}) == [FAILED]


def test_a_task_without_a_safety_figure_says_so_and_passes(make_report) -> None:
    (one,) = checks(make_report({"base": 0.5, "adapter": 0.9}), {"rule": "safety", "value": 0.9})
    assert one.passed
    assert "declares no safety figure" in one.detail


@pytest.mark.parametrize(
    ("metric", "value", "ruling"), [("fields", 0.9, PASSED), ("fields", 0.91, FAILED), ("valid_json", 0.1, FAILED)]
)
def test_a_metric_must_reach_its_bound(make_report, metric, value, ruling) -> None:
    report = make_report({"base": 0.5, "adapter": 0.9})
    assert rulings(report, {"rule": "at_least", "metric": metric, "value": value}) == [ruling]


@pytest.mark.parametrize(("value", "ruling"), [(0.9, PASSED), (0.91, FAILED)])
def test_a_floor_without_a_metric_lies_under_the_deciding_one_itself(make_report, value, ruling) -> None:
    report = make_report({"base": 0.5, "adapter": 0.9})
    assert rulings(report, {"rule": "at_least", "value": value}) == [ruling]


def test_a_floor_by_the_low_end_is_left_open_between_it_and_the_figure(make_report) -> None:
    report = make_report({"base": 0.5, "adapter": 0.75}, half=0.25)
    found = [rulings(report, {"rule": "at_least", "value": at, "judge_by": "low"})[0] for at in (0.5, 0.51, 0.75, 0.76)]
    assert found == [PASSED, UNDECIDED, UNDECIDED, FAILED]


# latency


@pytest.mark.parametrize(("p95", "ruling"), [(2.0, PASSED), (2.01, FAILED)])
def test_latency_is_bounded_by_the_bases(make_report, p95, ruling) -> None:
    report = make_report({"base": 0.5, "adapter": 0.9})
    slow = report.arms[1].model_copy(update={"latency_p95": p95})
    report = report.model_copy(update={"arms": (report.arms[0], slow)})
    assert rulings(report, {"rule": "latency", "times": 2.0}) == [ruling]


@pytest.mark.parametrize(("base", "ruling"), [("this", PASSED), ("another", UNDECIDED)])
def test_seconds_of_different_deployments_are_not_compared(make_report, base, ruling) -> None:
    """An arm may be asked at a service of its own; where that is the same deployment, it is."""
    report = make_report({"base": 0.5, "adapter": 0.9})
    ours, elsewhere = (
        Deployment(engine="vllm 0.32.0", dtype="float32", base=digest_of(name)) for name in ("this", base)
    )
    there = report.arms[1].model_copy(update={"deployment": elsewhere})
    report = report.model_copy(update={"arms": (report.arms[0], there), "deployment": ours})
    assert rulings(report, {"rule": "latency", "times": 9.0}) == [ruling]
    assert rulings(report, {"rule": "latency", "times": 9.0, "arm": "adapter"}) == [PASSED], "with itself"


# items, clusters


@pytest.mark.parametrize(("n", "ruling"), [(100, PASSED), (99, UNDECIDED)])
def test_too_few_items_leave_it_open(make_report, n, ruling) -> None:
    report = make_report({"base": 0.5, "adapter": 0.9}, n=n)
    assert rulings(report, {"rule": "items", "at_least": 100}) == [ruling]


def test_items_that_the_deciding_figure_does_not_have_do_not_count(make_report) -> None:
    report = make_report({"base": 0.5, "adapter": 0.9}, n=50, n_items=500)
    assert rulings(report, {"rule": "items", "at_least": 100}) == [UNDECIDED]
    few = report.arms[1].model_copy(update={"metrics": {"fields": Interval(value=0.9, low=0.8, high=1.0, n=100)}})
    report = report.model_copy(update={"arms": (report.arms[0], few)})
    found = check(
        report, Policy.model_validate({"rules": [{"rule": "beats"}, {"rule": "items", "at_least": 100}]}), ["adapter"]
    )
    (items,) = [one for one in found["adapter"] if one.rule == "items"]
    assert items.ruling is UNDECIDED  # the comparison has 50
    assert items.detail == "fields has 50 items; at least 100 are asked for"


@pytest.mark.parametrize(("at_least", "taken"), [(1, False), (2, True)])
def test_two_clusters_are_the_fewest_that_a_policy_may_ask_for(at_least, taken) -> None:
    raw = {"rules": [{"rule": "clusters", "at_least": at_least}]}
    if taken:
        assert Policy.model_validate(raw).rules[0].at_least == at_least
        return
    with pytest.raises(ValidationError):
        Policy.model_validate(raw)


def test_a_rival_that_was_not_measured_has_no_items_to_count(make_report) -> None:
    report = make_report({"base": 0.5, "adapter": 0.9}, n=100)
    rules = [{"rule": "beats", "arm": "rag"}, {"rule": "items", "at_least": 100}]
    found = check(report, Policy.model_validate({"rules": rules}), ["adapter"])
    assert UNDECIDED in [one.ruling for one in found["adapter"]]
    assert [one.ruling for one in found["adapter"] if one.rule == "items"] == [PASSED]


def clustered(make_report, clusters: int) -> Report:
    report = make_report({"base": 0.5, "adapter": 0.9})
    (one,) = report.comparisons
    return report.model_copy(update={"comparisons": (one.model_copy(update={"clusters": clusters}),)})


@pytest.mark.parametrize(("clusters", "ruling"), [(20, PASSED), (19, UNDECIDED)])
def test_every_policy_asks_for_twenty_clusters_where_there_are_clusters(make_report, clusters, ruling) -> None:
    found = check(clustered(make_report, clusters), Policy.model_validate({"rules": [{"rule": "beats"}]}), ["adapter"])
    (one,) = [one for one in found["adapter"] if one.rule == "clusters"]
    assert one.ruling is ruling
    assert f"{clusters} clusters" in one.detail


def test_a_policy_may_ask_for_more_clusters_and_then_it_is_asked_once(make_report) -> None:
    rules = [{"rule": "beats"}, {"rule": "clusters", "at_least": 30}]
    found = check(clustered(make_report, 25), Policy.model_validate({"rules": rules}), ["adapter"])["adapter"]
    assert [one.ruling for one in found if one.rule == "clusters"] == [UNDECIDED]


def test_the_clusters_of_figures_that_decide_count_as_well(make_report) -> None:
    report = make_report({"base": 0.5, "adapter": 0.9}, safety={"base": PERFECT, "adapter": PERFECT})
    rule = {"rule": "clusters"}
    assert rulings(report, rule) == []
    few = report.arms[1].metrics | {"escalation_recall": PERFECT.model_copy(update={"clusters": 19})}
    arms = (report.arms[0], report.arms[1].model_copy(update={"metrics": few}))
    assert rulings(report.model_copy(update={"arms": arms}), rule) == [UNDECIDED]
    # The fewest decide, however many another figure has.
    both = few | {"fields": few["fields"].model_copy(update={"clusters": 200})}
    arms = (report.arms[0], report.arms[1].model_copy(update={"metrics": both}))
    assert rulings(report.model_copy(update={"arms": arms}), rule) == [UNDECIDED]


# errors


def with_errors(report: Report, **errors: int) -> Report:
    arms = tuple(one.model_copy(update={"errors": errors.get(one.arm, 0)}) for one in report.arms)
    return report.model_copy(update={"arms": arms})


@pytest.mark.parametrize(("errors", "ruling"), [(2, PASSED), (3, FAILED)])
def test_an_arms_own_failed_requests_reject_it(make_report, errors, ruling) -> None:
    report = with_errors(make_report({"base": 0.5, "adapter": 0.9}, n=200), adapter=errors)
    assert rulings(report, {"rule": "errors", "at_most": 0.01}) == [ruling]


def test_failed_requests_are_a_share_of_the_deciding_figures_items(make_report) -> None:
    report = with_errors(make_report({"base": 0.5, "adapter": 0.9}, n=50, n_items=5_000), adapter=2)
    (one,) = checks(report, {"rule": "errors", "at_most": 0.03})
    assert one.ruling is FAILED
    assert one.detail == "2 of 50 items failed; at most 3.0% may"


def test_every_policy_allows_no_failed_request_unless_it_says_more(make_report) -> None:
    report = with_errors(make_report({"base": 0.5, "adapter": 0.9}), adapter=1)
    found = check(report, Policy.model_validate({"rules": [{"rule": "beats"}]}), ["adapter"])["adapter"]
    assert [(one.rule, one.ruling) for one in found if one.rule == "errors"] == [("errors", FAILED)]
    assert rulings(report, {"rule": "errors"}) == [FAILED]


@pytest.mark.parametrize(
    "rule",
    [{"rule": "beats"}, {"rule": "not_worse", "arms": ["base"]}, {"rule": "latency", "times": 9, "arm": "base"}],
)
def test_nobody_wins_by_the_failures_of_a_rival(make_report, rule) -> None:
    report = with_errors(make_report({"base": 0.5, "adapter": 0.9}), base=60)
    policy = Policy.model_validate({"rules": [rule, {"rule": "errors", "at_most": 0.01}]})
    found = check(report, policy, ["adapter"])["adapter"]
    assert [(one.rule, one.ruling) for one in found if not one.passed] == [("errors of base", UNDECIDED)]
    (detail,) = [one.detail for one in found if one.rule == "errors of base"]
    assert detail == (
        "60 of 200 items failed; at most 1.0% may; such a figure says nothing: see to the endpoint, and run the "
        "evaluation again"
    )


def test_failures_of_an_arm_that_no_rule_compares_with_touch_nobody_else(make_report) -> None:
    report = with_errors(make_report({"base": 0.5, "rag": 0.1, "adapter": 0.9}), rag=60)
    found = check(report, Policy.model_validate({"rules": [{"rule": "beats"}]}), ["adapter"])["adapter"]
    assert all(one.passed for one in found)


# prod


def serving(make_report, prod: str | None) -> Report:
    return make_report(
        {"base": 0.1, "prod": 0.585, "adapter": 0.62} if prod == "prod" else {"base": 0.1, "adapter": 0.6}, prod=prod
    )


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        ({"rule": "not_worse", "arms": ["prod"]}, "does not lose to prod"),
        ({"rule": "beats", "arm": "prod"}, "beats prod"),
        ({"rule": "latency", "times": 1.0, "arm": "prod"}, "latency"),
    ],
)
def test_nothing_in_prod_is_nothing_to_compare_with(make_report, rule, name) -> None:
    (one,) = checks(serving(make_report, None), rule)
    assert (one.rule, one.ruling, one.detail) == (name, PASSED, "prod serves nothing yet")


@pytest.mark.parametrize("rule", [{"rule": "not_worse", "arms": ["prod"]}, {"rule": "beats", "arm": "prod"}])
def test_what_prod_serves_does_not_compete_with_itself(make_report, rule) -> None:
    (one,) = checks(serving(make_report, "adapter"), rule)
    assert (one.ruling, one.detail) == (PASSED, "this is what prod serves")


def test_a_candidate_is_compared_with_what_prod_serves(make_report) -> None:
    report = serving(make_report, "prod")
    assert rulings(report, {"rule": "not_worse", "arms": ["prod"]}) == [PASSED]
    assert rulings(report, {"rule": "beats", "arm": "prod"}) == [UNDECIDED]
    assert rulings(report, {"rule": "latency", "times": 0.9, "arm": "prod"}) == [FAILED]


def test_prod_means_the_arm_that_it_serves_when_that_is_one_of_them(make_report) -> None:
    report = make_report({"base": 0.1, "rag": 0.585, "adapter": 0.62}, prod="rag")
    (one,) = checks(report, {"rule": "not_worse", "arms": ["prod"]})
    assert one.passed
    assert "+0.035" in one.detail
    failing = with_errors(report, rag=9)
    policy = Policy.model_validate({"rules": [{"rule": "not_worse", "arms": ["prod"]}]})
    assert [one.rule for one in check(failing, policy, ["adapter"])["adapter"] if not one.passed] == ["errors of rag"]


def test_the_clusters_of_the_deciding_figure_alone_count(make_report) -> None:
    report = make_report({"base": 0.5, "adapter": 0.9})
    few = {"fields": report.arms[1].metrics["fields"].model_copy(update={"clusters": 19})}
    arms = (report.arms[0], report.arms[1].model_copy(update={"metrics": few}))
    assert rulings(report.model_copy(update={"arms": arms}), {"rule": "clusters"}) == [UNDECIDED]


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({"rule": "at_least", "value": 0.5}, "; it must reach 0.500"),
        ({"rule": "at_least", "value": 0.5, "judge_by": "low"}, "; its low end must reach 0.500"),
    ],
)
def test_a_floor_says_what_is_judged(make_report, rule, says) -> None:
    (one,) = checks(make_report({"base": 0.5, "adapter": 0.9}), rule)
    assert one.detail == "fields 0.900 [0.870, 0.930] over 200 items" + says


@pytest.mark.parametrize(("losses", "ruling"), [(7, FAILED), (6, UNDECIDED)])
def test_a_loss_with_a_p_of_exactly_the_level_rejects(make_report, losses, ruling) -> None:
    report = counted(make_report, 0, losses)
    assert rulings(report, {"rule": "not_worse", "arms": ["base"]}, alpha=LEVEL) == [ruling]


@pytest.mark.parametrize(("share", "ruling"), [(0.0, FAILED), (0.005, PASSED), (1.0, PASSED)])
def test_no_request_or_every_request_may_fail_and_a_share_beyond_is_none(make_report, share, ruling) -> None:
    report = with_errors(make_report({"base": 0.5, "adapter": 0.9}, n=200), adapter=1)
    assert rulings(report, {"rule": "errors", "at_most": share}) == [ruling]
    for beyond in (-0.001, 1.001, 2.0):
        with pytest.raises(ValidationError, match="at_most"):
            rulings(report, {"rule": "errors", "at_most": beyond})


def test_an_arm_that_others_are_compared_with_fails_by_its_own_errors_once(make_report) -> None:
    report = with_errors(make_report({"base": 0.5, "few-shot": 0.8, "adapter": 0.9}), **{"few-shot": 60})
    policy = Policy.model_validate({"rules": [{"rule": "beats"}, {"rule": "not_worse", "arms": ["few-shot"]}]})
    found = check(report, policy, ["few-shot", "adapter"])
    assert [one.rule for one in found["few-shot"] if one.rule.startswith("errors")] == ["errors"]
    assert [one.rule for one in found["adapter"] if one.rule.startswith("errors")] == ["errors", "errors of few-shot"]


# unscored


def silent(make_report, arm: str, name: str, count: int, n: int = 200) -> Report:
    """`count` of the arm's `n` answers have no figure of that name."""
    report = make_report({"base": 0.5, "adapter": 0.9}, n=n - count)
    arms = [
        one.model_copy(update={"unscored": {name: {"the judge's answer is empty": count}}}) if one.arm == arm else one
        for one in report.arms
    ]
    return report.model_copy(update={"arms": tuple(arms)})


@pytest.mark.parametrize(("count", "at_most", "ruling"), [(1, 0.0, UNDECIDED), (2, 0.01, PASSED), (3, 0.01, UNDECIDED)])
def test_answers_that_could_not_be_scored_leave_it_open(make_report, count, at_most, ruling) -> None:
    report = silent(make_report, "adapter", "fields", count)
    assert rulings(report, {"rule": "unscored", "at_most": at_most}) == [ruling]
    (one,) = checks(report, {"rule": "unscored", "at_most": at_most})
    assert f"{count} of 200 answers have no fields ({count} x the judge's answer is empty)" in one.detail


def test_a_rivals_unscored_answers_leave_it_open_too(make_report) -> None:
    report = silent(make_report, "base", "fields", 1)
    found = check(report, Policy.model_validate({"rules": [{"rule": "beats"}]}), ["adapter"])["adapter"]
    rulings = {one.rule: one.ruling for one in found}
    assert rulings == {"beats base": PASSED, "errors": PASSED, "unscored of base": UNDECIDED}


def test_a_figure_that_decides_nothing_may_be_unscored_and_nobody_unscored_is_no_check(make_report) -> None:
    assert checks(silent(make_report, "adapter", "rubric", 50), {"rule": "unscored"}) == []
    assert checks(make_report({"base": 0.5, "adapter": 0.9}), {"rule": "unscored"}) == []


# failures


def with_failures(make_report, count: int, n: int) -> Report:
    report = make_report({"base": 0.5, "adapter": 0.9}, safety={"base": PERFECT, "adapter": PERFECT})
    failures = {"escalation_recall": Failures(count=count, n=n, at_most=upper_bound(count, n))}
    return report.model_copy(
        update={"arms": tuple(arm.model_copy(update={"failures": failures}) for arm in report.arms)}
    )


@pytest.mark.parametrize(
    ("count", "n", "ruling"),
    [(0, 59, PASSED), (0, 58, UNDECIDED), (1, 93, PASSED), (1, 92, UNDECIDED), (5, 100, UNDECIDED), (6, 100, FAILED)],
)
def test_few_failures_are_shown_by_their_exact_bound(make_report, count, n, ruling) -> None:
    report = with_failures(make_report, count, n)
    assert rulings(report, {"rule": "failures", "at_most": 0.05}) == [ruling]


def test_too_few_items_are_told_how_many_it_takes(make_report) -> None:
    (check,) = checks(with_failures(make_report, 0, 40), {"rule": "failures", "at_most": 0.05})
    assert "0 of 40 items, so at most 7.2% (exact, 95 %); 5.0% is allowed, which takes 59" in check.detail


def test_failures_of_a_figure_that_no_item_has_fail_and_without_a_safety_figure_pass(make_report) -> None:
    report = with_failures(make_report, 0, 100)
    assert rulings(report, {"rule": "failures", "at_most": 0.05, "metric": "resists"}) == [FAILED]
    bare = make_report({"base": 0.5, "adapter": 0.9})
    assert rulings(bare, {"rule": "failures", "at_most": 0.05}) == [PASSED]


# suites


def test_a_rule_for_one_suite_says_nothing_of_another(make_report) -> None:
    own, other = ({"rule": "at_least", "value": 0.95, "suite": suite} for suite in ("toy", "safety/refusal"))
    report = make_report({"base": 0.5, "adapter": 0.9})
    both = Policy.model_validate({"rules": [{"rule": "beats"}, other]})
    assert [one.rule for one in check(report, both, ["adapter"])["adapter"]] == ["beats base", "errors"]
    assert rulings(report, own) == [FAILED]
    with pytest.raises(InvalidConfig, match="none is for 'toy': they are for safety/refusal"):
        check(report, Policy.model_validate({"rules": [other]}), ["adapter"])


def test_a_policy_that_names_no_suite_has_the_digest_that_it_had() -> None:
    assert "suite" not in Policy.model_validate({"rules": [{"rule": "beats"}]}).model_dump(mode="json")["rules"][0]
