"""Items at a team's prices: what is in a cost, whose it is, and what nobody knows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from evals.arms import Arm
from evals.asking.measure import ItemResult, MeasuredArm
from evals.cost.costs import used, with_costs
from evals.cost.prices import Prices
from lifecycle.costs import Cost
from lifecycle.manifests import Spent
from lifecycle.report import ArmResult, Interval
from lifecycle.states import State
from lifecycle.version import Version
from tests.evals.conftest import RECIPES

HOUR = Spent(seconds=3600.0, machine="2 cores")
TOKENS = {"currency": "USD", "tokens": {"prompt": 1.0, "completion": 10.0}}


def measured(kind: str, *, prompt: tuple[int, ...] = (100, 100), cached: int = 0) -> MeasuredArm:
    version = Version(
        name="toy", number=1, spec=RECIPES[kind], state=State.DRAFT, created_at=datetime(2026, 1, 1, tzinfo=UTC),
        created_by="test",
    )  # fmt: skip
    outcomes = tuple(
        ItemResult(
            answer="x", scores={}, latency=1.0, prompt_tokens=tokens, completion_tokens=10, cached_tokens=cached,
            spans=((float(at), at + 1.0),),
        )
        for at, tokens in enumerate(prompt)
    )  # fmt: skip
    return MeasuredArm(Arm(label=kind, version=version), outcomes)


def priced(prices: dict[str, Any], *arms: MeasuredArm, spent: Spent | None = HOUR) -> dict[str, ArmResult]:
    results = [
        ArmResult(
            arm=arm.arm.label, ref="toy:1", version_digest=arm.arm.version.digest,
            metrics={"f": Interval(value=0.5, low=0.4, high=0.6, n=2)}, latency_p50=1, latency_p95=1, prompt_tokens=1,
            completion_tokens=1,
        )
        for arm in arms
    ]  # fmt: skip
    read = Prices.model_validate(prices)
    made = with_costs(results, arms, 1, read, lambda spec: spent if spec.artifact else None)
    return {arm.arm: arm for arm in made}


def cost(result: ArmResult) -> Cost:
    assert result.cost is not None
    return result.cost


def test_tokens_are_paid_by_the_million_and_cached_ones_by_their_own_price() -> None:
    plain = cost(priced(TOKENS, measured("base"))["base"])
    assert (plain.item, plain.by, plain.once, plain.unknown) == (pytest.approx(200e-6), "tokens", {}, ())
    cheaper = {**TOKENS, "tokens": {"prompt": 1.0, "cached": 0.1, "completion": 10.0}}
    result = priced(cheaper, measured("base", cached=50))["base"]
    assert result.cached_tokens == 50.0
    assert cost(result).item == pytest.approx(155e-6)


def test_the_interval_is_that_of_the_items_and_never_below_nothing() -> None:
    told = cost(priced(TOKENS, measured("base", prompt=(0, 1000)))["base"])
    assert told.low == 0.0
    assert told.low < told.item < told.high
    assert told.item == pytest.approx(600e-6)


def test_each_of_several_answers_to_an_item_is_a_request_and_the_interval_is_over_items() -> None:
    once = measured("base", prompt=(100, 300))
    again = MeasuredArm(once.arm, tuple(ItemResult.of([outcome] * 3) for outcome in once.outcomes))
    first, second = (cost(priced(TOKENS, arm)["base"]) for arm in (once, again))
    assert second.item == pytest.approx(first.item)
    assert (second.low, second.high) == (pytest.approx(first.low), pytest.approx(first.high))


def test_a_machines_hour_is_paid_for_the_seconds_in_which_the_arm_was_asked_and_for_idle_ones_by_its_share() -> None:
    busy = {"currency": "USD", "machine": {"hour": 3.6}}
    assert cost(priced(busy, measured("base"))["base"]).item == pytest.approx(0.001)
    half = {"currency": "USD", "machine": {"hour": 3.6, "share": 0.5}}
    assert cost(priced(half, measured("base"))["base"]).item == pytest.approx(0.002)


def test_training_and_labels_are_paid_once_and_shared_out_over_the_expected_requests() -> None:
    prices = {
        **TOKENS, "requests": 1000, "training": {"hour": 2.0}, "labelling": {"prompt": 1.0, "completion": 4.0},
        "once": {"adapter": 7.0},
    }  # fmt: skip
    spent = HOUR.model_copy(update={"teacher_prompt": 2_000_000, "teacher_completion": 500_000})
    told = cost(priced(prices, measured("adapter"), spent=spent)["adapter"])
    assert told.once == {"training": 2.0, "labelling": 4.0, "other": 7.0}
    assert told.of_request(1000) == pytest.approx(0.0132)
    assert told.of_request(None) == told.item


def test_what_nobody_recorded_or_priced_is_told_and_is_no_zero() -> None:
    unpriced = cost(priced(TOKENS, measured("hybrid"))["hybrid"]).unknown
    assert unpriced == (
        "training: 1.00 hours on 2 cores have no price",
        "retrieval: its index and its service have no price",
    )
    unrecorded = cost(priced({**TOKENS, "training": {"hour": 1}}, measured("adapter"), spent=None)["adapter"])
    assert unrecorded.unknown == ("training: how long it took is not recorded",)


def test_retrieval_is_its_search_its_index_its_service_and_the_prompt_that_its_passages_take() -> None:
    prices = {**TOKENS, "days": 10, "retrieval": {"index": 3.0, "hour": 0.5, "search": 0.001}}
    base, rag = measured("base", prompt=(100, 100)), measured("rag", prompt=(400, 600))
    arms = priced(prices, base, rag)
    told = cost(arms["rag"])
    assert told.search == pytest.approx(0.001)
    assert told.item == pytest.approx(0.001 + 600e-6)
    assert told.passages == pytest.approx(400e-6), "the arm that is the same without its index had 400 tokens less"
    assert told.once == {"index": 3.0, "retrieval service": 120.0}
    assert cost(arms["base"]).search == 0.0
    assert cost(priced(prices, rag)["rag"]).passages is None, "nothing to compare with"


def test_the_report_names_the_prices_and_what_of_them_was_of_no_use() -> None:
    prices = Prices.model_validate({**TOKENS, "once": {"adpter": 1.0}})
    arms = list(priced(TOKENS, measured("base")).values())
    told = used(prices, arms)
    assert told is not None
    assert (told.currency, told.unused, told.digest) == ("USD", ("adpter",), prices.digest)
    assert used(None, arms) is None


def test_without_prices_there_are_times_and_no_cost() -> None:
    arm = measured("base")
    result = ArmResult(
        arm="base", ref="toy:1", version_digest=arm.arm.version.digest, latency_p50=1, latency_p95=1, prompt_tokens=1,
        metrics={"f": Interval(value=0.5, low=0.4, high=0.6, n=2)}, completion_tokens=1,
    )  # fmt: skip
    (told,) = with_costs([result], [arm], 3, None, lambda _: None)
    assert told.cost is None
    assert told.timing is not None
    assert told.timing.concurrency == 3
