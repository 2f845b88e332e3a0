"""LoRA on a CPU for rows of many adapters in one step: each group of rows is multiplied with its own adapter alone.

The rows of a step are ordered by their adapter once, and cut into blocks of up to `ROWS` of one adapter. For each
block, a layer's call computes

    h = A · x        [slices, rows of the block, rank]    rounded to the format of the numbers
    y += h · B       of each slice

A and B are read where they lie, once for a block, and a number of them is widened once for all its rows. Rows without
an adapter are in no block. Sums are made in float32 in one order, whatever the block: a row gets the same bits alone,
among others, and from `decode.py`, on any number of cores. `masked_lora.py` holds the slots and calls this.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numba
import numpy
import torch
from numba import carray, types

from service.engine.cpu.group_vectors import LINES, RANKS, WIDE, expand_of, shrink_of, size_of, spread
from service.engine.cpu.vectors import BLOCK, bits_at, floats_at, record_at, thread, threads, together, words_at

ROWS = max(RANKS)
"""Rows of a block: their sums fill the registers that there are."""

_FIELDS = numpy.int64
SLOTS = numpy.dtype([(name, _FIELDS) for name in ("into", "out", "a", "slices", "slots", "rank", "b", "widths")])
"""A layer's adapters: the address of a [slices, slots, rank, into], of a list with an address for each slice's b
[slots, rank, width], and of one with the widths, which together are `out`."""
CALL = numpy.dtype(
    [(name, _FIELDS) for name in ("layer", "x", "y", "order", "blocks", "count", "scratch", "scratch_size")]
)
"""Addresses, of x [rows, into] and y [rows, out] too. `order`: rows by adapter. `blocks` [count, 3]: the first of a
block in `order`, how many rows, and their slot. `scratch`: of each thread."""


def scratch_size(widest: int, rank: int) -> int:
    """Float32 numbers that a thread needs, for the widest input and the largest rank."""
    return ROWS * (widest + rank + 2)


def _block_of(rows: int) -> Any:
    """What is computed for a block of so many rows."""
    shrink, ranks = shrink_of(rows), RANKS[rows]
    wide, narrow, across = expand_of(rows, WIDE[rows]), expand_of(rows, 2), 16 * WIDE[rows]

    @numba.njit
    def block(like: Any, layer: Any, call: Any, first: int, slot: int, next_slot: int, mine: int) -> None:
        size, into, rank = size_of(like), layer.into, layer.rank
        order, ys = words_at(call.order), words_at(mine)
        x = mine + 8 * rows
        h = x + 4 * rows * into
        for at in range(rows):
            row = order[first + at]
            ys[at] = call.y + size * row * layer.out
            spread(like, call.x + size * row * into, x + 4 * at * into, into)
        bs, widths = words_at(layer.b), words_at(layer.widths)
        for part in range(layer.slices):
            a = layer.a + size * into * rank * (part * layer.slots + slot)
            width = widths[part]
            b = bs[part] + size * slot * rank * width
            whole = rank // ranks * ranks
            # While a is multiplied b is asked for, and the next a while b is: memory must not be waited for.
            ahead, step = b, min(2 * into * LINES, size * width * ranks)
            for one in range(0, whole, ranks):
                shrink(like, a + size * one * into, size * into, x, into, h + 4 * one * rows, ahead)
                ahead += step
            for one in range(whole, rank):
                shrink(like, a + size * one * into, 0, x, into, h + 4 * one * rows, ahead)
            last = part == layer.slices - 1
            ahead = layer.a + size * into * rank * (next_slot if last else (part + 1) * layer.slots + slot)
            whole, step = width // across * across, min(64 * rank, size * rank * into * across // width)
            for column in range(0, whole, across):
                wide(like, b + size * column, size * width, h, rank, mine, ahead)
                ahead += step
            for column in range(whole, width, 32):
                narrow(like, b + size * column, size * width, h, rank, mine, ahead)

    return block


_BLOCKS = [_block_of(rows) for rows in range(1, ROWS + 1)]
# Numba wants a name for each; where blocks are smaller, the last of them stands in for those that never come.
_one, _two, _three, _four, _five, _six = _BLOCKS + [_BLOCKS[-1]] * (6 - ROWS)


@numba.njit
def _compute(like: Any, call: Any) -> None:
    """The blocks of this thread."""
    layer = carray(_layer_at(call.layer), 1)[0]
    mine = call.scratch + 4 * call.scratch_size * thread()
    blocks, step = words_at(call.blocks), threads()
    for at in range(thread(), call.count, step):
        first, rows, slot = blocks[3 * at], blocks[3 * at + 1], blocks[3 * at + 2]
        next_slot = blocks[3 * (at + step) + 2] if at + step < call.count else slot
        if rows == 1:
            _one(like, layer, call, first, slot, next_slot, mine)
        elif rows == 2:
            _two(like, layer, call, first, slot, next_slot, mine)
        elif rows == 3:
            _three(like, layer, call, first, slot, next_slot, mine)
        elif rows == 4:
            _four(like, layer, call, first, slot, next_slot, mine)
        elif rows == 5:
            _five(like, layer, call, first, slot, next_slot, mine)
        else:
            _six(like, layer, call, first, slot, next_slot, mine)


def _narrow(call: Any) -> None:
    _compute(bits_at(0), carray(call, 1)[0])


def _wide(call: Any) -> None:
    _compute(floats_at(0), carray(call, 1)[0])


_layer_at = record_at(SLOTS)
_FUNCTIONS = {torch.bfloat16: _narrow, torch.float32: _wide}


@lru_cache
def _compiled(dtype: torch.dtype) -> int:
    """The address of what is computed with numbers of this format; compiled when it is first asked for."""
    signature = types.void(types.CPointer(numba.from_dtype(CALL)))
    return int(_kept(dtype, signature).address)


@lru_cache
def _kept(dtype: torch.dtype, signature: Any) -> Any:
    return numba.cfunc(signature, cache=True)(_FUNCTIONS[dtype])


def blocks_of(slots: Sequence[int]) -> tuple[numpy.ndarray, numpy.ndarray]:
    """For the slot of each row, below 0 for none: the rows that have one, by slot, and their blocks, as in `CALL`."""
    slot_of = numpy.asarray(slots, _FIELDS)
    order = numpy.argsort(slot_of, kind="stable")
    order = order[numpy.searchsorted(slot_of[order], 0) :]
    used, starts, counts = numpy.unique(slot_of[order], return_index=True, return_counts=True)
    blocks = []
    for slot, start, count in zip(used.tolist(), starts.tolist(), counts.tolist(), strict=True):
        pieces = -(-count // ROWS)  # of sizes that differ by one at most
        ends = [start + count * piece // pieces for piece in range(pieces + 1)]
        blocks += [(low, high - low, slot) for low, high in pairwise(ends)]
    return order, numpy.array(blocks, _FIELDS)


@numba.njit(types.void(*[types.intp] * 6), cache=True)
def _run(function: int, call: int, layer: int, x: int, y: int, count: int) -> None:
    fields = words_at(call)
    fields[0], fields[1], fields[2] = layer, x, y
    together(function, call, count)


class Grouped:
    """The kernel for one worker: begin a step with `set_rows`, then `add` for each layer."""

    def __init__(self) -> None:
        self._call = numpy.zeros(1, CALL)
        self._address = _address(self._call)
        self._cores = torch.get_num_threads()
        self._scratch = torch.zeros(0)
        self.set_rows([])

    def set_rows(self, slots: Sequence[int]) -> None:
        """`slots[t]` is the slot of row t's adapter, below 0 for none."""
        self._order, self._blocks = blocks_of(slots)
        call = self._call[0]
        call["order"], call["blocks"], call["count"] = _address(self._order), _address(self._blocks), len(self._blocks)
        self._threads = max(1, min(self._cores, len(self._blocks)))

    def place(self, all_a: torch.Tensor, all_b: Sequence[torch.Tensor]) -> Slots | None:
        """A layer's adapters for `add`: all_a [slices, slots, rank, in], all_b per slice [slots, rank, out_slice], both
        contiguous. None where lengths are not in whole blocks, or the numbers of another format.
        """
        into, outs = all_a.shape[3], [b.shape[2] for b in all_b]
        if all_a.dtype not in _FUNCTIONS or any(length % BLOCK for length in (into, *outs)):
            return None
        size = max(scratch_size(into, all_a.shape[2]), int(self._call[0]["scratch_size"]))
        self._scratch = torch.zeros(self._cores * size)
        self._call[0]["scratch"], self._call[0]["scratch_size"] = self._scratch.data_ptr(), size
        return Slots(all_a, all_b)

    def add(self, y: torch.Tensor, x: torch.Tensor, layer: Slots) -> None:
        """Add each row's delta to `y` in place. Both are contiguous."""
        _run(layer.function, self._address, layer.address, x.data_ptr(), y.data_ptr(), self._threads)


class Slots:
    """Where a layer's adapters lie, as the kernel is told it. Made by `Grouped.place`."""

    def __init__(self, all_a: torch.Tensor, all_b: Sequence[torch.Tensor]) -> None:
        self._held = all_a, tuple(all_b)
        self._b = numpy.array([b.data_ptr() for b in all_b], _FIELDS)
        self._widths = numpy.array([b.shape[2] for b in all_b], _FIELDS)
        self._record = numpy.zeros(1, SLOTS)
        record = self._record[0]
        record["a"], record["b"], record["widths"] = all_a.data_ptr(), _address(self._b), _address(self._widths)
        record["slices"], record["slots"], record["rank"], record["into"] = all_a.shape
        record["out"] = self._widths.sum()
        self.address = _address(self._record)
        self.function = _compiled(all_a.dtype)


def _address(array: numpy.ndarray) -> int:
    return int(array.ctypes.data)
