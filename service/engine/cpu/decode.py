"""All of a Llama-like decoder layer but its attention, for rows in bfloat16, as one call on all cores.

A step of one row is little work in many calls: vLLM's layer is ten operations of torch under twenty calls of Python.
Here what lies between two attentions is one function: the output projection, norm, MLP, the next layer's norm, its
projection and the rotation of queries and keys, each row's adapter included. How many rows that is good for, the
processor decides: `layers.py`.

    attended → o → + residual, norm → gate, up → silu · up → down → + residual, norm → q, k, v → rotated

Numbers are rounded to bfloat16 where vLLM's operations round them, and summed in float32, each sum by one thread: a row
gets the same bits alone and among others, on any number of cores. `layers.py` puts this into vLLM's model;
`vectors.py` is what it is made of.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy
from numba import carray, types

from service.engine.cpu.group_vectors import spread
from service.engine.cpu.products import SUMS, own_rows, portion, project
from service.engine.cpu.vectors import (
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
    take,
    thread,
    together,
    two_to,
    widened,
    words_at,
)

MOST_ROWS = 4
"""Rows in a step that are few: beyond, oneDNN's products of many rows are faster, where it has any."""
_CHUNK = 64
"""Numbers of a row to which an adapter's part is added at once."""
SCRATCH = SUMS // 4 + _CHUNK
"""Float32 numbers that a thread needs for itself."""
PRODUCTS = 4
"""Of a layer, each with a count of what its threads have taken."""

