"""Items are found by what is asked of them as `items.py` finds them, and only those that are shown are read."""

from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from evals.archive.item_index import Indexes, ItemFilter, ItemIndex, first_items
from evals.archive.items import anchor, disagrees, matches, read
from evals.archive.items import plain as plain_text
from lifecycle.errors import Corrupt, NotFound
from lifecycle.text.letters import ascii_digits, one_spelling, visible

ARMS = ("base", "adapter")
KEYS = ["a/1", "\"'<&%?#", "مفتاح/٢", "\ud800 half", "", "../x", "a b"]


def answer(text: str, score: float | None = None, **more: Any) -> dict[str, Any]:
    scored = {
        "scores": {} if score is None else {"exact": score},
        "unscored": {} if score is not None else {"exact": "late"},
    }
    return {"answer": text, **scored, **more}


ROWS = [
    {"key": "a/1", "name": "one", "question": "My tooth hurts", "slices": {"language": "en"},
     "arms": {"base": answer("Go home", 0.0), "adapter": answer("See a dentist", 1.0)}},
    {"key": KEYS[1], "name": "two", "question": "عِنْدي ألمٌ في السنّ", "slices": {"language": "ar"},
     "arms": {"base": answer("نعم", 1.0), "adapter": answer("نعم", 1.0, cut=True)}},
    {"key": KEYS[2], "name": "three", "question": "half", "slices": {"language": "ar"},
     "arms": {"base": answer("", None, error="HTTP 500"), "adapter": answer("x", 0.5)}},
    {"key": KEYS[3], "name": "four", "question": "\ud800", "arms": {"base": answer("x", 1.0)}},
    {"key": KEYS[4], "name": "five", "arms": {arm: answer("tooth tooth", 1.0) for arm in ARMS}},
    {"key": KEYS[5], "name": "six", "arms": {arm: answer("y", None) for arm in ARMS}},
    {"key": KEYS[6], "name": "seven", "arms": {arm: answer("y", 0.99999999999) for arm in ARMS}},
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, ROWS)
    return tmp_path


def write(folder: Path, rows: list[dict[str, Any]]) -> None:
    (folder / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def index(folder: Path) -> ItemIndex:
    return ItemIndex(folder, ARMS, "exact")


@pytest.mark.parametrize(
    ("wanted", "places"),
    [
        (ItemFilter(), [0, 1, 2, 3, 4, 5, 6]),
        (ItemFilter(outcome="right"), [0, 1, 3, 4]),
        (ItemFilter(outcome="right", arm="base"), [1, 3, 4]),
        (ItemFilter(outcome="wrong"), [0, 2, 6]),
        (ItemFilter(outcome="wrong", arm="adapter"), [2, 6]),
        (ItemFilter(outcome="without"), [2, 5]),
        (ItemFilter(outcome="without", arm="adapter"), [5]),
        (ItemFilter(outcome="failed"), [2]),
        (ItemFilter(outcome="cut"), [1]),
        (ItemFilter(outcome="cut", arm="base"), []),
        (ItemFilter(slices=(("language", "ar"),)), [1, 2]),
        (ItemFilter(slices=(("language", "ar"),), outcome="cut"), [1]),
        (ItemFilter(slices=(("nothing", "ar"),)), []),
        (ItemFilter(disagree=True), [0, 2]),
        (ItemFilter(disagree=True, arm="base", against="base"), []),
        (ItemFilter(words="TOOTH"), [0, 4]),
        (ItemFilter(words="tooth dentist"), [0]),
        (ItemFilter(words="عندي الم"), [1]),
        (ItemFilter(words="half\u00a0tooth"), []),
        (ItemFilter(words="500"), [2]),
        (ItemFilter(words="nothing of this"), []),
        (ItemFilter(words="tooth", outcome="wrong"), [0]),
    ],
)
def test_a_filter_takes_these_items_in_their_order(index: ItemIndex, wanted: ItemFilter, places: list[int]):
    assert list(index.places(wanted)) == places
    assert list(index.places(wanted)) == places  # remembered


def test_it_finds_what_reading_every_item_finds(index: ItemIndex, folder: Path):
    every = list(read(folder))
    assert index.read(range(len(index))) == every
    assert list(index.places(ItemFilter(disagree=True))) == [
        place for place, item in enumerate(every) if disagrees(item, "exact")
    ]
    for words in ("tooth", "ألم", "HTTP", "x", "\ud800", "a/1"):
        found = [place for place, item in enumerate(every) if matches(item, words)]
        assert list(index.places(ItemFilter(words=words))) == found, words


@pytest.mark.parametrize("place", range(len(ROWS)))
def test_an_item_is_found_by_key_name_and_anchor_whatever_the_key_holds(index: ItemIndex, place: int):
    key, name = str(ROWS[place]["key"]), str(ROWS[place]["name"])
    assert [index.place(key), index.place(name), index.place(anchor(key))] == [place] * 3
    assert index.anchor(place).encode("ascii").replace(b"-", b"").isalnum()


def test_two_items_of_one_key_have_two_places(tmp_path: Path):
    write(tmp_path, [ROWS[0], ROWS[0], ROWS[1]])
    index = ItemIndex(tmp_path, ARMS, "exact")
    assert [index.place(index.anchor(place)) for place in range(3)] == [0, 1, 2]
    assert [name for name, _ in first_items(tmp_path, 2)] == [index.anchor(0), index.anchor(1)]


def test_an_arm_that_is_not_there_and_an_item_that_is_not_there_are_told(index: ItemIndex):
    with pytest.raises(NotFound, match="no arm 'x'; its arms are base, adapter"):
        index.places(ItemFilter(outcome="right", arm="x"))
    with pytest.raises(NotFound, match="no item nowhere"):
        index.place("nowhere")


def test_a_line_that_is_no_item_is_named(folder: Path):
    with (folder / "items.jsonl").open("a") as file:
        file.write('{"key": "cut off')
    with pytest.raises(Corrupt, match=r"items\.jsonl:8 is no item"):
        ItemIndex(folder, ARMS, "exact")


def test_an_index_is_made_once_and_again_for_another_file(folder: Path):
    indexes = Indexes()
    assert indexes.known(folder, ARMS, "exact") is None
    made = indexes.of(folder, ARMS, "exact")
    assert indexes.of(folder, ARMS, "exact") is made
    write(folder, ROWS[:2])
    os.utime(folder / "items.jsonl", ns=(1, 1))
    assert len(indexes.of(folder, ARMS, "exact")) == 2


def test_as_many_indexes_are_kept_as_hold_so_many_items(tmp_path: Path):
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
        write(folder, ROWS)
    indexes = Indexes(most_items=2 * len(ROWS))
    for folder in folders:
        indexes.of(folder, ARMS, "exact")
    assert [indexes.known(folder, ARMS, "exact") is None for folder in folders] == [True, False, False]


def test_the_plain_form_of_a_text_is_that_of_its_words():
    texts = ["ﻻ  ﷺ ", "é é", "\ufeff\u200fعِندي\u0301 ", "a\u00a0b\u2003c", "x" * 100 + " É", "\n \n", "١٢ ۳"]
    for text in texts:
        assert plain_text(text) == one_spelling(unicodedata.normalize("NFKC", ascii_digits(visible(text)).casefold()))
