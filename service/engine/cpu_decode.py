"""All of a Llama-like decoder layer but its attention, for a few rows in bfloat16, as one call on all cores.

A step of one row is little work in many calls: vLLM's layer is ten operations of torch under twenty calls of Python.
Here what lies between two attentions is one function: the output projection, norm, MLP, the next layer's norm, its
projection and the rotation of queries and keys, each row's adapter included. Weights are read once, at the rate of the
memory.

    attended → o → + residual, norm → gate, up → silu · up → down → + residual, norm → q, k, v → rotated

Numbers are rounded to bfloat16 where vLLM's operations round them, and summed in float32, each sum by one thread: a row
gets the same bits alone and among others, on any number of cores. `cpu_layers.py` puts this into vLLM's model;
`cpu_vectors.py` is what it is made of.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy
from numba import carray, types

from service.engine.cpu_vectors import (
    BLOCK,
    TILE,
    barrier,
    bits_at,
    dots,
    dots_of_bytes,
    floats_at,
    narrowed,
    place,
    record_at,
    spread,
    thread,
    threads,
    together,
    widened,
    words_at,
)

MOST_ROWS = 4
"""Rows in a step that are few: beyond, oneDNN's products of many rows are faster."""
_CHUNK = 64
"""Numbers of a row to which an adapter's part is added at once."""

_FIELDS = numpy.int64
PROJECTION = numpy.dtype(
    [
        (name, _FIELDS)
        for name in ("weight", "scale", "into", "out", "a", "b0", "b1", "b2", "end0", "end1", "slices", "slots", "rank")
    ]
)
"""A linear layer: addresses of its weight [out, in] and of its adapters' slots, a [slices, slots, rank, in] and for
each slice b [slots, rank, out_slice]; `end0` and `end1` are where the first two slices end. The weight is bfloat16, or
8 bits (`cpu_weights.read_in_blocks`) where there is the address of a scale for each of `out`, in float32."""
LAYER = numpy.dtype(
    [
        *((name, PROJECTION) for name in ("qkv", "o", "gate_up", "down")),
        *((name, _FIELDS) for name in ("first_norm", "second_norm")),
    ]
)
STEP = numpy.dtype(
    [(name, _FIELDS) for name in ("rows", "hidden", "inner", "heads", "kv_heads", "head", "adapted")]
    + [(name, _FIELDS) for name in ("state", "residual", "other", "qkv", "attended", "gated", "active", "cos_sin")]
    + [(name, _FIELDS) for name in ("positions", "slot_of_row", "scratch", "scratch_size", "last_norm")]
    + [("before", _FIELDS), ("after", _FIELDS), ("epsilon", numpy.float64)]
)
"""A call. Addresses of bfloat16: `state`, `residual` and `other` [rows, hidden], `qkv`, `attended`, `gated`
[rows, 2 · inner], `cos_sin` [positions, head]; of float32: `active` [rows, inner] and each thread's scratch; of int64
the rest. `before` and `after` are the addresses of the layers whose attention was done and is to be done; 0 at either
end."""

_layer_at = record_at(LAYER)
_record = numba.from_dtype


def scratch_size(widest: int, rank: int) -> int:
    """Float32 numbers that a thread needs, for the widest input and the largest rank."""
    return MOST_ROWS * (widest + 3 * rank) + _CHUNK + 2 * TILE


@numba.njit(inline="always")
def _share(total: int, unit: int) -> tuple[int, int]:
    units, mine, all_of_us = total // unit, thread(), threads()
    return units * mine // all_of_us * unit, units * (mine + 1) // all_of_us * unit


@numba.njit(fastmath={"reassoc", "contract"})
def _norm(state: int, before: int, after: int, weight: int, target: int, count: int, epsilon: float) -> None:
    """after = state + before, and its norm to `target` as `spread` would; without `before` after = state."""
    x, summed, gain, out = bits_at(state), bits_at(after), bits_at(weight), floats_at(target)
    squares = numba.float32(0)
    if before != 0:
        residual = bits_at(before)
        for at in range(count):
            value = widened(x[at]) + widened(residual[at])
            squares += value * value
            summed[at] = narrowed(value)
    else:
        for at in range(count):
            value = widened(x[at])
            squares += value * value
            summed[at] = x[at]
    scale = numba.float32(1 / math.sqrt(squares / count + epsilon))
    for block in range(0, count, 32):
        for at in range(16):
            even, odd = block + 2 * at, block + 2 * at + 1
            out[block + at] = widened(narrowed(widened(summed[even]) * scale * widened(gain[even])))
            out[block + 16 + at] = widened(narrowed(widened(summed[odd]) * scale * widened(gain[odd])))


