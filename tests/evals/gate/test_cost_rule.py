"""The rule on costs, at its bound, and where it can say nothing."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from evals.gate.policy import Policy, check
from lifecycle.costs import Cost, PricesUsed
from lifecycle.report import Report
from lifecycle.verdict import Check, Ruling
from lifecycle.version import digest_of

PASSED, FAILED, UNDECIDED = Ruling.PASSED, Ruling.FAILED, Ruling.UNDECIDED
USD = PricesUsed(digest=digest_of("prices"), currency="USD", requests=100)


def priced(make_report: Any, base: Cost | None, adapter: Cost | None, **changes: Any) -> Report:
    report = make_report({"base": 0.5, "adapter": 0.9}, **({"prices": USD} | changes))
    arms = [arm.model_copy(update={"cost": cost}) for arm, cost in zip(report.arms, (base, adapter), strict=True)]
    return report.model_copy(update={"arms": tuple(arms)})


def ruled(report: Report, **rule: Any) -> Check:
    policy = Policy.model_validate({"rules": [{"rule": "cost", "times": 3.0, **rule}]})
    return check(report, policy, ["adapter"])["adapter"][0]


def of(item: float, once: float = 0.0, unknown: tuple[str, ...] = ()) -> Cost:
    return Cost(by="tokens", item=item, low=item, high=item, once={"training": once} if once else {}, unknown=unknown)


@pytest.mark.parametrize(("item", "ruling"), [(3.0, PASSED), (3.001, FAILED)])
def test_a_cost_of_the_bound_itself_passes(make_report, item: float, ruling: Ruling) -> None:
    told = ruled(priced(make_report, of(1.0), of(item)))
    assert (told.rule, told.ruling) == ("cost", ruling)


def test_what_is_paid_once_is_in_it_by_its_share(make_report) -> None:
    report = priced(make_report, of(1.0), of(1.0, once=201.0))
    assert ruled(report).ruling is FAILED, "1 and 2.01 of 100 requests"
    assert ruled(report, times=3.01).ruling is PASSED


def test_without_prices_or_with_a_part_unknown_nothing_is_decided(make_report) -> None:
    assert ruled(priced(make_report, None, None, prices=None)).ruling is UNDECIDED
    assert ruled(priced(make_report, of(1.0), None)).ruling is UNDECIDED
    told = ruled(priced(make_report, of(1.0), of(1.0, unknown=("training: no price",))))
    assert (told.ruling, told.detail) == (UNDECIDED, "not all is known: training: no price")
    assert "was not measured" in ruled(priced(make_report, of(1.0), of(1.0)), arm="rag").detail


def test_what_is_served_now_is_the_rival_and_with_nothing_served_it_passes(make_report) -> None:
    assert ruled(priced(make_report, of(1.0), of(9.0)), arm="prod").ruling is PASSED
    served = priced(make_report, of(1.0), of(9.0), prod="base")
    assert ruled(served, arm="prod").ruling is FAILED


def test_it_names_its_rival_and_its_bound_has_no_default() -> None:
    policy = Policy.model_validate({"rules": [{"rule": "cost", "times": 1, "arm": "rag"}]})
    assert policy.names == ("rag",)
    assert policy.asks_prices
    assert not Policy.model_validate({"rules": [{"rule": "beats"}]}).asks_prices
    for wrong in ({}, {"times": 0}):
        with pytest.raises(ValidationError):
            Policy.model_validate({"rules": [{"rule": "cost", **wrong}]})
