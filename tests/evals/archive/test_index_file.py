"""What was read through of a report's items is there at the next start, and never for another state of the file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from evals.archive import item_index
from evals.archive.index_file import _MOST_FILES, IndexFile
from evals.archive.item_index import Indexes, ItemFilter
from tests.evals.archive.test_item_index import ARMS, ROWS, write

FILTERS = (
    ItemFilter(),
    ItemFilter(outcome="wrong"),
    ItemFilter(slices=(("language", "ar"),)),
    ItemFilter(words="tooth"),
)


def looked(items: Path, cache: Path) -> tuple[Any, ...]:
    """What a service that starts now finds."""
    index = Indexes(cache=cache).of(items, ARMS, "exact")
    names = [(index.anchor(place), index.place(str(row["key"]))) for place, row in enumerate(ROWS[: len(index)])]
    return [list(index.places(wanted)) for wanted in FILTERS], index.fields, names, index.read([0, len(index) - 1])


@pytest.fixture
def items(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    write(folder, ROWS)
    return folder


def test_the_next_start_reads_no_item_through(items: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first = looked(items, tmp_path / "cache")
    monkeypatch.setattr(item_index, "_filled", lambda *asked: pytest.fail("the items were read through again"))
    assert looked(items, tmp_path / "cache") == first


@pytest.mark.parametrize("broken", [b"", b"no index", b"x\x9c\x03\x00\x00\x00\x00\x01"])
def test_one_that_cannot_be_read_costs_time_and_nothing_else(items: Path, tmp_path: Path, broken: bytes):
    first = looked(items, tmp_path / "cache")
    (file,) = (tmp_path / "cache").iterdir()
    file.write_bytes(broken)
    assert looked(items, tmp_path / "cache") == first
    assert file.read_bytes() != broken


def test_items_that_were_written_anew_are_read_anew(items: Path, tmp_path: Path):
    looked(items, tmp_path / "cache")
    write(items, ROWS[:3])
    os.utime(items / "items.jsonl", ns=(1, 1))
    assert len(Indexes(cache=tmp_path / "cache").of(items, ARMS, "exact")) == 3
    assert len(Indexes(cache=tmp_path / "cache").of(items, ARMS[:1], "exact")) == 3
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_the_cache_of_reports_that_are_gone_does_not_grow(items: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("evals.archive.index_file._MOST_FILES", 2)
    through = Indexes().of(items, ARMS, "exact")._all
    for place in range(5):
        IndexFile(tmp_path / "cache", tmp_path / f"gone-{place}", [1]).write(through)
    assert len(list((tmp_path / "cache").iterdir())) == 2
    assert _MOST_FILES > 100


def test_a_place_where_nothing_can_be_written_is_done_without(items: Path, tmp_path: Path):
    (tmp_path / "cache").write_text("a file")
    assert looked(items, tmp_path / "cache") == looked(items, tmp_path / "other")