@numba.njit
def _shrink(p: Any, x: int, rows: int, slot_of_row: int, target: int, spare: int) -> None:
    """h = A · x of each row's own adapter, for all slices: [slices, rows, rank] at `target`, rounded to bfloat16."""
    slots, h, four = words_at(slot_of_row), floats_at(target), floats_at(spare)
    for part in range(p.slices):
        for row in range(rows):
            if slots[row] < 0:
                continue
            a = p.a + 2 * p.into * p.rank * (part * p.slots + slots[row])
            for rank in range(0, p.rank, TILE):
                left = min(TILE, p.rank - rank)
                if left == TILE:
                    dots(a + 2 * rank * p.into, 2 * p.into, x + 4 * row * p.into, p.into, spare)
                    for at in range(TILE):
                        h[(part * rows + row) * p.rank + rank + at] = widened(narrowed(four[at]))
                else:
                    for at in range(left):
                        dots(a + 2 * (rank + at) * p.into, 0, x + 4 * row * p.into, p.into, spare)
                        h[(part * rows + row) * p.rank + rank + at] = widened(narrowed(four[0]))


@numba.njit(fastmath={"contract"})
def _expand(b: int, h: int, y: int, size: int, low: int, high: int, rank: int, spare: int) -> None:
    """y[low:high] += h · B of one slice's slot, b being [rank, size]."""
    out, share, sums = bits_at(y), floats_at(h), floats_at(spare)
    for first in range(low, high, 64):
        count = min(64, high - first)
        for at in range(count):
            sums[at] = 0.0
        for one in range(rank):
            row, factor = bits_at(b + 2 * (one * size + first)), share[one]
            for at in range(count):
                sums[at] += factor * widened(row[at])
        for at in range(count):
            out[first + at] = narrowed(widened(out[first + at]) + sums[at])


@numba.njit
def _project(p: Any, s: Any, x: int, y: int, low: int, high: int, mine: int) -> None:
    """y[rows, low:high] of a linear layer, with each row's adapter; `mine` is this thread's room beside x's."""
    four = floats_at(mine)
    scale = floats_at(p.scale)
    for first in range(low, high, TILE):
        for row in range(s.rows):
            out = bits_at(y + 2 * row * p.out)
            if p.scale == 0:
                dots(p.weight + 2 * first * p.into, 2 * p.into, x + 4 * row * p.into, p.into, mine)
                for at in range(TILE):
                    out[first + at] = narrowed(four[at])
            else:
                dots_of_bytes(p.weight + first * p.into, p.into, x + 4 * row * p.into, p.into, mine)
                for at in range(TILE):
                    out[first + at] = narrowed(four[at] * scale[first + at])
    if s.adapted == 0 or p.a == 0:
        return
    slots = words_at(s.slot_of_row)
    sums = mine + 4 * TILE
    h = sums + 4 * 64
    for part in range(p.slices):
        start = 0 if part == 0 else (p.end0 if part == 1 else p.end1)
        end = p.out if part == p.slices - 1 else (p.end0 if part == 0 else p.end1)
        here, there = max(low, start), min(high, end)
        if here >= there:
            continue
        b = p.b0 if part == 0 else (p.b1 if part == 1 else p.b2)
        for row in range(s.rows):
            if slots[row] >= 0:
                own = b + 2 * slots[row] * p.rank * (end - start)
                share = h + 4 * (part * s.rows + row) * p.rank
                out = y + 2 * (row * p.out + start)
                _expand(own, share, out, end - start, here - start, there - start, p.rank, sums)


@numba.njit
def _adapt(p: Any, s: Any, x: int, mine: int) -> None:
    if s.adapted != 0 and p.a != 0:
        _shrink(p, x, s.rows, s.slot_of_row, mine + 4 * TILE + 4 * 64, mine)


