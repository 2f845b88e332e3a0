"""Records of whole numbers on disk: by the order of their first (`Spool`), or in that in which they come (`Table`).

What finds equal rows in a file of any size: the memory holds one part at a time.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

Records = NDArray[Any]
_PARTS = 64
_MOST = 1 << 17
"""Records that are kept in memory before they go to disk."""


class Spool:
    """Records of the type `fields`, whose first field is the key, as u8."""

    def __init__(self, fields: list[tuple[str, str]], most: int = _MOST) -> None:
        self._type = np.dtype(fields)
        self._key = fields[0][0]
        self._most = most
        self._waiting: list[Records] = []
        self._count = 0
        self._files: list[IO[bytes]] = []

    def add(self, *columns: Any) -> None:
        """Arrays, or lists of numbers, of one length: a column each."""
        records = _records(self._type, columns)
        self._waiting.append(records)
        self._count += len(records)
        if self._count > self._most:
            self._spill()

    def parts(self) -> Iterator[Records]:
        """All records, sorted by key; equal keys stand in one part, in the order in which they were added."""
        if not self._files:
            if self._count:
                yield self._sorted(np.concatenate(self._waiting))
            return
        self._spill()
        for file in self._files:
            file.seek(0)
            if records := file.read():
                yield self._sorted(np.frombuffer(records, self._type))
            file.close()

    def again(self) -> Iterator[tuple[int, int]]:
        """The `row` of each record whose key came before, behind that of the first record that has it."""
        for part in self.parts():
            again = np.append(False, part[self._key][1:] == part[self._key][:-1])
            first = np.maximum.accumulate(np.where(again, 0, np.arange(len(part))))
            yield from zip(part["row"][first[again]].tolist(), part["row"][again].tolist(), strict=True)

    def _spill(self) -> None:
        if not self._files:
            self._files = [tempfile.TemporaryFile() for _ in range(_PARTS)]  # noqa: SIM115 - closed when read, or with us
        if self._waiting:
            records = np.concatenate(self._waiting)
            # The upper bits: the lower ones decide nothing else either, but a mixed key has all of them alike.
            part = (records[self._key] >> np.uint64(58)).astype(np.int64)
            order = np.argsort(part, kind="stable")
            bounds = np.searchsorted(part[order], np.arange(_PARTS + 1))
            for number, file in enumerate(self._files):
                file.write(records[order[bounds[number] : bounds[number + 1]]].tobytes())
        self._waiting, self._count = [], 0

    def _sorted(self, records: Records) -> Records:
        return records[np.argsort(records[self._key], kind="stable")]


class Table:
    """Records of the type `fields`, read again by their positions. Nothing of them stays in memory.

    They are read from the file, and not mapped: what is mapped stays in memory where there is room, and looks like it
    grew.
    """

    def __init__(self, fields: list[tuple[str, str]]) -> None:
        self._type = np.dtype(fields)
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as this does
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, *columns: Any) -> None:
        """Arrays, or lists of numbers, of one length: a column each."""
        records = _records(self._type, columns)
        self._file.write(records.tobytes())
        self._count += len(records)

    def read(self, begin: int, end: int) -> Records:
        """From `begin` up to `end`; fewer where there are not so many."""
        self._file.flush()
        size = self._type.itemsize
        return np.frombuffer(os.pread(self._file.fileno(), size * (end - begin), size * begin), self._type)


def _records(kind: np.dtype[Any], columns: Sequence[Any]) -> Records:
    records = np.empty(len(columns[0]), kind)
    for name, column in zip(kind.names or (), columns, strict=True):
        records[name] = column
    return records
