"""Quality against cost: the Pareto line, the steps along it, and where two arms' costs cross."""

from __future__ import annotations

from typing import Any

import pytest

from evals.cost.tradeoff import break_evens, money, pareto, rounded, steps
from lifecycle.costs import Cost, PricesUsed
from lifecycle.report import Report
from lifecycle.version import digest_of


def report(make_report: Any, arms: dict[str, tuple[float, float, float]], requests: int | None = None) -> Report:
    """Arm → quality, an item's cost, and what is paid once."""
    plain = make_report({arm: quality for arm, (quality, _, _) in arms.items()})
    costs = {
        arm: Cost(by="tokens", item=item, low=item, high=item, once={"training": once} if once else {})
        for arm, (_, item, once) in arms.items()
    }
    prices = PricesUsed(digest=digest_of("p"), currency="USD", requests=requests)
    priced = tuple(arm.model_copy(update={"cost": costs[arm.arm]}) for arm in plain.arms)
    return plain.model_copy(update={"arms": priced, "prices": prices})


def test_the_pareto_line_has_no_arm_to_which_another_is_as_good_for_less(make_report) -> None:
    arms = {"base": (0.5, 1.0, 0), "dear": (0.5, 2.0, 0), "rag": (0.7, 3.0, 0), "worse": (0.6, 4.0, 0)}
    assert [arm.arm for arm in pareto(report(make_report, arms))] == ["base", "rag"]


def test_of_two_arms_at_one_cost_the_better_is_on_the_line(make_report) -> None:
    assert [arm.arm for arm in pareto(report(make_report, {"a": (0.5, 1.0, 0), "b": (0.6, 1.0, 0)}))] == ["b"]


def test_a_step_says_how_much_better_at_how_many_times_the_cost(make_report) -> None:
    (step,) = steps(report(make_report, {"adapter": (0.90, 1.0, 0), "hybrid": (0.92, 3.0, 0)}))
    assert (step.cheaper.arm, step.better.arm, step.times) == ("adapter", "hybrid", 3.0)
    assert step.gain.delta == pytest.approx(0.02)


def test_what_is_paid_once_counts_by_the_expected_requests(make_report) -> None:
    arms = {"base": (0.5, 1.0, 0), "adapter": (0.9, 0.5, 100.0)}
    few, many = report(make_report, arms, 100), report(make_report, arms, 1000)
    assert [arm.arm for arm in pareto(few)] == ["base", "adapter"]
    assert [arm.arm for arm in pareto(many)] == ["adapter"]


def test_the_break_even_is_the_first_request_with_which_the_later_arm_is_the_cheaper(make_report) -> None:
    (even,) = break_evens(report(make_report, {"base": (0.5, 1.0, 0), "adapter": (0.9, 0.5, 100.0)}))
    assert (even.first, even.later, even.requests) == ("base", "adapter", 201)
    costs = [once + item * (even.requests - 1) for item, once in ((1.0, 0.0), (0.5, 100.0))]
    assert costs[0] == costs[1], "one request before, both have cost the same"


def test_costs_that_never_cross_have_no_break_even(make_report) -> None:
    assert break_evens(report(make_report, {"base": (0.5, 1.0, 0), "adapter": (0.9, 1.0, 100.0)})) == []
    assert break_evens(report(make_report, {"base": (0.5, 1.0, 0), "rag": (0.9, 2.0, 0)})) == []


def test_money_has_three_digits_and_a_count_two() -> None:
    assert [money(amount, "EUR") for amount in (0.0, 0.000123456, 1.23456, 12345.6)] == [
        "0 EUR", "0.000123 EUR", "1.23 EUR", "12,346 EUR",
    ]  # fmt: skip
    assert [rounded(count) for count in (7, 99, 201, 123_456)] == ["7", "99", "210", "130,000"]