@numba.njit
def _activate(s: Any, low: int, high: int) -> None:
    """active[low:high] = silu(gate) · up, rounded, in the order of `place`."""
    for row in range(s.rows):
        gate = bits_at(s.gated + 2 * row * 2 * s.inner)
        up = bits_at(s.gated + 2 * (row * 2 * s.inner + s.inner))
        active = floats_at(s.active + 4 * row * s.inner)
        for at in range(low, high):
            value = widened(gate[at])
            active[place(at)] = widened(narrowed(value / (numba.float32(1) + math.exp(-value)) * widened(up[at])))


@numba.njit
def _rotate(s: Any, low: int, high: int) -> None:
    """Queries and keys of these heads by their positions, in halves (as GPT-NeoX)."""
    width, half = (s.heads + 2 * s.kv_heads) * s.head, s.head // 2
    positions = words_at(s.positions)
    for row in range(s.rows):
        turn = bits_at(s.cos_sin + 2 * positions[row] * s.head)
        for head in range(low, high):
            x = bits_at(s.qkv + 2 * (row * width + head * s.head))
            for at in range(half):
                cos, sin = widened(turn[at]), widened(turn[half + at])
                left, right = widened(x[at]), widened(x[half + at])
                x[at] = narrowed(left * cos - right * sin)
                x[half + at] = narrowed(right * cos + left * sin)


@numba.cfunc(types.void(types.CPointer(_record(STEP))), cache=True)
def _between(call: Any) -> None:
    """What every thread does. Threads meet at barriers; what is small, each computes for itself."""
    s = carray(call, 1)[0]
    x = s.scratch + 4 * s.scratch_size * thread()
    if s.before != 0:
        layer = carray(_layer_at(s.before), 1)[0]
        mine = x + 4 * MOST_ROWS * max(s.hidden, s.heads * s.head)
        for row in range(s.rows):
            spread(s.attended + 2 * row * layer.o.into, x + 4 * row * layer.o.into, layer.o.into)
        _adapt(layer.o, s, x, mine)
        low, high = _share(s.hidden, TILE)
        _project(layer.o, s, x, s.state, low, high, mine)
        barrier()
        for row in range(s.rows):
            at = 2 * row * s.hidden
            _norm(s.state + at, s.residual + at, s.other + at, layer.second_norm, x + 2 * at, s.hidden, s.epsilon)
        _adapt(layer.gate_up, s, x, mine)
        low, high = _share(s.inner, BLOCK)
        _project(layer.gate_up, s, x, s.gated, low, high, mine)
        _project(layer.gate_up, s, x, s.gated, s.inner + low, s.inner + high, mine)
        _activate(s, low, high)
        barrier()
        _adapt(layer.down, s, s.active, mine)
        low, high = _share(s.hidden, TILE)
        _project(layer.down, s, s.active, s.state, low, high, mine)
        barrier()
    mine = x + 4 * MOST_ROWS * max(s.hidden, s.heads * s.head)
    if s.after != 0:
        layer = carray(_layer_at(s.after), 1)[0]
        for row in range(s.rows):
            at = 2 * row * s.hidden
            source = s.other + at if s.before != 0 else 0
            _norm(s.state + at, source, s.residual + at, layer.first_norm, x + 2 * at, s.hidden, s.epsilon)
        _adapt(layer.qkv, s, x, mine)
        low, high = _share(layer.qkv.out, TILE)
        _project(layer.qkv, s, x, s.qkv, low, high, mine)
        barrier()
        low, high = _share(s.heads + s.kv_heads, 1)
        _rotate(s, low, high)
    elif thread() == 0:
        for row in range(s.rows):
            at = 2 * row * s.hidden
            _norm(s.state + at, s.other + at, s.residual + at, s.last_norm, x, s.hidden, s.epsilon)
            out, normed = bits_at(s.state + at), floats_at(x)
            for number in range(s.hidden):
                out[number] = narrowed(normed[place(number)])


def run(call: int, count: int) -> None:
    """Go from one attention to the next; `call` is the address of a `STEP`."""
    together(_between.address, call, count)
