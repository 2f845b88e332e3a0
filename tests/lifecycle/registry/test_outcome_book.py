"""What services tell each other of canaries: each hears all that the others said of a trial, once and in order."""

from __future__ import annotations

from datetime import datetime, timedelta

from lifecycle.registry import outcome_book

GOOD, BAD = {"version": 2, "failed": False}, {"version": 2, "failed": True, "found": ["empty"]}


def test_each_hears_the_others_and_not_itself(registry):
    book = registry.outcomes
    book.tell("a", {"one": [GOOD, BAD], "two": [GOOD]})
    book.tell("b", {"one": [BAD]})
    assert [heard[1:] for heard in book.hear("a", {"one": 0, "two": 0})] == [("one", [BAD])]
    assert [heard[1:] for heard in book.hear("b", {"one": 0})] == [("one", [GOOD, BAD])]
    assert [heard[1:] for heard in book.hear("c", {"one": 0, "two": 0})] == [
        ("one", [GOOD, BAD]),
        ("two", [GOOD]),
        ("one", [BAD]),
    ]


def test_what_was_heard_is_not_heard_again(registry):
    book = registry.outcomes
    book.tell("a", {"one": [GOOD], "two": [GOOD]})
    last = {trial: number for number, trial, _ in book.hear("b", {"one": 0, "two": 0})}
    assert book.hear("b", last) == []
    book.tell("a", {"one": [BAD]})
    assert [heard[1:] for heard in book.hear("b", last)] == [("one", [BAD])]
    assert book.hear("b", {}) == []


def test_what_is_old_is_forgotten_whoever_told_it(registry, monkeypatch):
    class Later(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + outcome_book.KEPT + timedelta(seconds=1)

    book = registry.outcomes
    book.tell("a", {"one": [GOOD]})
    book.tell("b", {"one": [GOOD]})
    assert len(book.hear("somebody", {"one": 0})) == 2
    monkeypatch.setattr(outcome_book, "datetime", Later)
    book.tell("c", {"one": [BAD]})
    assert [heard[1:] for heard in book.hear("somebody", {"one": 0})] == [("one", [BAD])]


def test_an_id_is_never_given_twice(registry, monkeypatch):
    """Else who has heard up to the last one would miss what takes its place."""
    book = registry.outcomes
    book.tell("a", {"one": [GOOD]})
    ((last, _, _),) = book.hear("b", {"one": 0})
    monkeypatch.setattr(outcome_book, "KEPT", timedelta(seconds=-1))
    book.tell("a", {"one": [BAD]})
    monkeypatch.undo()
    assert [number > last for number, _, _ in book.hear("b", {"one": last})] == [True]


def test_telling_is_no_change_of_the_registry(registry):
    before = registry.revision()
    registry.outcomes.tell("a", {"one": [GOOD]})
    assert (registry.revision(), registry.audit()) == (before, [])
