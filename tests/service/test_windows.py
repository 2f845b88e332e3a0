"""The windows of keys in one process: exact for requests, two minutes for tokens, and no dearer for many keys."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from random import Random
from typing import Any

import pytest

from service.access.windows import WINDOW, Windows


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000_020.0  # a minute's first second

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    made.now -= made.now % WINDOW
    monkeypatch.setattr(time, "time", made)
    return made


def test_a_request_leaves_the_window_after_sixty_seconds_and_not_before(clock: Clock) -> None:
    windows = Windows()
    assert windows.request("key", 2) == (True, 1, 60.0)
    clock.now += 10
    assert windows.request("key", 2) == (True, 0, 50.0)
    assert windows.request("key", 2) == (False, 0, 50.0)
    clock.now += 49.9
    assert windows.request("key", 2)[0] is False
    clock.now += 0.2
    assert windows.request("key", 2) == (True, 0, pytest.approx(9.9))


def test_in_no_sixty_seconds_are_there_more_requests_than_allowed(clock: Clock) -> None:
    source, windows, admitted = Random(5), Windows(), []
    for _ in range(5000):
        clock.now += source.expovariate(1.0)
        if windows.request("key", 20)[0]:
            admitted.append(clock.now)
    assert len(admitted) > 1000
    for at, moment in enumerate(admitted):
        assert sum(1 for other in admitted[at:] if other < moment + WINDOW) <= 20


def test_tokens_fade_over_the_minute_after_theirs(clock: Clock) -> None:
    windows = Windows()
    clock.now += 12
    windows.charge("key", 100)
    assert windows.tokens("key") == (0, 0.0, 100, 108.0)
    clock.now += 60
    assert windows.tokens("key") == (100, 48.0, 0, 108.0)
    windows.charge("key", 5)
    clock.now += 60
    assert windows.tokens("key") == (5, 48.0, 0, 108.0)
    clock.now += 120
    assert windows.tokens("key") == (0, 0.0, 0, 108.0)


def test_keys_that_are_silent_are_forgotten(clock: Clock) -> None:
    windows = Windows()
    for number in range(10_000):
        windows.charge(f"key-{number}", 1)
    assert len(windows) == 10_000
    clock.now += 2 * WINDOW
    for _ in range(5000):
        windows.charge("another", 1)
    assert len(windows) <= 2


def test_a_key_that_is_used_is_not_forgotten_for_silent_ones(clock: Clock) -> None:
    windows = Windows()
    for number in range(100):
        windows.request(f"key-{number}", 5)
    for _ in range(10):
        clock.now += 15
        windows.request("key-7", 5)
    assert windows.request("key-7", 5)[0] is True
    clock.now += 1
    windows.charge("key-7", 3)
    assert windows.tokens("key-7")[2] == 3
    assert len(windows) < 100


class Steps:
    """Counts what is done to a collection that it stands in for."""

    def __init__(self) -> None:
        self.taken = 0


def test_a_look_costs_as_many_steps_for_ten_thousand_keys_as_for_one(clock: Clock) -> None:
    steps = Steps()

    class Counted(OrderedDict[str, Any]):
        def __iter__(self) -> Any:
            for key in super().__iter__():
                steps.taken += 1
                yield key

        def __getitem__(self, key: str) -> Any:
            steps.taken += 1
            return super().__getitem__(key)

    class Requests(deque[float]):
        def __getitem__(self, at: Any) -> Any:
            steps.taken += 1
            return super().__getitem__(at)

    def cost(keys: int) -> int:
        windows = Windows()
        windows._of = Counted()
        for number in range(keys):
            windows.request(f"key-{number}", 5)
        windows._of["key-0"].requests = Requests([clock.now - 1] * 3)
        steps.taken = 0
        windows.request("key-0", 5)
        windows.charge("key-0", 5)
        windows.tokens("key-0")
        return steps.taken

    assert cost(10_000) == cost(1) > 0