_FAR, _ONE = numpy.float32(87), numpy.float32(1)
"""Beyond 87 float32 has no e to that power."""
_WHOLE = numpy.float32(1.5 * 2**23)
"""Added and taken away again, it leaves the whole number nearest to a small one."""
_LOG2_E, _LN2_MORE, _LN2_REST = (numpy.float32(number) for number in (1.44269504, 0.693359375, -2.12194440e-4))
_P5, _P4, _P3, _P2, _P1, _P0 = (
    numpy.float32(number)
    for number in (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
)

_FIELDS = numpy.int64
PROJECTION = numpy.dtype(
    [
        (name, _FIELDS)
        for name in (
            *("weight", "panels", "bias", "scale", "into", "out"),
            *("a", "b0", "b1", "b2", "end0", "end1", "slices", "slots", "rank"),
        )
    ]
)
"""A linear layer without a bias: addresses of its weight [out, in] and of its adapters' slots, a [slices, slots, rank,
in] and for each slice b [slots, rank, out_slice]; `end0` and `end1` are where the first two slices end. The weight is
bfloat16, in panels (`weights.in_panels`) where `panels` is 1, or 8 bits (`weights.read_in_blocks`) where there
is the address of a scale for each of `out`, in float32."""
LAYER = numpy.dtype(
    [
        *((name, PROJECTION) for name in ("qkv", "o", "gate_up", "down")),
        *((name, _FIELDS) for name in ("first_norm", "second_norm")),
    ]
)
STEP = numpy.dtype(
    [(name, _FIELDS) for name in ("rows", "hidden", "inner", "heads", "kv_heads", "head", "adapted")]
    + [(name, _FIELDS) for name in ("state", "residual", "other", "qkv", "attended", "gated", "active", "cos_sin")]
    + [(name, _FIELDS) for name in ("positions", "slot_of_row", "wide", "shrunk", "scratch", "taken", "last_norm")]
    + [("before", _FIELDS), ("after", _FIELDS), ("epsilon", numpy.float64)]
)
"""A call. Addresses of bfloat16: `state`, `residual` and `other` [rows, hidden], `qkv`, `attended`, `gated`
[rows, 2 · inner], `cos_sin` [positions, head]; of float32: `wide` [rows, the widest input but `inner`], `active`
[rows, inner], `shrunk` [most slices, rows, rank] and each thread's `SCRATCH`; of int64 the rest, `taken` being
`PRODUCTS` zeros. `before` and `after` are the addresses of the layers whose attention was done and is to be done; 0 at
either end."""

_layer_at = record_at(LAYER)
_record = numba.from_dtype


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
def _shrink(p: Any, s: Any, x: int, low: int, high: int, spare: int) -> None:
    """h = A · x of these rows, by each one's own adapter, for all slices: rounded to bfloat16, at `shrunk`."""
    if s.adapted == 0 or p.a == 0:
        return
    slots, h, four = words_at(s.slot_of_row), floats_at(s.shrunk), floats_at(spare)
    for part in range(p.slices):
        for row in range(low, high):
            if slots[row] < 0:
                continue
            a = p.a + 2 * p.into * p.rank * (part * p.slots + slots[row])
            for rank in range(0, p.rank, TILE):
                left = min(TILE, p.rank - rank)
                if left == TILE:
                    dots(a + 2 * rank * p.into, 2 * p.into, x + 4 * row * p.into, p.into, spare)
                    for at in range(TILE):
                        h[(part * s.rows + row) * p.rank + rank + at] = widened(narrowed(four[at]))
                else:
                    for at in range(left):
                        dots(a + 2 * (rank + at) * p.into, 0, x + 4 * row * p.into, p.into, spare)
                        h[(part * s.rows + row) * p.rank + rank + at] = widened(narrowed(four[0]))


@numba.njit(fastmath={"contract"})
def _expand(b: int, h: int, y: int, size: int, low: int, high: int, rank: int, spare: int) -> None:
    """y[low:high] += h · B of one slice's slot, b being [rank, size]."""
    out, share, sums = bits_at(y), floats_at(h), floats_at(spare)
    for first in range(low, high, _CHUNK):
        count = min(_CHUNK, high - first)
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
    """y[rows, low:high] of a linear layer, with each row's adapter."""
    if p.scale == 0:
        project(p, s.rows, x, y, low, high, mine)
    else:
        four, scale = floats_at(mine), floats_at(p.scale)
        for first in range(low, high, TILE):
            for row in range(s.rows):
                out = bits_at(y + 2 * row * p.out)
                dots_of_bytes(p.weight + first * p.into, p.into, x + 4 * row * p.into, p.into, mine)
                for at in range(TILE):
                    out[first + at] = narrowed(four[at] * scale[first + at])
    if s.adapted == 0 or p.a == 0:
        return
    slots = words_at(s.slot_of_row)
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
                share = s.shrunk + 4 * (part * s.rows + row) * p.rank
                out = y + 2 * (row * p.out + start)
                _expand(own, share, out, end - start, here - start, there - start, p.rank, mine + SUMS)


@numba.njit
def _project_all(p: Any, s: Any, x: int, y: int, number: int, mine: int) -> None:
    """A portion at a time, beside the other threads; `number` is which of the layer's products it is."""
    some, taken = portion(p.out), s.taken + 8 * number
    while True:
        first = take(taken, some)
        if first >= p.out:
            return
        _project(p, s, x, y, first, min(p.out, first + some), mine)


@numba.njit(error_model="numpy")  # a division that looks for zero is no code of vectors
def _silu(value: float) -> float:
    """value / (1 + exp(−value)) in float32, as code of vectors: libm's exp is a call for each number.

    exp(x) = 2ⁿ · exp(r), where x = n · ln 2 + r with ln 2 in two parts and |r| ≤ ln 2 / 2. exp(r) is the polynomial of
    Cephes' expf (Moshier).
    """
    x = -value if value < _FAR else -_FAR
    x = x if x < _FAR else _FAR
    n = (x * _LOG2_E + _WHOLE) - _WHOLE
    r = x - n * _LN2_MORE - n * _LN2_REST
    p = ((((_P5 * r + _P4) * r + _P3) * r + _P2) * r + _P1) * r + _P0
    result: float = value / (_ONE + (p * r * r + r + _ONE) * two_to(numba.int32(n)))
    return result


@numba.njit(error_model="numpy")
def _activate(s: Any, low: int, high: int) -> None:
    """active[low:high] = silu(gate) · up, rounded, in the order of `place`; from block to block."""
    for row in range(s.rows):
        gate = bits_at(s.gated + 2 * (row * 2 * s.inner))
        up = bits_at(s.gated + 2 * (row * 2 * s.inner + s.inner))
        active = floats_at(s.active + 4 * row * s.inner)
        for block in range(low, high, BLOCK):
            for half in range(2):
                for at in range(BLOCK // 2):
                    from_ = block + 2 * at + half
                    number = _silu(widened(gate[from_])) * widened(up[from_])
                    active[block + BLOCK // 2 * half + at] = widened(narrowed(number))


@numba.njit
def _rotate(s: Any, low: int, high: int) -> None:
    """Queries and keys of these rows by their positions, in halves (as GPT-NeoX)."""
    width, half = (s.heads + 2 * s.kv_heads) * s.head, s.head // 2
    positions = words_at(s.positions)
    for row in range(low, high):
        turn = bits_at(s.cos_sin + 2 * positions[row] * s.head)
        for head in range(s.heads + s.kv_heads):
            x = bits_at(s.qkv + 2 * (row * width + head * s.head))
            for at in range(half):
                cos, sin = widened(turn[at]), widened(turn[half + at])
                left, right = widened(x[at]), widened(x[half + at])
                x[at] = narrowed(left * cos - right * sin)
                x[half + at] = narrowed(right * cos + left * sin)


@numba.cfunc(types.void(types.CPointer(_record(STEP))), cache=True)
def _between(call: Any) -> None:
    """What every thread does: what is of a row for its own rows, what is of a product for the portions that it takes.
    Threads meet at barriers.
    """
    s = carray(call, 1)[0]
    x, mine = s.wide, s.scratch + 4 * SCRATCH * thread()
    low, high = own_rows(s.rows)
    if s.before != 0:
        layer = carray(_layer_at(s.before), 1)[0]
        for row in range(low, high):
            spread(bits_at(0), s.attended + 2 * row * layer.o.into, x + 4 * row * layer.o.into, layer.o.into)
        _shrink(layer.o, s, x, low, high, mine)
        barrier()
        _project_all(layer.o, s, x, s.state, 0, mine)
        barrier()
        for row in range(low, high):
            at = 2 * row * s.hidden
            _norm(s.state + at, s.residual + at, s.other + at, layer.second_norm, x + 2 * at, s.hidden, s.epsilon)
        _shrink(layer.gate_up, s, x, low, high, mine)
        barrier()
        some, taken = max(BLOCK, portion(s.inner) // BLOCK * BLOCK), s.taken + 8
        while True:
            first = take(taken, some)
            if first >= s.inner:
                break
            last = min(s.inner, first + some)
            _project(layer.gate_up, s, x, s.gated, first, last, mine)
            _project(layer.gate_up, s, x, s.gated, s.inner + first, s.inner + last, mine)
            _activate(s, first, last)
        barrier()
        if s.adapted != 0:
            _shrink(layer.down, s, s.active, low, high, mine)
            barrier()
        _project_all(layer.down, s, s.active, s.state, 2, mine)
        barrier()
    if s.after != 0:
        layer = carray(_layer_at(s.after), 1)[0]
        for row in range(low, high):
            at = 2 * row * s.hidden
            source = s.other + at if s.before != 0 else 0
            _norm(s.state + at, source, s.residual + at, layer.first_norm, x + 2 * at, s.hidden, s.epsilon)
        _shrink(layer.qkv, s, x, low, high, mine)
        barrier()
        _project_all(layer.qkv, s, x, s.qkv, 3, mine)
        barrier()
        _rotate(s, low, high)
    else:
        for row in range(low, high):
            at = 2 * row * s.hidden
            _norm(s.state + at, s.other + at, s.residual + at, s.last_norm, x + 2 * at, s.hidden, s.epsilon)
            out, normed = bits_at(s.state + at), floats_at(x + 2 * at)
            for number in range(s.hidden):
                out[number] = narrowed(normed[place(number)])


def run(call: int, count: int) -> None:
    """Go from one attention to the next; `call` is the address of a `STEP`."""
    together(_between.address, call, count)
