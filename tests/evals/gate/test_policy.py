"""The gate as a whole: one bound for all candidates and tries, one verdict each, bound to what it judged."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from evals.gate.policy import Policy, check, judge, ruling_of
from lifecycle.errors import NotFound
from lifecycle.report import Report, Tries
from lifecycle.verdict import Check, Ruling

AT = datetime(2026, 1, 2, tzinfo=UTC)
PASSED, FAILED, UNDECIDED = Ruling.PASSED, Ruling.FAILED, Ruling.UNDECIDED
BEATS = {"rule": "beats"}


def policy(*rules: dict[str, Any], **more: Any) -> Policy:
    return Policy.model_validate({"name": "test", "rules": rules, **more})


def of(checks: tuple[Check, ...], rule: str) -> Check:
    return next(one for one in checks if one.rule == rule)


def against_base(make_report, n: int = 200, tries: int = 1, **wins: int) -> Report:
    """Each arm with so many wins over the base and no loss; the arms among themselves are not compared."""
    values = {"base": 0.5, **{arm: 0.5 + count / n for arm, count in wins.items()}}
    compared = tuple(make_report.shares(arm, "base", count, 0, n) for arm, count in wins.items())
    return make_report(values, n=n, comparisons=compared, tries=Tries(number=tries))


def test_the_bound_is_one_percent_over_twenty_tries_and_five_points_are_worth_seeing() -> None:
    plain = policy(BEATS)
    assert (plain.alpha, plain.tries, plain.worth) == (0.01, 20, 0.05)


def test_candidates_share_the_bound_by_holm(make_report) -> None:
    # 0.005 for the first try; of three candidates 0.005/3, then 0.005/2, then 0.005
    report = against_base(make_report, a=10, b=8, c=7)  # p 1/1024, 1/256, 1/128
    found = check(report, policy(BEATS), ["a", "b", "c"])
    assert [of(found[arm], "beats base").ruling for arm in "abc"] == [PASSED, UNDECIDED, UNDECIDED]
    assert "0.0017 is allowed (alpha 0.01, try 1 of 20, 3 candidates)" in of(found["a"], "beats base").detail
    assert "0.0025 is allowed" in of(found["b"], "beats base").detail
    assert "0.0025 is allowed" in of(found["c"], "beats base").detail
    alone = check(report, policy(BEATS), ["b"])
    assert of(alone["b"], "beats base").passed  # 0.0039 of 0.005


def test_what_passed_gives_its_share_to_the_rest(make_report) -> None:
    report = against_base(make_report, a=12, b=8)  # 1/4096 ≤ 0.005/2, then 1/256 ≤ 0.005
    assert [one.passed for one in judge(report, policy(BEATS), ["a", "b"], at=AT)] == [True, True]


def test_comparisons_that_the_policy_does_not_use_cost_nothing(make_report) -> None:
    few = make_report({"base": 0.5, "adapter": 0.55})
    many = make_report({"base": 0.5, "adapter": 0.55, "x": 0.5, "y": 0.5, "z": 0.5})
    assert len(many.comparisons) == 10
    assert check(few, policy(BEATS), ["adapter"]) == check(many, policy(BEATS), ["adapter"])


def test_several_rules_on_one_candidate_need_no_correction(make_report) -> None:
    report = make_report({"base": 0.1, "rag": 0.5, "adapter": 0.6})
    one = check(report, policy(BEATS), ["adapter"])["adapter"]
    two = check(report, policy(BEATS, {"rule": "not_worse", "arms": ["rag"]}), ["adapter"])["adapter"]
    assert of(one, "beats base") == of(two, "beats base")


def test_a_candidate_is_ranked_by_its_weakest_comparison(make_report) -> None:
    # a beats the base most clearly, but its other comparison is hopeless: it must not take a share before b
    report = make_report({"base": 0.1, "rag": 0.9, "a": 0.8, "b": 0.9})
    rules = policy(BEATS, {"rule": "not_worse", "arms": ["rag"], "margin": 0.1})
    found = check(report, rules, ["a", "b"])
    assert "0.0025 is allowed" in of(found["b"], "beats base").detail
    assert "0.005 is allowed" in of(found["a"], "beats base").detail
    assert ruling_of(found["b"]) is PASSED
    assert ruling_of(found["a"]) is FAILED


def test_each_try_on_the_same_items_is_held_to_a_stricter_level(make_report) -> None:
    found = {}
    for number in (1, 2, 3, 20):
        report = against_base(make_report, tries=number, a=9)  # p 1/512
        found[number] = of(check(report, policy(BEATS), ["a"])["a"], "beats base")
    assert [one.ruling for one in found.values()] == [PASSED, UNDECIDED, UNDECIDED, UNDECIDED]
    assert "0.0017 is allowed (alpha 0.01, try 2 of 20" in found[2].detail
    assert "2.4e-05 is allowed (alpha 0.01, try 20 of 20" in found[20].detail


@pytest.mark.parametrize(("number", "ruling"), [(5, PASSED), (6, UNDECIDED)])
def test_beyond_the_budget_nothing_is_decided_until_items_are_fresh(make_report, number, ruling) -> None:
    report = against_base(make_report, tries=number, a=60)
    (verdict,) = judge(report, policy(BEATS, tries=5), ["a"], at=AT)
    assert verdict.ruling is ruling
    if ruling is UNDECIDED:
        assert of(verdict.checks, "tries").detail.endswith(
            "try 6 on these items, and the policy allows 5: evaluate on fresh items"
        )


def test_a_candidate_that_nothing_compares_takes_no_share(make_report) -> None:
    report = make_report({"base": 0.5, "rag": 0.6, "adapter": 0.6}, prod="rag")
    rules = policy({"rule": "beats", "arm": "prod"})
    found = check(report, rules, ["rag", "adapter"])
    assert of(found["rag"], "beats prod").passed
    assert "1 candidate" in of(found["adapter"], "beats prod").detail


def test_any_failure_rejects_and_else_anything_open_leaves_it_open() -> None:
    def checks(*rulings: Ruling) -> list[Check]:
        return [Check(rule="r", ruling=one, detail="") for one in rulings]

    assert ruling_of(checks(PASSED, PASSED)) is PASSED
    assert ruling_of(checks(PASSED, UNDECIDED, PASSED)) is UNDECIDED
    assert ruling_of(checks(UNDECIDED, FAILED, PASSED)) is FAILED


def test_a_verdict_names_all_it_is_bound_to(make_report) -> None:
    report = make_report({"base": 0.5, "adapter": 0.9})
    rules = policy(BEATS, {"rule": "items", "at_least": 1_000})
    (verdict,) = judge(report, rules, ["adapter"], at=AT)
    assert [(one.rule, one.passed) for one in verdict.checks] == [
        ("beats base", True), ("items", False), ("errors", True),
    ]  # fmt: skip
    assert verdict.ruling is UNDECIDED
    assert verdict.ref == report.arms[1].ref
    assert verdict.version_digest == report.arms[1].version_digest
    assert verdict.evaluation_digest == report.digest
    assert verdict.policy_digest == rules.digest
    assert verdict.created_at == AT
    assert (verdict.suite_digest, verdict.deployment, verdict.provisional) == (None, None, ())
    assert judge(report, policy(BEATS), ["adapter"], at=AT)[0].passed


def test_judging_is_pure_and_keeps_the_order_of_the_candidates(make_report) -> None:
    report = make_report({"base": 0.5, "rag": 0.6, "adapter": 0.9})
    first = judge(report, policy(BEATS), ["adapter", "rag"], at=AT)
    assert first == judge(report, policy(BEATS), ["adapter", "rag"], at=AT)
    assert [one.ref for one in first] == ["toy:3", "toy:2"]
    assert set(check(report, policy(BEATS), ["adapter", "rag"])) == {"adapter", "rag"}


def test_an_unknown_arm_is_not_found_with_the_arms_that_there_are(make_report) -> None:
    with pytest.raises(NotFound, match="base, adapter"):
        judge(make_report({"base": 0.5, "adapter": 0.9}), policy(BEATS), ["hybrid"], at=AT)


def test_a_policy_names_the_arms_that_it_compares_with() -> None:
    rules = policy(
        BEATS, {"rule": "not_worse", "arms": ["prod", "base"]}, {"rule": "latency", "times": 2, "arm": "rag"},
        {"rule": "items", "at_least": 5},
    )  # fmt: skip
    assert rules.names == ("base", "prod", "rag")


@pytest.mark.parametrize(
    "rules",
    [
        [],
        [{"rule": "wins"}],
        [{"rule": "safety"}],
        [{"rule": "items", "at_least": 5, "x": 1}],
        [{"rule": "clusters", "at_least": 1}],
        [{"rule": "not_worse", "margin": 1.0}],
        [{"rule": "not_worse", "arms": []}],
        [{"rule": "beats", "by": -0.1}],
    ],
)
def test_a_policy_that_says_nothing_or_nonsense_is_refused(rules) -> None:
    with pytest.raises(ValidationError):
        Policy.model_validate({"rules": rules})


@pytest.mark.parametrize("more", [{"alpha": 0.0}, {"alpha": 0.5}, {"tries": 0}, {"worth": 0.0}, {"worth": 1.0}])
def test_bounds_that_bound_nothing_are_refused(more) -> None:
    with pytest.raises(ValidationError):
        policy(BEATS, **more)


def test_a_clear_lead_does_not_hide_a_claim_that_is_not_shown(make_report) -> None:
    # a beats the base more clearly than b does, and loses to rag: b comes first, at the stricter of the two levels
    a, b = ({"base": 0.5, "rag": -0.3}, {"base": 0.1, "rag": 0.2})
    compared = tuple(
        make_report.comparison(arm, other, delta, 0.03, 200)
        for arm, gaps in (("a", a), ("b", b))
        for other, delta in gaps.items()
    )
    report = make_report({"base": 0.1, "rag": 0.9, "a": 0.6, "b": 0.9}, comparisons=compared)
    found = check(report, policy(BEATS, {"rule": "not_worse", "arms": ["rag"]}), ["a", "b"])
    assert "0.0025 is allowed" in of(found["b"], "beats base").detail
    assert "0.005 is allowed" in of(found["a"], "beats base").detail
