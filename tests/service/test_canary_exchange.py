"""What services tell each other of a canary: over a real registry, by the exchange alone and by two whole services."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest
from structlog.testing import capture_logs

from lifecycle.errors import Unavailable
from service.traffic import canary_exchange
from service.traffic.canary import Outcome
from service.traffic.canary_exchange import CanaryExchange
from tests.service.test_traffic import alerts, canary, rolled_back, sessions

pytestmark = pytest.mark.timeout(120)

OUTCOMES = (
    Outcome(failed=True),
    Outcome(failed=False, ttft=0.25, total=1.5, found=frozenset({"empty", "not_json"})),
    Outcome(failed=False, ttft=0.1, total=0.2, found=frozenset()),
    Outcome(failed=None, ttft=3.0, total=3.0),
)


def exchange(book: Any) -> CanaryExchange:
    return CanaryExchange(book, asyncio.to_thread, every=0.01)


class Heard(list[tuple[str, int, Outcome]]):
    def __call__(self, trial: str, number: int, outcome: Outcome) -> None:
        self.append((trial, number, outcome))


async def test_every_outcome_arrives_as_it_was_told_once_and_not_with_its_teller(house: Any) -> None:
    one, other = exchange(house.registry.outcomes), exchange(house.registry.outcomes)
    at_one, at_other = Heard(), Heard()
    one.begin("t")
    other.begin("t")
    for outcome in OUTCOMES:
        one.tell("t", 2, outcome)
    for _ in range(2):
        await one.once(at_one)
        await other.once(at_other)
    assert at_one == []
    assert at_other == [("t", 2, outcome) for outcome in OUTCOMES]


async def test_who_comes_later_hears_what_was_said_before(house: Any) -> None:
    one, late = exchange(house.registry.outcomes), exchange(house.registry.outcomes)
    one.begin("t")
    one.tell("t", 2, OUTCOMES[0])
    await one.once(Heard())
    late.begin("another")
    await late.once(Heard())
    late.begin("t")
    heard = Heard()
    await late.once(heard)
    assert heard == [("t", 2, OUTCOMES[0])]


async def test_of_a_trial_that_is_over_nothing_is_told_or_heard(house: Any) -> None:
    one, other = exchange(house.registry.outcomes), exchange(house.registry.outcomes)
    heard = Heard()
    one.begin("t")
    one.tell("t", 2, OUTCOMES[0])
    one.end("t")
    one.tell("t", 2, OUTCOMES[0])
    await one.once(heard)
    assert house.registry.outcomes.hear("somebody", {"t": 0}) == []
    other.begin("t")
    other.tell("t", 2, OUTCOMES[0])
    await other.once(heard)
    await one.once(heard)
    assert heard == []


async def test_while_the_registry_is_away_what_is_to_tell_is_kept_up_to_a_limit(
    house: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canary_exchange, "_MOST", 3)
    one, other = exchange(house.registry.outcomes), exchange(house.registry.outcomes)
    one.begin("t")
    other.begin("t")
    heard = Heard()

    def away(*_: Any) -> None:
        raise Unavailable("locked")

    with capture_logs() as logs, monkeypatch.context() as patch:
        patch.setattr(house.registry.outcomes, "tell", away)
        one.tell("t", 2, OUTCOMES[0])
        one.start(Heard())
        await until(lambda: logs)
        for outcome in OUTCOMES[1:]:
            one.tell("t", 2, outcome)
        await asyncio.sleep(0.05)
    await until(lambda: house.registry.outcomes.hear("somebody", {"t": 0}))
    await one.stop()
    await other.once(heard)
    assert [outcome for _, _, outcome in heard] == list(OUTCOMES[:3])
    assert [line["log_level"] for line in logs] == ["warning"], "once, however often it is tried"


async def test_two_services_judge_a_canary_by_the_requests_of_both(house: Any, start: Any, until: Any) -> None:
    """Neither has seen as many as are asked for before anything is decided."""
    canary(house, max_error_rate=0.05, min_requests=30)
    with capture_logs() as logs:
        async with AsyncExitStack() as stack:
            both = [await stack.enter_async_context(start(house, canary_seconds=0.05)) for _ in range(2)]
            for running in both:
                path = str(house.store.get(house.adapters["two"]))
                running.engine.faults.load_errors[path] = "rank 512"
                await sessions(running, 40)  # about half of them meet the canary
            for running in both:
                await rolled_back(running, house, until)
            await until(lambda: alerts(logs))
    entry = house.registry.audit("triage")[0]
    assert entry.actor == "canary-guard"
    assert entry.detail["figures"]["n"] >= 30
    assert len(alerts(logs)) == 1


async def test_each_tells_of_all_requests_when_it_is_asked(house: Any, start: Any, until: Any) -> None:
    canary(house, max_error_rate=0.05)
    async with AsyncExitStack() as stack:
        both = [await stack.enter_async_context(start(house, canary_seconds=0.05)) for _ in range(2)]
        for running in both:
            await sessions(running, 40)

        async def counts() -> list[int]:
            pages = [(await running.client.get("/admin/traffic/triage")).json() for running in both]
            return [page["aliases"][0]["figures"][0]["n"] for page in pages]

        async def agree() -> bool:
            first, second = await counts()
            return first == second > 20

        await until(agree)
