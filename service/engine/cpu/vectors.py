"""What a processor's few-row kernel is made of: numba functions over addresses, in vectors, on torch's own threads.

Numba comes with vLLM, and brings LLVM: so no compiler is needed where this runs, and the code is made for the processor
at hand. `decode.py` is the kernel. Why so: docs/decisions/0018-few-rows-on-a-cpu.md.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numba
import torch
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from service.engine.cpu.compiled import keep_by_sources

_WORDS = 16
"""32-bit words of a vector: two bfloat16 numbers each."""
BLOCK = 2 * _WORDS
"""Numbers that `dots` takes at once: a length must be a multiple of it."""
TILE = 4
"""Rows of weights that it takes at once."""
PANEL = _WORDS
"""Rows of weights that lie in one panel: of each number of x what they multiply it with, one after the other."""
_AHEAD = 1024
"""Bytes of a panel that are asked for ahead."""
PANEL_ROWS = 6
"""Rows of x that `panel_of_rows` takes at once: their sums fill the registers of AVX2."""
_I8, _I32, _I64, _F32 = ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.FloatType()
_BYTE_VECTOR, _WORD_VECTOR, _FLOAT_VECTOR = (ir.VectorType(kind, _WORDS) for kind in (_I8, _I32, _F32))
_BITS_VECTOR = ir.VectorType(ir.IntType(16), _WORDS)
_OPENMP = ("GOMP_parallel", "GOMP_barrier", "omp_get_thread_num", "omp_get_num_threads")


def find_threads() -> None:
    """Let the functions below call torch's OpenMP, whose threads are bound as vLLM binds them.

    Raises `OSError` when torch has brought none.
    """
    folder = Path(torch.__file__).parent / "lib"
    runtimes = sorted(folder.glob("libgomp*.so*"))
    if not runtimes:
        raise OSError(f"torch has no OpenMP runtime in {folder}")
    runtime = ctypes.CDLL(str(runtimes[0]))
    for name in _OPENMP:
        llvm.add_symbol(name, ctypes.cast(getattr(runtime, name), ctypes.c_void_p).value)


find_threads()
keep_by_sources()

thread = types.ExternalFunction("omp_get_thread_num", types.int32())
threads = types.ExternalFunction("omp_get_num_threads", types.int32())
barrier = types.ExternalFunction("GOMP_barrier", types.void())
_set_affinity = types.ExternalFunction("sched_setaffinity", types.int32(types.int32, types.intp, types.intp))
_MASK = 128
"""Bytes of a set of cores."""
_parallel = types.ExternalFunction("GOMP_parallel", types.void(types.intp, types.intp, types.uint32, types.uint32))


@numba.njit(types.void(types.intp, types.intp, types.uint32), cache=True)
def together(function: int, argument: int, count: int) -> None:
    """Run the C function at this address on so many threads, and wait for all."""
    _parallel(function, argument, count, numba.uint32(0))


@numba.cfunc(types.void(types.intp), cache=True)
def _bind(masks: int) -> None:
    """Each thread to the cores of its own 1,024 bits."""
    _set_affinity(0, _MASK, masks + _MASK * thread())


def bind(cores: Sequence[int]) -> None:
    """Keep one thread of ours on each of these cores, from now on; the first is the thread that calls.

    Threads that wait for each other must never wait for one core.
    """
    masks = (ctypes.c_uint64 * (16 * len(cores)))()
    for number, core in enumerate(cores):
        masks[16 * number + core // 64] = 1 << core % 64
    together(_bind.address, ctypes.addressof(masks), len(cores))


def _pointer(element: Any, lowered: ir.Type) -> Any:
    @intrinsic
    def at(typing: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], lowered.as_pointer())

        return types.CPointer(element)(types.intp), generate

    return at


bits_at = _pointer(types.uint16, ir.IntType(16))
"""bfloat16 numbers at an address, as their bits."""
floats_at = _pointer(types.float32, _F32)
ints_at = _pointer(types.int32, _I32)
words_at = _pointer(types.int64, _I64)


def record_at(record: Any) -> Any:
    """A function from an address to a pointer to a record there, of a numpy structure."""
    element = numba.from_dtype(record)

    @intrinsic
    def at(typing: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

        return types.CPointer(element)(types.intp), generate

    return at


@intrinsic
def widened(typing: Any, bits: Any) -> Any:
    """bfloat16 → float32."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(builder.shl(builder.zext(args[0], _I32), ir.Constant(_I32, 16)), _F32)

    return types.float32(types.uint16), generate


