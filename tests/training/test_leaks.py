"""Test rows are found in training rows as their definition says, and a test row costs a few bytes of memory."""

from __future__ import annotations

import json
import random
import tracemalloc
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from lifecycle.conversation import Conversation, Message
from training.data import duplicates, findings, leaks, looking, repeats, row_places, unseen
from training.data.checks import check
from training.data.findings import DataReport
from training.data.looking import Task
from training.data.spool import Spool


def talk(question: str, answer: str, place: str) -> Conversation:
    return Conversation(place, "", (Message("user", question), Message("assistant", answer)))


def drawn(seed: int) -> tuple[list[Conversation], list[Conversation]]:
    """Training rows and test rows of so few words that many stand inside one another."""
    by_chance = random.Random(seed)
    words = ["alif", "ba", "ta", "tha"][: by_chance.randint(2, 4)]

    def text(least: int, most: int) -> str:
        return " ".join(by_chance.choices(words, k=by_chance.randint(least, most)))

    trained = [talk(text(1, 12), text(1, 20), f"r:{row}") for row in range(by_chance.randint(0, 15))]
    return trained, [talk(text(1, 9), "a", f"t:{row}") for row in range(by_chance.randint(0, 25))]


def by_definition(trained: list[Conversation], tests: list[Conversation]) -> dict[str, list[str]]:
    told: dict[str, list[str]] = {"=": [], "⊂": []}
    for test in tests:
        asked = test.question
        equal = [row.place for row in trained if row.question == asked]
        texts = [(row.place, text) for row in trained for text in (row.question, row.answer)]
        within = [place for place, text in texts if len(asked.split()) >= 5 and f" {asked} " in f" {text} "]
        if equal or within:
            sign, (place, *_) = ("=", equal) if equal else ("⊂", within)
            told[sign].append(f"{test.place} {sign} {place}")
    return told


def told(report: DataReport, sign: str) -> list[str]:
    return sorted(place for found in report.findings for place in found.places if f" {sign} " in place)


@pytest.mark.parametrize(("most", "batch", "seeds"), [(15, 7, 20), (1 << 17, 4096, 80)])
def test_leaks_are_those_of_the_definition_from_memory_and_from_disk(
    most: int, batch: int, seeds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaks, "Spool", partial(Spool, most=most))
    monkeypatch.setattr(unseen, "Spool", partial(Spool, most=most))
    monkeypatch.setattr(leaks, "_MOST", batch)
    monkeypatch.setattr(leaks, "_BITS", 6)  # most hashes share their bit with others
    monkeypatch.setattr(duplicates, "_BITS", 12)
    for module in (leaks, unseen, row_places):
        monkeypatch.setattr(module, "_BATCH", batch)
    reached = {"=": 0, "⊂": 0}
    for seed in range(seeds):
        trained, tests = drawn(seed)
        report = check(trained, {"one": tests[::2], "other": tests[1::2]}, similarity=1.0)
        expected = by_definition(trained, tests)
        assert told(report, "⊂") == sorted(expected["⊂"]), seed
        assert [place for place in told(report, "=") if place.startswith("t:")] == sorted(expected["="]), seed
        reached = {sign: count + len(expected[sign]) for sign, count in reached.items()}
    assert min(reached.values()) >= seeds // 4


def test_a_test_row_keeps_a_few_bytes_in_memory_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it leaks, or nearly does, as a third of these do each."""
    for module in (leaks, repeats, duplicates, unseen, row_places):
        monkeypatch.setattr(module, "_BATCH", 128)
    for module in (leaks, repeats, duplicates, unseen):
        monkeypatch.setattr(module, "Spool", partial(Spool, most=256))
    for module in (leaks, findings):
        monkeypatch.setattr(module, "MOST_PLACES", 20)
    monkeypatch.setattr(duplicates, "_BITS", 12)

    def questions(rows: int, of: str) -> Iterator[str]:
        by_chance = random.Random(7)
        for row in range(rows):
            words = ["".join(by_chance.choices("abcdefghij", k=6)) for _ in range(7)]
            last = {0: "", 1: " please", 2: " whatever else"}[row % 3] if of == "test" else ""
            yield " ".join([*(words if row % 3 < 2 else words[::-1] if of == "test" else words), *last.split()])

    def written(rows: int, of: str) -> Path:
        path = tmp_path / f"{of}-{rows}.jsonl"
        lines = (json.dumps({"prompt": question, "completion": of}) for question in questions(rows, of))
        path.write_text("\n".join(lines))
        return path

    trained, most = written(2700, "train"), []
    for rows in (900, 2700):
        task = Task((trained,), (written(rows, "test"),))
        looking.look(task)  # what is imported and kept in mind is there
        tracemalloc.start()
        report = looking.look(task)
        most.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        counted = {found.check: found.count for found in report.findings}
        assert counted["leakage"] == counted["near leakage"] == rows // 3 + (rows % 3 > 1)
    assert (most[1] - most[0]) / 1800 < 40  # a place and a question, kept, take 250
