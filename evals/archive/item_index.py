"""The items of a kept report, found quickly: where each line begins, and what is asked of many lines at once.

`items.jsonl` is read through once for the index and, at the first search, once for its words; afterwards a page reads
the lines that it shows and no others. `Indexes` keeps those of the reports that were looked at last, `index_file.py`
keeps what was read through for the next start. Safe to use from several threads.
"""

from __future__ import annotations

import math
import mmap
import os
import tempfile
import time
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Literal

from evals.archive.index_file import IndexFile, ReadThrough
from evals.archive.items import FILE, Item, differ, parsed, plain, searchable
from lifecycle.errors import NotFound

Outcome = Literal["right", "wrong", "without", "failed", "cut"]
"""Of an answer: a score of 1, one below it, no figure, no answer at all, or one that its limit of tokens cut."""
_UNSCORED, _FAILED, _CUT = 1, 2, 4
_MOST_ITEMS = 300_000
"""Of all indexes that are kept together: about 100 bytes each for five arms, and their words on the disk."""
_REMEMBERED = 16
"""Filters of a report whose items are remembered: whoever reads item by item asks the same again and again."""
_LINES = 8
"""After so many lines other threads come first."""


@dataclass(frozen=True, slots=True)
class ItemFilter:
    """Which items of a report are shown. All that is given must hold."""

    words: str = ""
    """See `items.matches`."""
    slices: tuple[tuple[str, str], ...] = ()
    """Field and value."""
    arm: str = ""
    """Whose outcome is asked for; "" for any arm's."""
    outcome: Outcome | None = None
    disagree: bool = False
    """Where the arms differ: all of them, or `arm` and `against`."""
    against: str = ""


class ItemIndex:
    """Of one report. `arms` are its arms in their order, `metric` that by which single items are told apart."""

    def __init__(self, folder: Path, arms: Sequence[str], metric: str, kept: IndexFile | None = None) -> None:
        """`kept` is where what is read through is kept. Raises `NotFound` without the file of items, and `Corrupt` with
        the line that is none."""
        self._path = folder / FILE
        self.arms = tuple(arms)
        if not self._path.is_file():
            raise NotFound(f"{self._path} is not there: copy the folder from the machine that ran the evaluation")
        known = kept.read() if kept is not None else None
        self._all = known or _filled(self._path, self.arms, metric)
        if kept is not None and known is None:
            kept.write(self._all)
        self._remembered: OrderedDict[ItemFilter, Sequence[int]] = OrderedDict()
        self._made_texts: _Texts | None = None
        self._lock = Lock()
        self._reading = Lock()

    def __len__(self) -> int:
        return len(self._all.slices)

    @cached_property
    def fields(self) -> dict[str, list[str]]:
        """Field of a slice → its values, in alphabetical order."""
        values: dict[str, set[str]] = {}
        for part in self._all.slices:
            for name, value in part.items():
                values.setdefault(name, set()).add(value)
        return {name: sorted(known) for name, known in values.items()}

    def place(self, wanted: str) -> int:
        """Of the item with this anchor, name or key, from 0. Raises `NotFound`."""
        place = self._all.places.get(wanted)
        if place is None:
            raise NotFound(f"the report has no item {wanted[:80]}; search the items for its words")
        return place

    def anchor(self, place: int) -> str:
        """See `anchors`."""
        return self._all.anchors[place]

    def places(self, wanted: ItemFilter) -> Sequence[int]:
        """Of the items that it takes, in the report's order."""
        with self._lock:
            if (known := self._remembered.get(wanted)) is not None:
                self._remembered.move_to_end(wanted)
                return known
        places = self._chosen(wanted)
        with self._lock:
            self._remembered[wanted] = places
            while len(self._remembered) > _REMEMBERED:
                self._remembered.popitem(last=False)
        return places

    def read(self, places: Sequence[int]) -> list[Item]:
        """These items, whole. Raises `Corrupt` for a file that was written anew since."""
        items = []
        with self._path.open("rb") as file:
            for place in places:
                start, end = self._all.starts[place], self._all.starts[place + 1]
                file.seek(start)
                items.append(parsed(file.read(end - start), self._path, place + 1))
        return items

    def _chosen(self, wanted: ItemFilter) -> Sequence[int]:
        tests = list(self._tests(wanted))
        places: Sequence[int] = range(len(self))
        if wanted.words.split():
            places = self._texts.places([plain(word) for word in wanted.words.split()])
        return [place for place in places if all(test(place) for test in tests)] if tests else places

    def _tests(self, wanted: ItemFilter) -> Iterator[Callable[[int], bool]]:
        if wanted.slices:
            yield lambda place: all(self._all.slices[place].get(name) == value for name, value in wanted.slices)
        named = [self._arm(arm) for arm in (wanted.arm, wanted.against) if arm]
        every = range(len(self.arms))
        if wanted.outcome is not None:
            of, fits = named[:1] or every, _FITS[wanted.outcome]
            yield lambda place: any(fits(self._score(place, arm), self._mark(place, arm)) for arm in of)
        if wanted.disagree:
            both = named if len(named) > 1 else every
            yield lambda place: differ(
                [None if math.isnan(score) else score for arm in both for score in (self._score(place, arm),)],
                any(self._mark(place, arm) & _UNSCORED for arm in both),
            )

    def _arm(self, label: str) -> int:
        if label not in self.arms:
            raise NotFound(f"the report has no arm '{label[:80]}'; its arms are {', '.join(self.arms)}")
        return self.arms.index(label)

    def _score(self, place: int, arm: int) -> float:
        return self._all.scores[place * len(self.arms) + arm]

    def _mark(self, place: int, arm: int) -> int:
        return self._all.marks[place * len(self.arms) + arm]

    @property
    def _texts(self) -> _Texts:
        with self._reading:
            if self._made_texts is None:
                self._made_texts = _Texts.of(self._path)
            return self._made_texts


