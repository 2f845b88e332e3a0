"""What a gateway knows of its rooms: cards of some age, and its own requests at once."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from service.cluster.asking import Ask, Card, Held
from service.cluster.fleet import FleetAdapters, FleetEngine
from service.cluster.rooms import Rooms, rooms_of

ADAPTER = "sha256:" + "a" * 64


def card(room: str, *held: str, busy: int = 0, capacity: int = 8, taken: int = 0, age: float = 0.0) -> Card:
    residents = tuple(Held(digest, 0, 0, False, age) for digest in held)
    return Card(room, capacity, busy, 0, places=4, slots=2, slots_taken=taken, held=residents)


def rooms(*cards: Card) -> Rooms:
    made = Rooms()
    made.are((each.room, 8) for each in cards)
    for each in cards:
        made.told(each)
    return made


def test_an_age_is_counted_on_here_from_when_it_came_and_equal_cards_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two machines' clocks differ: no time is told, and an age alone is no news."""
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    known = rooms(card("x", ADAPTER, age=7.0))
    engine = FleetEngine({"base": Told(known)})
    clock[0] += 5
    known.told(card("x", ADAPTER, age=12.4))
    (row,) = FleetAdapters(engine).residents()
    assert row.resident_seconds == 12.0
    assert pickle.loads(pickle.dumps(card("x", ADAPTER, age=1.0))) == card("x", ADAPTER, age=2.0)


class Told:
    """A line along which nothing is asked."""

    def __init__(self, known: Rooms) -> None:
        self.cards = known.cards

    def ask(self, ask: Ask) -> Any:
        raise NotImplementedError


def first(known: Rooms, digest: str | None, **ask: Any) -> str:
    return known.ranked(Ask("generate", digest, **ask))[0]


def test_an_adapter_is_asked_for_where_it_is() -> None:
    assert first(rooms(card("x"), card("y", "a"), card("z")), "a") == "y"


def test_what_this_gateway_has_sent_is_there_before_any_card_says_so() -> None:
    known = rooms(*(card(room, busy=2) for room in "xyz"))
    home = first(known, "a")
    other = next(room for room in "xyz" if room != home)
    known.sent(other, "a")
    assert first(known, "a") == other
    known.ended(other, "a")
    assert first(known, "a") == home


def test_a_card_that_is_older_than_its_own_requests_does_not_hide_them() -> None:
    known = rooms(card("x"), card("y"))
    for _ in range(3):
        known.sent("x", None)
    known.told(card("x", busy=1))
    assert first(known, None) == "y"


def test_others_requests_count_as_the_card_tells_them() -> None:
    known = rooms(card("x", busy=5), card("y"))
    known.sent("y", None)
    assert first(known, None) == "y"
    for _ in range(5):
        known.sent("y", None)
    assert first(known, None) == "x"


def test_own_requests_are_not_counted_twice() -> None:
    known = rooms(card("x"), card("y"))
    for _ in range(2):
        known.sent("x", None)
    known.told(card("x", busy=2))
    for _ in range(3):
        known.sent("y", None)
    assert first(known, None) == "x", "it has two requests and not four"


def test_full_rooms_and_those_that_have_refused_are_left_out() -> None:
    known = rooms(card("x", capacity=1, busy=1), card("y"), card("z", capacity=0))
    assert known.ranked(Ask("generate")) == ["y"]
    assert known.ranked(Ask("generate", passed_over=frozenset("y"))) == []


def test_a_room_that_is_gone_is_forgotten_and_its_late_word_is_nothing() -> None:
    known = rooms(card("x", "a"), card("y"))
    known.sent("x", "a")
    known.are([("y", 8)])
    known.told(card("x", "a"))
    known.ended("x", "a")
    assert known.ranked(Ask("generate", "a")) == ["y"]
    assert [each.room for each in known.cards()] == ["y"]


def test_what_left_the_slots_is_near_and_what_was_used_last_is_in_one() -> None:
    known = rooms(card("x", "old", "a", "b"), card("y", "old"))
    assert first(known, "old") == "y"


def test_who_chooses_and_who_looks_on_know_the_same() -> None:
    assert rooms_of("engine-of-a-test") is rooms_of("engine-of-a-test")
