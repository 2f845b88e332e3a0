"""x · weightᵀ in bfloat16 on all cores, for any number of rows: `Product`.

Few rows wait for the memory: the weights are read once, where they are. Many rows wait for the arithmetic. For
processors without AVX-512 oneDNN has no product in bfloat16, and torch's takes several times as long as one in float32.
Here some weights at a time become float32 in registers and are multiplied with several rows of x, so nothing of the
base is kept twice. For that the weights lie in panels (`weights.in_panels`): a panel is read from its first byte to
its last, which is fastest for one row too. Few rows read them as they are in the file, where others need them so.

    x [rows, in] → float32, once → portions of weights, each for whichever thread is free → sums → y [rows, out]

Sums are in float32, each made by one thread in one order: a row gets the same bits alone and among others, on any
number of cores. `layers.py` puts this into vLLM's models.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy
import torch
from numba import carray, types

from service.engine.cpu.group_vectors import spread
from service.engine.cpu.vectors import (
    PANEL,
    PANEL_ROWS,
    TILE,
    barrier,
    bits_at,
    dots,
    floats_at,
    narrowed,
    panel_of_row,
    panel_of_rows,
    take,
    thread,
    threads,
    together,
    widened,
)

_MOST = 48
"""Rows of weights that a thread takes at once: with those of x that it multiplies they stay in its cache. A core that
has other work too takes fewer of them, and nobody waits for it longer than for one."""
AT_ONCE = 32 * PANEL_ROWS
"""Rows of x that are float32 at once."""
SUMS = 4 * PANEL_ROWS * PANEL
"""Bytes for the sums of a thread: whole lines of memory, so that two threads are never in one."""
_FIELDS = numpy.int64
_PRODUCT = numpy.dtype(
    [(name, _FIELDS) for name in ("weight", "panels", "into", "out", "rows", "x", "bias", "y", "wide", "sums", "taken")]
)
"""Addresses and sizes of a call: `panels` is 1 for weights in panels and 0 for rows of them, `wide` is room for x in
float32, `taken` where the threads count what they take."""


@numba.njit
def portion(out: int) -> int:
    """How many of so many outputs a thread takes at once, in whole panels: each thread comes four times, or nearly."""
    most: int = out // (4 * threads()) // PANEL * PANEL
    return max(PANEL, min(_MOST, most))


@numba.njit
def own_rows(rows: int) -> tuple[int, int]:
    """The first of this thread's rows, and the first that is not."""
    return rows * thread() // threads(), rows * (thread() + 1) // threads()


@numba.njit
def project(p: Any, rows: int, x: int, y: int, low: int, high: int, sums: int) -> None:
    """y[:, low:high] of y = x · weightᵀ + bias, x being float32 in the order of `place`. `p` has the addresses `weight`
    and `bias`, which may be 0, the sizes `into` and `out`, and `panels`; `sums` is a thread's own room for `SUMS`.
    """
    if p.panels != 0:
        for first in range(low, high, PANEL):
            weights = p.weight + 2 * first * p.into
            for row in range(0, rows, PANEL_ROWS):
                count = min(PANEL_ROWS, rows - row)
                if count == 1:
                    panel_of_row(weights, x + 4 * row * p.into, p.into, sums)
                else:
                    panel_of_rows(weights, x + 4 * row * p.into, p.into, sums, count)
                for beyond in range(count):
                    _write(y + 2 * ((row + beyond) * p.out + first), sums + 4 * PANEL * beyond, p.bias, first, PANEL)
        return
    for first in range(low, high, TILE):
        for row in range(rows):
            dots(p.weight + 2 * first * p.into, 2 * p.into, x + 4 * row * p.into, p.into, sums)
            _write(y + 2 * (row * p.out + first), sums, p.bias, first, TILE)


@numba.njit
def _write(y: int, sums: int, bias: int, first: int, count: int) -> None:
    out, numbers = bits_at(y), floats_at(sums)
    if bias == 0:
        for at in range(count):
            out[at] = narrowed(numbers[at])
    else:
        more = bits_at(bias + 2 * first)
        for at in range(count):
            out[at] = narrowed(numbers[at] + widened(more[at]))


@numba.cfunc(types.void(types.CPointer(numba.from_dtype(_PRODUCT))), cache=True)
def _multiply(call: Any) -> None:
    """What every thread does."""
    p = carray(call, 1)[0]
    low, high = own_rows(p.rows)
    for row in range(low, high):
        spread(bits_at(0), p.x + 2 * row * p.into, p.wide + 4 * row * p.into, p.into)
    barrier()
    some, sums = portion(p.out), p.sums + SUMS * thread()
    while True:
        first = take(p.taken, some)
        if first >= p.out:
            return
        project(p, p.rows, p.wide, p.y, first, min(p.out, first + some), sums)


def out_and_in(weight: torch.Tensor) -> tuple[int, int]:
    """How many outputs and inputs a weight has, in rows or in panels."""
    if weight.ndim == 3:
        return weight.shape[0] * PANEL, weight.shape[1]
    return weight.shape[0], weight.shape[1]


class Workspace:
    """Memory that the products of a model use one after the other."""

    def __init__(self, cores: int) -> None:
        self.cores = cores
        self._wide = torch.empty(0)
        self._sums = torch.zeros(cores * SUMS // 4)
        self._taken = numpy.zeros(1, _FIELDS)

    def wide(self, count: int) -> int:
        """The address of so many numbers in float32."""
        if len(self._wide) < count:
            self._wide = torch.zeros(count)
        return int(self._wide.data_ptr())

    @property
    def sums(self) -> int:
        return int(self._sums.data_ptr())

    def untaken(self) -> int:
        """Where the threads count what they take, from nothing."""
        self._taken[0] = 0
        return int(self._taken.ctypes.data)


class Product:
    """x · weightᵀ + bias. It reads the weight where it is: rows [out, in], `in` a multiple of 32 and `out` of 4; or
    panels (`weights.in_panels`).
    """

    def __init__(self, weight: torch.Tensor, workspace: Workspace) -> None:
        self._weight, self._workspace = weight, workspace
        self._record = numpy.zeros(1, _PRODUCT)
        record = self._record[0]
        record["weight"], record["sums"] = weight.data_ptr(), workspace.sums
        record["out"], record["into"] = self._out, self._into = out_and_in(weight)
        record["panels"] = weight.ndim == 3
        self._call = self._record.ctypes.data

    def __call__(self, x: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        """x: [rows, in], bfloat16; bias: [out], bfloat16."""
        x = x.contiguous()
        out, into, rows = self._out, self._into, len(x)
        y = x.new_empty(rows, out)
        record = self._record[0]
        record["bias"] = 0 if bias is None else bias.data_ptr()
        record["wide"] = self._workspace.wide(min(rows, AT_ONCE) * into)
        for first in range(0, rows, AT_ONCE):
            record["rows"] = min(AT_ONCE, rows - first)
            record["x"], record["y"] = x.data_ptr() + 2 * first * into, y.data_ptr() + 2 * first * out
            record["taken"] = self._workspace.untaken()
            together(_multiply.address, self._call, self._workspace.cores)
        return y