_FITS: dict[Outcome, Callable[[float, int], bool]] = {
    "right": lambda score, marks: score >= 1,
    "wrong": lambda score, marks: score < 1,
    "without": lambda score, marks: bool(marks & _UNSCORED),
    "failed": lambda score, marks: bool(marks & _FAILED),
    "cut": lambda score, marks: bool(marks & _CUT),
}
"""NaN is neither less than 1 nor more."""


@dataclass(frozen=True, slots=True)
class _Texts:
    """All words of all items, one behind the other, in a file that has no name and ends with this object."""

    words: mmap.mmap
    starts: array[int]

    @classmethod
    def of(cls, path: Path) -> _Texts:
        starts = array("Q", [0])
        with tempfile.TemporaryFile() as file:
            for item in _items(path):
                file.write(searchable(item).encode("utf-8", "surrogatepass") + b"\n")
                starts.append(file.tell())
            file.write(b"\n")  # an empty file cannot be mapped
            file.flush()
            return cls(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), starts)

    def places(self, words: Sequence[str]) -> list[int]:
        """Of the items that have all of the words."""
        first, *others = (word.encode("utf-8", "surrogatepass") for word in sorted(words, key=len, reverse=True))
        places, at = [], 0
        while 0 <= (at := self.words.find(first, at)) < self.starts[-1]:
            place = bisect_right(self.starts, at) - 1
            start, end = self.starts[place], self.starts[place + 1]
            if all(self.words.find(word, start, end) >= 0 for word in others):
                places.append(place)
            at = end
        return places


class Indexes:
    """Of the reports that were looked at last: as many as hold so many items together."""

    def __init__(self, most_items: int = _MOST_ITEMS, cache: Path | None = None) -> None:
        """`cache` is a folder for what was read through of each report; without one that is done at every start."""
        self._most = most_items
        self._cache = cache
        self._kept: OrderedDict[tuple[object, ...], ItemIndex] = OrderedDict()
        self._making: dict[Path, Lock] = {}
        self._lock = Lock()

    def of(self, folder: Path, arms: Sequence[str], metric: str) -> ItemIndex:
        """Made when it is first asked for, or when the file is another; see `ItemIndex` for what it raises."""
        with self._lock:
            making = self._making.setdefault(folder, Lock())
        with making:  # two who come at once wait for one
            if (known := self.known(folder, arms, metric)) is not None:
                return known
            key = _key(folder, arms, metric)
            kept = None if self._cache is None else IndexFile(self._cache, folder, key[1:])
            made = ItemIndex(folder, arms, metric, kept)
            with self._lock:
                self._kept[key] = made
                while len(self._kept) > 1 and sum(map(len, self._kept.values())) > self._most:
                    self._kept.popitem(last=False)
            return made

    def known(self, folder: Path, arms: Sequence[str], metric: str) -> ItemIndex | None:
        """The one that is there already, or None."""
        key = _key(folder, arms, metric)
        with self._lock:
            for other in [other for other in self._kept if other[0] == folder and other != key]:
                del self._kept[other]
            if (known := self._kept.get(key)) is not None:
                self._kept.move_to_end(key)
            return known


def anchors() -> Callable[[Item], str]:
    """Of item after item: the anchor of its key; of a key that came before with the number of times behind."""
    times: dict[str, int] = {}

    def anchored(item: Item) -> str:
        name = item.anchor
        times[name] = times.get(name, 0) + 1
        return name if times[name] == 1 else f"{name}-{times[name]}"

    return anchored


def first_items(folder: Path, n: int) -> list[tuple[str, Item]]:
    """With their anchors, read without an index."""
    anchored = anchors()
    with (folder / FILE).open("rb") as file:
        items = [parsed(line, folder / FILE, number) for number, line in enumerate(islice(file, n), 1)]
    return [(anchored(item), item) for item in items]


def _key(folder: Path, arms: Sequence[str], metric: str) -> tuple[object, ...]:
    try:
        told = os.stat(folder / FILE)
    except OSError:
        return (folder, None)
    return (folder, told.st_mtime_ns, told.st_size, tuple(arms), metric)


def _filled(path: Path, arms: Sequence[str], metric: str) -> ReadThrough:
    filled = ReadThrough(array("Q", [0]), [], [], array("d"), bytearray(), [])
    anchored = anchors()
    parts: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}
    """The same slices are one object."""
    for item, length in _lines(path):
        filled.starts.append(filled.starts[-1] + length)
        filled.anchors.append(anchored(item))
        filled.names.append((item.name, item.key))
        filled.slices.append(parts.setdefault(tuple(item.slices.items()), item.slices))
        for arm in arms:
            answer = item.arms.get(arm)
            score = answer.scores.get(metric) if answer else None
            filled.scores.append(math.nan if score is None else score)
            marks = 0
            if answer:
                marks = _UNSCORED * (metric in answer.unscored) | _FAILED * bool(answer.error) | _CUT * answer.cut
            filled.marks.append(marks)
    return filled


def _items(path: Path) -> Iterator[Item]:
    return (item for item, _ in _lines(path))


def _lines(path: Path) -> Iterator[tuple[Item, int]]:
    """Each item with the length of its line in bytes."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            yield parsed(line, path, number), len(line)
            if number % _LINES == 0:
                time.sleep(0)
