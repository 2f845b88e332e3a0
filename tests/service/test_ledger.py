"""The ledger: requests never wait for the database, nothing is lost that can be kept, quotas hold over a restart."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from lifecycle.access.keys import ApiKey, KeyLimits
from lifecycle.access.usage import Usage
from lifecycle.errors import QuotaSpent, Unavailable
from service.access.ledger import Ledger
from tests.service.test_limiter import key

pytestmark = pytest.mark.timeout(300)

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
TODAY = NOON.date()


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def limited(tokens_per_day: int) -> ApiKey:
    return key("app").model_copy(update={"limits": KeyLimits(tokens_per_day=tokens_per_day)})


def until(condition: Any) -> None:
    while not condition():
        threading.Event().wait(0.005)


def test_counts_reach_the_book_by_themselves_and_the_last_ones_at_the_end(house: Any, clock: Clock) -> None:
    ledger = Ledger(house.registry.usage, 0.02, clock)
    ledger.start()
    ledger.add("key-app", "triage:1", 10, 5)
    ledger.add("key-app", "triage:1", 1, 1)
    until(house.registry.usage.between)
    ledger.add("key-app", "tiny", 2, 0)
    ledger.stop()
    assert [(one.version, one.requests, one.tokens) for one in house.registry.usage.between()] == [
        ("tiny", 1, 2),
        ("triage:1", 2, 17),
    ]


def test_a_quota_is_refused_when_spent_until_midnight(house: Any, clock: Clock) -> None:
    ledger = Ledger(house.registry.usage, 60, clock)
    asking = limited(100)
    ledger.check(asking)
    ledger.add(asking.id, "tiny", 60, 39)
    ledger.check(asking)
    ledger.add(asking.id, "triage:1", 1, 0)
    with pytest.raises(QuotaSpent, match="100 tokens of today") as caught:
        ledger.check(asking)
    assert caught.value.retry_after == 12 * 3600
    ledger.check(key("other"))
    clock.now += timedelta(hours=12)
    ledger.check(asking)


def test_a_quota_holds_over_a_restart(house: Any, clock: Clock) -> None:
    asking = limited(100)
    before = Ledger(house.registry.usage, 60, clock)
    before.start()
    before.add(asking.id, "tiny", 100, 0)
    before.stop()
    after = Ledger(house.registry.usage, 60, clock)
    after.start()
    with pytest.raises(QuotaSpent):
        after.check(asking)
    after.stop()


def test_two_services_share_a_quota_as_soon_as_both_have_written(house: Any, clock: Clock) -> None:
    asking = limited(100)
    one, other = (Ledger(house.registry.usage, 0.02, clock) for _ in range(2))
    one.start()
    other.start()
    one.add(asking.id, "tiny", 60, 0)
    other.add(asking.id, "tiny", 40, 0)
    until(lambda: one.spent(asking.id, TODAY) == other.spent(asking.id, TODAY) == 100)
    one.stop()
    other.stop()


class Book:
    """A book that can be held up and made to fail in the middle of a batch."""

    def __init__(self) -> None:
        self.rows: dict[tuple[date, str, str], Usage] = {}
        self.asked: list[Collection[str] | None] = []
        self.fail = False
        self.entered = threading.Event()
        self.leave = threading.Event()
        self.leave.set()

    def add(self, uses: Iterable[Usage], day: date, keys: Collection[str] | None = None) -> dict[str, int]:
        batch = list(uses)
        self.entered.set()
        self.leave.wait()
        if self.fail:
            raise Unavailable("the registry is locked")
        for use in batch:
            slot = (use.day, use.key, use.version)
            self.rows[slot] = self.rows[slot] + use if slot in self.rows else use
        return self.tokens_of(day, keys)

    def tokens_of(self, day: date, keys: Collection[str] | None = None) -> dict[str, int]:
        self.asked.append(keys)
        totals: dict[str, int] = {}
        for use in self.rows.values():
            if use.day == day and (keys is None or use.key in keys):
                totals[use.key] = totals.get(use.key, 0) + use.tokens
        return totals


def test_a_book_that_cannot_be_written_to_loses_nothing(clock: Clock) -> None:
    book = Book()
    book.fail = True
    ledger = Ledger(book, 0.01, clock)  # type: ignore[arg-type]
    ledger.start()
    ledger.add("key-app", "tiny", 10, 0)
    assert book.entered.wait(300)
    book.entered.clear()
    ledger.add("key-app", "tiny", 5, 0)
    assert book.entered.wait(300), "it is tried again"
    assert ledger.spent("key-app", TODAY) == 15
    book.fail = False
    ledger.stop()
    assert [(use.requests, use.tokens) for use in book.rows.values()] == [(2, 15)]


def test_what_is_being_written_counts_and_what_comes_meanwhile_too(clock: Clock) -> None:
    book = Book()
    ledger = Ledger(book, 0.01, clock)  # type: ignore[arg-type]
    book.leave.clear()
    ledger.add("key-app", "tiny", 10, 0)
    started = threading.Thread(target=ledger.start)
    started.start()
    assert book.entered.wait(300)
    ledger.add("key-app", "tiny", 5, 0)  # would wait for ever if it waited for the book
    assert ledger.spent("key-app", TODAY) == 15
    book.leave.set()
    started.join()
    ledger.stop()
    assert [use.tokens for use in book.rows.values()] == [15]
    assert ledger.spent("key-app", TODAY) == 15


def test_each_request_is_of_its_own_day(house: Any, clock: Clock) -> None:
    ledger = Ledger(house.registry.usage, 60, clock)
    ledger.start()
    ledger.add("key-app", "tiny", 1, 0)
    clock.now += timedelta(days=1)
    ledger.add("key-app", "tiny", 2, 0)
    assert ledger.spent("key-app", clock.now.date()) == 2
    ledger.stop()
    assert [(use.day - TODAY, use.tokens) for use in house.registry.usage.between()] == [
        (timedelta(0), 1),
        (timedelta(days=1), 2),
    ]


class Watched(dict[Any, Any]):
    """Tells how often it was gone through whole."""

    walks = 0

    def _walked(self) -> None:
        Watched.walks += 1

    def __iter__(self) -> Any:
        self._walked()
        return super().__iter__()

    def values(self) -> Any:
        self._walked()
        return super().values()

    def items(self) -> Any:
        self._walked()
        return super().items()


def test_a_check_goes_through_no_other_keys_use(clock: Clock) -> None:
    """What it costs is the same for one key and for ten thousand."""
    ledger = Ledger(Book(), 60, clock)  # type: ignore[arg-type]
    for number in range(1000):
        ledger.add(f"key-{number}", "tiny", 1, 1)
    for name in ("_pending", "_writing", "_unwritten"):
        setattr(ledger, name, Watched(getattr(ledger, name)))
    Watched.walks = 0
    asking = limited(5)
    for at in range(3):
        ledger.check(asking)
        ledger.add(asking.id, "tiny", 1, at)
    with pytest.raises(QuotaSpent):
        ledger.check(asking)
    assert Watched.walks == 0


def test_the_book_is_asked_for_all_keys_once_a_day_and_then_for_those_that_are_used_here(clock: Clock) -> None:
    book = Book()
    for number in range(100):
        book.rows[TODAY, f"key-{number}", "tiny"] = Usage(day=TODAY, key=f"key-{number}", version="tiny", requests=1)
    ledger = Ledger(book, 60, clock)  # type: ignore[arg-type]
    ledger._try_write()
    ledger._try_write()
    ledger.check(limited(10))
    ledger.add("key-7", "tiny", 1, 1)
    ledger._try_write()
    ledger._try_write()
    clock.now += timedelta(days=1)
    ledger._try_write()
    assert book.asked == [None, {"key-app", "key-7"}, None]


def test_nothing_of_what_was_written_stays_in_memory(clock: Clock) -> None:
    ledger = Ledger(Book(), 60, clock)  # type: ignore[arg-type]
    for number in range(100):
        ledger.add(f"key-{number}", "tiny", 1, 1)
    ledger._try_write()
    assert not ledger._pending
    assert not ledger._unwritten
    assert ledger.spent("key-7", TODAY) == 2


def test_what_another_service_wrote_counts_after_the_next_look_for_a_key_that_is_used_here(clock: Clock) -> None:
    book = Book()
    ledger = Ledger(book, 60, clock)  # type: ignore[arg-type]
    ledger._try_write()
    ledger.check(limited(10))
    book.rows[TODAY, "key-app", "tiny"] = Usage(day=TODAY, key="key-app", version="tiny", requests=1, prompt_tokens=10)
    ledger._try_write()
    with pytest.raises(QuotaSpent):
        ledger.check(limited(10))
