"""A row that lies in a file reads like a list, and memory holds a few blocks of it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import IO

import pytest

from evals.asking.spilled import _BLOCK, Picked, Spilled
from tests.evals.test_memory import peak_of


@pytest.mark.parametrize("count", [0, 1, _BLOCK - 1, _BLOCK, _BLOCK + 1, 3 * _BLOCK + 7])
def test_it_has_its_things_in_their_order_wherever_a_block_ends(count: int) -> None:
    row = Spilled(range(count))
    assert len(row) == count
    assert list(row) == list(range(count))
    assert [row[at] for at in range(count)] == list(range(count))
    assert row[1 : count - 1 : 2] == list(range(count))[1 : count - 1 : 2]
    with pytest.raises(IndexError):
        row[count]


def test_two_readers_of_one_row_do_not_disturb_each_other_nor_whoever_appends() -> None:
    row = Spilled(range(2 * _BLOCK))
    first, second = iter(row), iter(row)
    assert [next(first) for _ in range(_BLOCK)] == list(range(_BLOCK))
    assert next(second) == 0
    row.append(-1)
    assert (row[-1], next(first), next(second), row[0]) == (-1, _BLOCK, 1, 0)


def test_memory_has_a_few_blocks_and_no_file_is_left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(count: int) -> None:
        row = Spilled("x" * 1_000 + str(number) for number in range(count))
        assert sum(map(len, row)) > 1_000 * count

    opened: list[IO[bytes]] = []
    temporary = tempfile.TemporaryFile
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **how: opened.append(temporary(**how)) or opened[-1])
    fill(_BLOCK)
    assert (peak_of(lambda: fill(20 * _BLOCK)) - peak_of(lambda: fill(5 * _BLOCK))) / (15 * _BLOCK) < 100
    assert [file.closed for file in opened] == [True] * 3


def test_what_is_picked_is_read_from_the_row_itself(tmp_path: Path) -> None:
    row = Spilled(range(3 * _BLOCK))
    picked = Picked(row, [0, _BLOCK, 2 * _BLOCK + 1])
    assert list(picked) == [0, _BLOCK, 2 * _BLOCK + 1] == [*picked[:1], *picked[1:]]
    assert len(picked) == 3
    assert list(Picked(picked, [2, 0])) == [2 * _BLOCK + 1, 0]
