"""Rows of things that are too long for memory: what 100,000 items came to, or the items themselves.

Blocks of them lie in a temporary file, which goes when the row does; in memory are the last blocks that were used, and
eight bytes for each of the others. Read in their order they cost a few microseconds each.
"""

from __future__ import annotations

import pickle
import tempfile
import weakref
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO, Generic, TypeVar, cast, overload

_T = TypeVar("_T")
_BLOCK = 256


class Spilled(Sequence[_T]):
    """Grows at its end. Things are read as copies of what was put in, so they must not be changed."""

    def __init__(self, things: Iterable[_T] = ()) -> None:
        self._file: BinaryIO | None = None
        self._ends = array("Q", [0])
        """Of each block that is in the file, in bytes."""
        self._newest: list[_T] = []
        self._read: tuple[int, list[_T]] = (-1, [])
        """The block that was read last, by its number."""
        for thing in things:
            self.append(thing)

    def append(self, thing: _T) -> None:
        self._newest.append(thing)
        if len(self._newest) == _BLOCK:
            if self._file is None:
                self._file = cast(BinaryIO, tempfile.TemporaryFile(prefix="dabt-"))  # noqa: SIM115  (closed with the row)
                weakref.finalize(self, self._file.close)
            self._file.seek(self._ends[-1])
            self._file.write(pickle.dumps(self._newest, protocol=pickle.HIGHEST_PROTOCOL))
            self._ends.append(self._file.tell())
            self._newest = []

    def __len__(self) -> int:
        return (len(self._ends) - 1) * _BLOCK + len(self._newest)

    def __iter__(self) -> Iterator[_T]:
        for number in range(len(self._ends)):
            yield from self._block(number)

    @overload
    def __getitem__(self, at: int) -> _T: ...
    @overload
    def __getitem__(self, at: slice) -> list[_T]: ...
    def __getitem__(self, at: int | slice) -> _T | list[_T]:
        place = range(len(self))[at]
        if isinstance(place, range):
            return [self[one] for one in place]
        return self._block(place // _BLOCK)[place % _BLOCK]

    def _block(self, number: int) -> list[_T]:
        if number == len(self._ends) - 1:
            return self._newest
        if self._read[0] != number:
            assert self._file is not None
            self._file.seek(self._ends[number])
            # What this process wrote a moment ago into a file without a name: nobody else can have put anything there.
            self._read = number, pickle.loads(self._file.read(self._ends[number + 1] - self._ends[number]))  # noqa: S301
        return self._read[1]


class Picked(Sequence[_T], Generic[_T]):
    """Those of a row's things that stand at these places, without a copy of them."""

    def __init__(self, row: Sequence[_T], places: Sequence[int]) -> None:
        self._row, self._places = row, array("Q", places)

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, at: int) -> _T: ...
    @overload
    def __getitem__(self, at: slice) -> Picked[_T]: ...
    def __getitem__(self, at: int | slice) -> _T | Picked[_T]:
        return Picked(self._row, self._places[at]) if isinstance(at, slice) else self._row[self._places[at]]
