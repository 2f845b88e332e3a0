"""What reading through a file of items found, kept in a file of its own, so that the next start need not do it again.

It lies in the home's cache and not beside the items: a folder of an evaluation may be copied, or be for reading alone.
It belongs to one state of the items' file (its time and size), for one list of arms and one metric; of another state
it counts for nothing and is written anew. Whatever is wrong with it, the items are read through instead.
"""

from __future__ import annotations

import json
import math
import os
import zlib
from array import array
from base64 import b64decode, b64encode
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

from lifecycle.rows.writing import replaced

_FORM = 1
"""Of the file; one of another form is not read."""
_MOST_FILES = 300
"""Those that were written first are deleted past it: of a report that has gone, nobody else deletes it."""


@dataclass(frozen=True)
class ReadThrough:
    """All lines of a file. `scores` and `marks` have a place for each item and arm."""

    starts: array[int]
    """Bytes; the last is the file's end."""
    anchors: list[str]
    names: list[tuple[str, str]]
    """Name and key of each."""
    scores: array[float]
    """NaN where there is none."""
    marks: bytearray
    slices: list[dict[str, str]]

    @cached_property
    def places(self) -> dict[str, int]:
        """By anchor, by name and by key; of two of one name the first."""
        places: dict[str, int] = {}
        for place, names in enumerate(zip(self.anchors, self.names, strict=True)):
            for name in (names[0], names[1][1], names[1][0]):
                places.setdefault(name, place)
        return places


class IndexFile:
    """Of the items in one folder. `stamp` is their state, and for what they were read through."""

    def __init__(self, cache: Path, folder: Path, stamp: Sequence[object]) -> None:
        self._cache = cache
        self._path = cache / f"{sha256(str(folder.resolve()).encode()).hexdigest()[:32]}.json.z"
        self._stamp = json.loads(json.dumps([_FORM, *stamp]))

    def read(self) -> ReadThrough | None:
        """None where there is none for this state, or none that can be read."""
        try:
            told = json.loads(zlib.decompress(self._path.read_bytes()))
            if told["stamp"] != self._stamp:
                return None
            scores = array("d", (math.nan if score is None else score for score in told["scores"]))
            parts = told["parts"]
            return ReadThrough(
                array("Q", told["starts"]),
                told["anchors"],
                [(name, key) for name, key in told["names"]],
                scores,
                bytearray(b64decode(told["marks"])),
                [parts[place] for place in told["slices"]],
            )
        except (OSError, ValueError, KeyError, TypeError, IndexError, zlib.error):
            return None

    def write(self, through: ReadThrough) -> None:
        """A disk that is full costs the next reader the time, and this one nothing."""
        parts: dict[int, int] = {}
        of_items = [parts.setdefault(id(part), len(parts)) for part in through.slices]
        by_place = {parts[id(part)]: part for part in through.slices}
        told = {
            "stamp": self._stamp,
            "starts": through.starts.tolist(),
            "anchors": through.anchors,
            "names": through.names,
            "scores": [None if math.isnan(score) else score for score in through.scores],
            "marks": b64encode(bytes(through.marks)).decode(),
            "parts": [by_place[place] for place in range(len(parts))],
            "slices": of_items,
        }
        with suppress(OSError):
            self._cache.mkdir(parents=True, exist_ok=True)
            with replaced(self._path) as opened:
                opened.write(zlib.compress(json.dumps(told).encode(), 1))
            self._sweep()

    def _sweep(self) -> None:
        files = sorted((file.stat().st_mtime_ns, file.path) for file in os.scandir(self._cache) if file.is_file())
        for _, path in files[:-_MOST_FILES]:
            Path(path).unlink(missing_ok=True)