@intrinsic
def narrowed(typing: Any, number: Any) -> Any:
    """float32 → bfloat16, to the nearest, ties to even; what is no number stays none."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        bits = builder.bitcast(args[0], _I32)
        odd = builder.and_(builder.lshr(bits, ir.Constant(_I32, 16)), ir.Constant(_I32, 1))
        rounded = builder.add(bits, builder.add(odd, ir.Constant(_I32, 0x7FFF)))
        none = builder.fcmp_unordered("uno", args[0], args[0])
        kept = builder.select(none, builder.or_(bits, ir.Constant(_I32, 0x400000)), rounded)
        return builder.trunc(builder.lshr(kept, ir.Constant(_I32, 16)), ir.IntType(16))

    return types.uint16(types.float32), generate


@intrinsic
def two_to(typing: Any, exponent: Any) -> Any:
    """2ⁿ as float32, of an n from −126 to 127."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        biased = builder.add(args[0], ir.Constant(_I32, 127))
        return builder.bitcast(builder.shl(biased, ir.Constant(_I32, 23)), _F32)

    return types.float32(types.int32), generate


def _halves_of_words(builder: Any, here: Any) -> tuple[Any, Any]:
    words = _load(builder, here, _WORD_VECTOR)
    sixteen, upper = ir.Constant(_WORD_VECTOR, [16] * _WORDS), ir.Constant(_WORD_VECTOR, [0xFFFF0000] * _WORDS)
    low, high = builder.shl(words, sixteen), builder.and_(words, upper)
    return builder.bitcast(low, _FLOAT_VECTOR), builder.bitcast(high, _FLOAT_VECTOR)


@intrinsic
def dots(typing: Any, weights: Any, stride: Any, x: Any, length: Any, out: Any) -> Any:
    """The products of `TILE` rows of bfloat16 weights with x, as float32 numbers at `out`.

    Rows are `stride` bytes from each other; x is float32 in the order of `place`. A word of two weights becomes two
    floats by a shift and a mask, so the weights are read once and nothing is shuffled. The rows that follow are asked
    for ahead: memory is what the product waits for.
    """
    return types.void(*[types.intp] * 5), _tile(_halves_of_words, 2)


@intrinsic
def dots_of_bytes(typing: Any, weights: Any, stride: Any, x: Any, length: Any, out: Any) -> Any:
    """The same of weights in 8 bits, which lie in the order of `place` too."""

    def halves(builder: Any, here: Any) -> tuple[Any, Any]:
        low, high = (_load(builder, here, _BYTE_VECTOR, beyond) for beyond in (0, _WORDS))
        low, high = (builder.sext(half, _WORD_VECTOR) for half in (low, high))
        return builder.sitofp(low, _FLOAT_VECTOR), builder.sitofp(high, _FLOAT_VECTOR)

    return types.void(*[types.intp] * 5), _tile(halves, 1)


