"""What each arm takes and costs: its times, its items at a team's prices, and what is paid for it once.

Read `tradeoff.py` next: quality against cost, and from how many requests on an arm is the cheaper.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from evals.cost.prices import HOUR, Prices, Serving
from evals.cost.timing import busy_seconds, spans_of, timing_of
from evals.statistics.intervals import mean_interval
from lifecycle.costs import Cost, PricesUsed, Timing
from lifecycle.report import ArmResult

if TYPE_CHECKING:
    from evals.asking.measure import ItemResult, MeasuredArm
    from lifecycle.manifests import Spent
    from lifecycle.registry import Registry
    from lifecycle.version import Version, VersionSpec


def with_costs(
    results: Sequence[ArmResult],
    measured: Sequence[MeasuredArm],
    concurrency: int,
    prices: Prices | None,
    spent: Callable[[VersionSpec], Spent | None],
) -> tuple[ArmResult, ...]:
    """The arms' results with their times, and with costs where there are prices. `spent` is what making an artifact
    took, None where that is not recorded."""
    arms = []
    busy = busy_seconds({arm.arm.label: spans_of(arm.outcomes) for arm in measured})
    for result, arm in zip(results, measured, strict=True):
        timing = timing_of(arm.outcomes, concurrency, busy[arm.arm.label])
        cost = None
        if prices:
            made = spent(arm.arm.version.spec)
            cost = _cost(arm, timing, prices, made, _without_index(arm, measured))
        cached = fmean(answer.cached_tokens for outcome in arm.outcomes for answer in outcome.each)
        arms.append(result.model_copy(update={"timing": timing, "cached_tokens": cached, "cost": cost}))
    return tuple(arms)


def used(prices: Prices | None, results: Sequence[ArmResult]) -> PricesUsed | None:
    """What the report says of the prices."""
    if prices is None:
        return None
    unused = prices.unused([arm.arm for arm in results])
    return PricesUsed(digest=prices.digest, currency=prices.currency, requests=prices.requests, unused=unused)


def spent_of(registry: Registry) -> Callable[[VersionSpec], Spent | None]:
    """As the artifacts' manifests say."""
    return lambda spec: registry.artifact(spec.artifact[1]).spent if spec.artifact else None


def _cost(
    arm: MeasuredArm, timing: Timing | None, prices: Prices, made: Spent | None, twin: MeasuredArm | None
) -> Cost | None:
    """None where nothing was answered, or nothing says what serving this arm costs."""
    serving = prices.serving(arm.arm.label)
    # Of several answers to an item each is a request; its item is what is independent.
    placed = [(at, of) for at, outcome in enumerate(arm.outcomes) for of in outcome.each if not of.error]
    answered = [answer for _, answer in placed]
    if timing is None or not (serving.tokens or serving.machine):
        return None
    retrieves = arm.arm.version.spec.retrieves
    search = prices.retrieval.search if prices.retrieval and retrieves else 0.0
    searches = [search * outcome.requests for outcome in answered]
    items = [cost + fee for cost, fee in zip(_items(answered, timing, serving), searches, strict=True)]
    several = any(outcome.repeats for outcome in arm.outcomes)
    interval = mean_interval(items, clusters=[at for at, _ in placed] if several else None, counts=True)
    once, unknown = _once(arm.arm.version, arm.arm.label, prices, made)
    if serving.tokens and not any(outcome.prompt_tokens or outcome.completion_tokens for outcome in answered):
        unknown.append("tokens: the endpoint does not count them")
    return Cost(
        by="tokens" if serving.tokens else "machine",
        item=interval.value,
        low=max(0.0, interval.low),
        high=interval.high,
        search=sum(searches) / len(searches),
        passages=_passages(arm, twin, serving) if retrieves else None,
        once=once,
        unknown=tuple(unknown),
    )


def _items(answered: Sequence[ItemResult], timing: Timing, serving: Serving) -> list[float]:
    """What serving each item costs. A machine's busy seconds are shared over items by their latencies."""
    if serving.tokens:
        return [serving.tokens.of(of.prompt_tokens, of.cached_tokens, of.completion_tokens) for of in answered]
    assert serving.machine is not None
    whole = timing.busy / HOUR * serving.machine.hour / serving.machine.share
    waited = sum(outcome.latency for outcome in answered)
    return [whole * outcome.latency / waited if waited else whole / len(answered) for outcome in answered]


def _once(version: Version, label: str, prices: Prices, made: Spent | None) -> tuple[dict[str, float], list[str]]:
    once: dict[str, float] = {}
    unknown: list[str] = []
    if version.spec.trained:
        if made is None or made.seconds is None:
            unknown.append("training: how long it took is not recorded")
        elif prices.training is None:
            unknown.append(f"training: {made.seconds / HOUR:.2f} hours on {made.machine or 'a machine'} have no price")
        else:
            once["training"] = made.seconds / HOUR * prices.training.hour
        if made and made.teacher_tokens:
            if prices.labelling is None:
                unknown.append(f"labelling: {made.teacher_tokens:,} tokens of a teacher have no price")
            else:
                once["labelling"] = prices.labelling.of(made.teacher_prompt, 0, made.teacher_completion)
    if version.spec.retrieves:
        if prices.retrieval is None:
            unknown.append("retrieval: its index and its service have no price")
        else:
            once["index"] = prices.retrieval.index
            once["retrieval service"] = prices.retrieval.hour * 24 * (prices.days or 0.0)
    if label in prices.once:
        once["other"] = prices.once[label]
    return {name: amount for name, amount in once.items() if amount}, unknown


def _without_index(arm: MeasuredArm, measured: Sequence[MeasuredArm]) -> MeasuredArm | None:
    """The arm that is the same version without its index."""
    bare = arm.arm.version.spec.model_copy(update={"knowledge": None})
    return next((other for other in measured if other is not arm and other.arm.version.spec == bare), None)


def _passages(arm: MeasuredArm, twin: MeasuredArm | None, serving: Serving) -> float | None:
    """What the prompt tokens cost that the passages take, by the items that both arms answered."""
    if twin is None or serving.tokens is None:
        return None
    pairs = zip(arm.outcomes, twin.outcomes, strict=True)
    more = [one.prompt_tokens - other.prompt_tokens for one, other in pairs if not (one.error or other.error)]
    return serving.tokens.of(sum(more) / len(more), 0, 0) if more else None
