"""What services tell each other of a canary: over a real registry, by the exchange alone and by two whole services."""

from __future__ import annotations

import asyncio
import json
import math
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy
from structlog.testing import capture_logs

from lifecycle.errors import Unavailable
from service.traffic import canary_exchange
from service.traffic.canary import Outcome
from service.traffic.canary_exchange import CanaryExchange, read, written
from tests.service.test_traffic import alerts, canary, rolled_back, sessions, unloadable

pytestmark = pytest.mark.timeout(300)

OUTCOMES = (
    Outcome(failed=True),
    Outcome(failed=False, ttft=0.25, total=1.5, caught=frozenset({"empty", "not_json"})),
    Outcome(failed=False, ttft=0.1, total=0.2, caught=frozenset()),
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
                unloadable(running, house)
                await sessions(running, 40)  # about half of them meet the canary
            for running in both:
                await rolled_back(running, house, until)
            await until(lambda: alerts(logs))
    entry = house.registry.audit("triage")[0]
    assert entry.actor == "canary-guard"
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


# -- what another release writes --------------------------------------------------------------------------------------

WRITTEN = {"version": 2, "failed": False, "ttft": 0.5, "total": 1.0, "found": ["empty"]}
READ = (2, Outcome(failed=False, ttft=0.5, total=1.0, caught=frozenset({"empty"})))


def test_a_row_is_read_as_it_was_written() -> None:
    whole = Outcome(True, 0.5, 1.5, frozenset({"not_json", "empty"}), own=True, session="ab12")
    for outcome in (*OUTCOMES, whole):
        assert read(json.loads(json.dumps(written(7, outcome)))) == (7, outcome)


@pytest.mark.parametrize(
    "more",
    [{"newer": {"than": ["this"]}}, {"schema": 9}, {"own": "yes"}, {"failed": False}],
)
def test_keys_that_this_release_does_not_know_are_passed_over(more: dict[str, Any]) -> None:
    assert read({**WRITTEN, **more}) == READ


@pytest.mark.parametrize("guard", ["rude", ""])
def test_a_guard_that_this_release_does_not_know_is_none_of_its_own(guard: str) -> None:
    assert read({**WRITTEN, "found": ["empty", guard]}) == (2, replace(READ[1], caught=frozenset({"empty", guard})))


UNREADABLE: list[Any] = [
    None, 7, "row", [], {},
    *({**WRITTEN, "version": value} for value in (None, "2", 2.0, True, [2])),
    *({**WRITTEN, "failed": value} for value in ("yes", 1, [])),
    *({**WRITTEN, "ttft": value} for value in ("1", True, -1.0, math.nan, math.inf, [1])),
    *({**WRITTEN, "total": value} for value in ("1", False, -0.1, math.nan, math.inf, {})),
    *({**WRITTEN, "found": value} for value in ("empty", 1, [1], {"empty": 1}, [["empty"]])),
    {**WRITTEN, "session": 7},
]  # fmt: skip


@pytest.mark.parametrize("row", UNREADABLE, ids=repr)
def test_a_row_that_cannot_be_read_is_none(row: Any) -> None:
    assert read(row) is None


async def test_an_unreadable_row_costs_that_row_and_is_said_once(house: Any) -> None:
    ours, heard = exchange(house.registry.outcomes), Heard()
    ours.begin("t")
    house.registry.outcomes.tell("newer", {"t": [WRITTEN, *UNREADABLE, WRITTEN]})
    house.registry.outcomes.tell("newer", {"t": [*UNREADABLE, WRITTEN]})
    with capture_logs() as logs:
        await ours.once(heard)
    assert heard == [("t", *READ)] * 3
    assert [line["event"] for line in logs] == ["what another service tells of a canary cannot be read"]


@pytest.mark.parametrize(
    "text", ["", "{", "null", "7", '{"schema": 2, "rows": []}', '"row"', "[" * 100_000, "[1e999]", "[NaN]", "1" * 5000]
)
async def test_a_batch_that_is_no_list_or_no_json_costs_that_batch(house: Any, text: str) -> None:
    ours, heard = exchange(house.registry.outcomes), Heard()
    ours.begin("t")
    book = house.registry.outcomes
    for service in ("newer", "broken", "newer"):
        book.tell(service, {"t": [WRITTEN]})
    with book._database.write() as tx:
        tx.execute(
            sqlalchemy.text("UPDATE canary_outcomes SET outcomes = :text WHERE service = 'broken'"), {"text": text}
        )
    await ours.once(heard)
    assert heard == [("t", *READ)] * 2
    await ours.once(heard)
    assert len(heard) == 2, "none is heard again"


async def test_whatever_goes_wrong_the_next_second_is_heard(house: Any, until: Any) -> None:
    book, heard = house.registry.outcomes, Heard()
    problems: list[Exception] = [TypeError("what?"), Unavailable("locked"), KeyError("trial")]

    class Book:
        def tell(self, service: str, told: Any) -> None: ...

        def hear(self, service: str, since: Any) -> Any:
            if problems:
                raise problems.pop(0)
            return book.hear(service, since)

    ours = exchange(Book())
    ours.begin("t")
    book.tell("other", {"t": [WRITTEN]})
    with capture_logs() as logs:
        ours.start(heard)
        await until(lambda: heard)
        await ours.stop()
    assert heard == [("t", *READ)]
    assert [line["problem"] for line in logs] == ["TypeError: what?"], "once, however often it is tried"
