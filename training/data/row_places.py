"""Where rows stand, by their numbers: eight bytes a row, on disk."""

from __future__ import annotations

from training.data.spool import Table

_LINE = 40
"""Bits of a place that are its line plus one, or nothing; those above name its file."""
_BATCH = 4096


class RowPlaces:
    """The place of every row, in the order in which rows come."""

    def __init__(self) -> None:
        self._files: dict[str, int] = {}
        self._table = Table([("place", "u8")])
        self._waiting: list[int] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, place: str) -> int:
        """The row's number."""
        file, _, line = place.rpartition(":")
        if line.isdecimal() and str(int(line)) == line:  # it comes out as it went in
            number = int(line) + 1
        else:
            file, number = place, 0
        self._waiting.append(self._files.setdefault(file, len(self._files)) << _LINE | number)
        if len(self._waiting) >= _BATCH:
            self._flush()
        self._count += 1
        return self._count - 1

    def __getitem__(self, row: int) -> str:
        self._flush()
        code = int(self._table.read(row, row + 1)["place"][0])
        file, number = list(self._files)[code >> _LINE], code & (1 << _LINE) - 1
        return f"{file}:{number - 1}" if number else file

    def _flush(self) -> None:
        if self._waiting:
            self._table.add(self._waiting)
            self._waiting = []
