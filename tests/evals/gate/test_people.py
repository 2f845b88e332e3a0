"""The rule on people's votes: its floor, the least votes and the least agreement, at their exact bounds."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from evals.gate.policy import Policy, judge
from evals.gate.rules import People
from lifecycle.interval import Interval
from lifecycle.people import PeopleComparison
from lifecycle.verdict import Ruling

F, P, U = Ruling.FAILED, Ruling.PASSED, Ruling.UNDECIDED


def told(value=0.7, low=0.6, votes=60, alpha=0.4, **changes):
    facts = {"arm": "adapter", "against": "base", "campaigns": ("c",), "wins": votes, "losses": 0, "ties": 0}
    rate = Interval(value=value, low=low, high=min(1.0, 2 * value - low), n=30)
    return PeopleComparison(**{**facts, "both_bad": 0, "raters": 2, "alpha": alpha, "win_rate": rate, **changes})


def check_of(make_report, *people, **rule):
    report = make_report({"base": 0.5, "adapter": 0.8}, people=people)
    policy = Policy(rules=(People(rule="people", **rule),))
    (verdict,) = judge(report, policy, ["adapter"], at=datetime(2026, 1, 1, tzinfo=UTC))
    return verdict.checks[0]


@pytest.mark.parametrize(
    ("figures", "rule", "ruling"),
    [
        ({"low": 0.5}, {}, P),
        ({"low": 0.499}, {}, U),
        ({"value": 0.5, "low": 0.4}, {}, U),
        ({"value": 0.499, "low": 0.3}, {}, F),
        ({"low": 0.3}, {"judge_by": "value"}, P),
        ({"votes": 50}, {}, P),
        ({"votes": 49}, {}, U),
        ({"value": 0.2, "low": 0.1, "votes": 49}, {}, U),
        ({"alpha": 0.0}, {}, P),
        ({"alpha": -0.001}, {}, U),
        ({"alpha": 0.399}, {"agreement": 0.4}, U),
        ({"alpha": None}, {}, U),
        ({"alpha": None}, {"agreement": None}, P),
        ({"low": 0.6}, {"value": 0.6}, P),
        ({"low": 0.6}, {"value": 0.601}, U),
    ],
)
def test_the_low_end_reaches_the_floor_by_votes_enough_that_agree_enough(make_report, figures, rule, ruling):
    assert check_of(make_report, told(**figures), **rule).ruling is ruling


def test_without_a_campaign_it_is_undecided_and_says_what_to_do(make_report):
    check = check_of(make_report)
    assert check.ruling is U
    assert "dabt rate" in check.detail


def test_votes_that_were_told_the_other_way_round_are_turned(make_report):
    assert check_of(make_report, told().turned).ruling is P


def test_prod_is_the_arm_that_it_serves_and_where_it_serves_nothing_there_is_nothing_to_prefer(make_report):
    report = make_report({"base": 0.5, "adapter": 0.8}, people=(told(),), prod="base")
    policy = Policy(rules=(People(rule="people", arm="prod"),))
    (verdict,) = judge(report, policy, ["adapter"], at=datetime(2026, 1, 1, tzinfo=UTC))
    assert verdict.checks[0].ruling is P
    (verdict,) = judge(
        report.model_copy(update={"prod": None}), policy, ["adapter"], at=datetime(2026, 1, 1, tzinfo=UTC)
    )
    assert (verdict.checks[0].ruling, "serves nothing" in verdict.checks[0].detail) == (P, True)


def test_a_policy_names_the_arm_that_people_compare_with(make_report):
    assert Policy(rules=(People(rule="people", arm="prod"),)).names == ("prod",)


@pytest.mark.parametrize("wrong", [{"value": 1.1}, {"votes": 0}, {"agreement": 1.5}, {"least": 3}])
def test_a_rule_that_means_nothing_is_refused(wrong):
    with pytest.raises(ValidationError):
        People(rule="people", **wrong)