def _tile(halves: Callable[[Any, Any], tuple[Any, Any]], width: int) -> Callable[..., Any]:
    """The code of a tile's products. `halves` makes floats of the `BLOCK` weights at an address, those of even place
    and those of odd; a weight is `width` bytes. Every sum is made in one order.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        weights, stride, x, length, out = args
        zeros = ir.Constant(_FLOAT_VECTOR, [0.0] * _WORDS)
        sums = [cgutils.alloca_once(builder, _FLOAT_VECTOR) for _ in range(TILE)]
        for place in sums:
            builder.store(zeros, place)
        rows = [weights]
        for _ in range(TILE - 1):
            rows.append(builder.add(rows[-1], stride))
        ahead = builder.mul(stride, ir.Constant(_I64, TILE))
        multiply_add = _function(builder, _FLOAT_VECTOR, [_FLOAT_VECTOR] * 3, "llvm.fma.v16f32")
        with cgutils.for_range(builder, builder.lshr(length, ir.Constant(_I64, 5))) as loop:
            factors = []
            for row in rows:
                here = builder.add(row, builder.mul(loop.index, ir.Constant(_I64, width * BLOCK)))
                _ask_for(builder, builder.add(here, ahead))
                factors.append(halves(builder, here))
            of_x = builder.add(x, builder.shl(loop.index, ir.Constant(_I64, 7)))
            for half in range(2):
                value = _load(builder, of_x, _FLOAT_VECTOR, 64 * half)
                for factor, place in zip(factors, sums, strict=True):
                    builder.store(builder.call(multiply_add, [factor[half], value, builder.load(place)]), place)
        total = _function(builder, _F32, [_F32, _FLOAT_VECTOR], "llvm.vector.reduce.fadd.v16f32")
        for number, place in enumerate(sums):
            value = builder.call(total, [ir.Constant(_F32, -0.0), builder.load(place)], fastmath=("reassoc",))
            builder.store(value, builder.gep(builder.inttoptr(out, _F32.as_pointer()), [ir.Constant(_I64, number)]))
        return context.get_dummy_value()

    return generate


@intrinsic
def panel_of_row(typing: Any, weights: Any, x: Any, length: Any, out: Any) -> Any:
    """The products of a panel of bfloat16 weights, [length, `PANEL`], with a row of x, as `PANEL` numbers at `out`; all
    but the weights in float32. Each is summed in the order of x.
    """
    return types.void(*[types.intp] * 4), _panel(1)


@intrinsic
def panel_of_rows(typing: Any, weights: Any, x: Any, length: Any, out: Any, count: Any) -> Any:
    """The same of one to `PANEL_ROWS` rows of x that lie one after the other: at `out`, [`PANEL_ROWS`, `PANEL`]."""
    return types.void(*[types.intp] * 5), _panel(PANEL_ROWS)


def _panel(inputs: int) -> Callable[..., Any]:
    """The code of a panel's products with so many rows of x; where there are fewer, the last one takes their places.

    A number of x is multiplied with all of a panel, so its sums lie beside each other and none has to be gathered.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        weights, x, length, out, *count = args
        zeros = ir.Constant(_FLOAT_VECTOR, [0.0] * _WORDS)
        sums = [cgutils.alloca_once(builder, _FLOAT_VECTOR) for _ in range(inputs)]
        lines = [x]
        for number, place in enumerate(sums):
            builder.store(zeros, place)
            if number:
                there = builder.icmp_signed("<", ir.Constant(_I64, number), count[0])
                next_line = builder.add(lines[-1], builder.shl(length, ir.Constant(_I64, 2)))
                lines.append(builder.select(there, next_line, lines[-1]))
        multiply_add = _function(builder, _FLOAT_VECTOR, [_FLOAT_VECTOR] * 3, "llvm.fma.v16f32")
        none, first = ir.Constant(_FLOAT_VECTOR, ir.Undefined), ir.Constant(_WORD_VECTOR, [0] * _WORDS)
        with cgutils.for_range(builder, builder.lshr(length, ir.Constant(_I64, 1))) as loop:
            here = builder.add(weights, builder.mul(loop.index, ir.Constant(_I64, 4 * PANEL)))
            _ask_for(builder, builder.add(here, ir.Constant(_I64, _AHEAD)))
            of_x = builder.shl(loop.index, ir.Constant(_I64, 3))
            for one in range(2):
                words = builder.zext(_load(builder, here, _BITS_VECTOR, 2 * PANEL * one), _WORD_VECTOR)
                factors = builder.bitcast(builder.shl(words, ir.Constant(_WORD_VECTOR, [16] * _WORDS)), _FLOAT_VECTOR)
                for line, place in zip(lines, sums, strict=True):
                    number = _load(builder, builder.add(line, of_x), _F32, 4 * one)
                    value = builder.insert_element(none, number, ir.Constant(_I32, 0))
                    value = builder.shuffle_vector(value, none, first)
                    builder.store(builder.call(multiply_add, [factors, value, builder.load(place)]), place)
        for number, place in enumerate(sums):
            address = builder.add(out, ir.Constant(_I64, 4 * PANEL * number))
            builder.store(builder.load(place), builder.inttoptr(address, _FLOAT_VECTOR.as_pointer())).align = 4
        return context.get_dummy_value()

    return generate


@intrinsic
def take(typing: Any, counter: Any, count: Any) -> Any:
    """The number at an address before so many were added to it: each thread that asks gets others."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.atomic_rmw("add", builder.inttoptr(args[0], _I64.as_pointer()), args[1], "monotonic")

    return types.intp(types.intp, types.intp), generate


@numba.njit(inline="always")
def place(at: int) -> int:
    """Where `dots` wants number `at`: in each block those of even place, then those of odd place."""
    return (at & ~31) | ((at & 31) >> 1) | ((at & 1) << 4)


def _function(builder: Any, result: ir.Type, args: list[ir.Type], name: str) -> Any:
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, args), name)


def _ask_for(builder: Any, address: Any) -> None:
    """The line of memory at an address, before it is read."""
    prefetch = _function(builder, ir.VoidType(), [_I8.as_pointer(), _I32, _I32, _I32], "llvm.prefetch.p0")
    to_read, near, data = (ir.Constant(_I32, number) for number in (0, 3, 1))
    builder.call(prefetch, [builder.inttoptr(address, _I8.as_pointer()), to_read, near, data])


def _load(builder: Any, address: Any, kind: ir.Type, beyond: int = 0) -> Any:
    loaded = builder.load(builder.inttoptr(builder.add(address, ir.Constant(_I64, beyond)), kind.as_pointer()))
    loaded.align = 1
    return loaded
