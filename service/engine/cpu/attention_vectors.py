"""What attention of single rows is made of: its products and its softmax, as code for LLVM in vectors of registers.

As in `group_vectors.py`, `like` is a pointer to numbers of the format that is read and written. Scores are float32.
`attention.py` is the kernel.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from service.engine.cpu.group_vectors import (
    FLOAT_VECTOR,
    WORD_VECTOR,
    WORDS,
    Numbers,
    fetch_of,
    function_of,
    i64,
)

TOKENS = 2 * WORDS
"""Tokens whose scores are computed at once; a block of the cache has a multiple of them."""
DIMENSIONS = 2 * WORDS
"""Numbers of a value that are summed at once; a head has a multiple of them."""
MOST_QUERIES = 4 if llvm.get_host_cpu_features().get("avx512f") else 3
"""Queries of a head that share one reading of its keys: their sums fill the registers that there are."""

_I32, _F32 = ir.IntType(32), ir.FloatType()
_LOG2_E, _LN2_HIGH, _LN2_LOW = 1.44269504088896341, 0.693359375, -2.12194440e-4
_EXP = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
"""exp(r) = 1 + r + r² · polynomial(r) for |r| ≤ ln 2 / 2, with ln 2 in two parts: Cephes, `expf`."""
_LEAST = -87.0
"""Below, exp is no normal float32 number any more."""


@intrinsic
def pointer(typing: Any, like: Any, address: Any) -> Any:
    """To numbers of the format at an address."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[1], context.get_value_type(signature.return_type))

    return like(like, types.intp), generate


@intrinsic
def float_at(typing: Any, like: Any, address: Any) -> Any:
    """The number of the format at an address, as float32."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if not Numbers(builder, signature.args[0]).narrow:
            return _float(builder, args[1])
        bits = builder.load(builder.inttoptr(args[1], ir.IntType(16).as_pointer()))
        return builder.bitcast(builder.shl(builder.zext(bits, _I32), ir.Constant(_I32, 16)), _F32)

    return types.float32(like, types.intp), generate


@intrinsic
def scores(  # noqa: PLR0913, PLR0917 - of compiled code
    typing: Any, like: Any, many: Any, k: Any, stride: Any, q: Any, head: Any, out: Any, room: Any, ahead: Any
) -> Any:
    """The products of q [queries, head] with `TOKENS` keys: `queries` rows at `out`, `room` bytes from each other.

    `many` is a tuple with a place for each query. k is [head, tokens], its rows `stride` bytes from each other. What
    lies `ahead` of it, in bytes, is asked for on the way.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        numbers, queries = Numbers(builder, signature.args[0]), signature.args[1].count
        _, _, k, stride, q, head, out, room, ahead = args
        fetch = fetch_of(builder)
        sums = _zeros(builder, 2 * queries)
        multiply_add = function_of(builder, FLOAT_VECTOR, [FLOAT_VECTOR] * 3, "llvm.fma.v16f32")
        with cgutils.for_range(builder, head) as loop:
            here = builder.add(k, builder.mul(loop.index, stride))
            for line in range(TOKENS * numbers.size // 64):
                fetch(builder.add(here, ahead), 64 * line)
            halves = numbers.load(here)
            for query in range(queries):
                place = builder.add(loop.index, builder.mul(head, i64(query)))
                factor = _everywhere(builder, _float(builder, builder.add(q, builder.mul(place, i64(4)))))
                for sum_, half in zip(sums[2 * query : 2 * query + 2], halves, strict=True):
                    builder.store(builder.call(multiply_add, [factor, half, builder.load(sum_)]), sum_)
        for query in range(queries):
            to = builder.add(out, builder.mul(room, i64(query)))
            low, high = (builder.load(sum_) for sum_ in sums[2 * query : 2 * query + 2])
            for half, vector in enumerate(numbers.in_order(low, high)):
                numbers.put(vector, to, 64 * half)
        return context.get_dummy_value()

    return types.void(like, many, *[types.intp] * 7), generate


@intrinsic
def exponentials(typing: Any, scores: Any, count: Any) -> Any:
    """Each of `count` numbers, a multiple of 16, becomes exp(it − the largest of them). Returns 1 / their sum."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        scores, count = args
        numbers = Numbers(builder, types.CPointer(types.float32))
        vectors = builder.lshr(count, i64(4))
        largest = cgutils.alloca_once_value(builder, ir.Constant(FLOAT_VECTOR, [float("-inf")] * WORDS))
        with cgutils.for_range(builder, vectors) as loop:
            vector = numbers.floats(builder.add(scores, builder.mul(loop.index, i64(64))))
            before = builder.load(largest)
            builder.store(builder.select(builder.fcmp_ordered(">", vector, before), vector, before), largest)
        most = function_of(builder, _F32, [FLOAT_VECTOR], "llvm.vector.reduce.fmax.v16f32")
        top = _everywhere(builder, builder.call(most, [builder.load(largest)]))
        sum_ = _zeros(builder, 1)[0]
        with cgutils.for_range(builder, vectors) as loop:
            at = builder.add(scores, builder.mul(loop.index, i64(64)))
            share = _exp(builder, builder.fsub(numbers.floats(at), top))
            numbers.put(share, at)
            builder.store(builder.fadd(builder.load(sum_), share), sum_)
        total = function_of(builder, _F32, [_F32, FLOAT_VECTOR], "llvm.vector.reduce.fadd.v16f32")
        whole = builder.call(total, [ir.Constant(_F32, -0.0), builder.load(sum_)], fastmath=("reassoc",))
        return builder.fdiv(ir.Constant(_F32, 1.0), whole)

    return types.float32(types.intp, types.intp), generate


@intrinsic
def gather(  # noqa: PLR0913, PLR0917 - of compiled code
    typing: Any,
    like: Any,
    many: Any,
    v: Any,
    stride: Any,
    count: Any,
    shares: Any,
    room: Any,
    sums: Any,
    head: Any,
    ahead: Any,
) -> Any:
    """sums [queries, `DIMENSIONS`] += the shares of `count` tokens · v, whose rows are `stride` bytes apart.

    Each query's shares are `room` bytes from those of the one before, its sums `head` numbers; they are kept in the
    order in which `v` is loaded. What lies `ahead` of v, in bytes, is asked for on the way.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        numbers, queries = Numbers(builder, signature.args[0]), signature.args[1].count
        _, _, v, stride, count, shares, room, sums, head, ahead = args
        fetch = fetch_of(builder)
        multiply_add = function_of(builder, FLOAT_VECTOR, [FLOAT_VECTOR] * 3, "llvm.fma.v16f32")
        places = [builder.add(sums, builder.mul(head, i64(4 * query))) for query in range(queries)]
        own = [
            cgutils.alloca_once_value(builder, numbers.floats(place, 64 * half))
            for place in places
            for half in range(2)
        ]
        with cgutils.for_range(builder, count) as loop:
            here = builder.add(v, builder.mul(loop.index, stride))
            for line in range(DIMENSIONS * numbers.size // 64):
                fetch(builder.add(here, ahead), 64 * line)
            halves = numbers.load(here)
            for query in range(queries):
                at = builder.add(builder.mul(room, i64(query)), builder.mul(loop.index, i64(4)))
                factor = _everywhere(builder, _float(builder, builder.add(shares, at)))
                for sum_, half in zip(own[2 * query : 2 * query + 2], halves, strict=True):
                    builder.store(builder.call(multiply_add, [factor, half, builder.load(sum_)]), sum_)
        for number, sum_ in enumerate(own):
            numbers.put(builder.load(sum_), places[number // 2], 64 * (number % 2))
        return context.get_dummy_value()

    return types.void(like, many, *[types.intp] * 8), generate


@intrinsic
def settle(typing: Any, like: Any, sums: Any, factor: Any, out: Any) -> Any:
    """out = sums · factor, `DIMENSIONS` of them, in the format."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        numbers = Numbers(builder, signature.args[0])
        _, sums, factor, out = args
        everywhere = _everywhere(builder, factor)
        low, high = (builder.fmul(numbers.floats(sums, 64 * half), everywhere) for half in range(2))
        numbers.store(low, high, out)
        return context.get_dummy_value()

    return types.void(like, types.intp, types.float32, types.intp), generate


def _exp(builder: Any, x: Any) -> Any:
    def constant(value: float) -> Any:
        return ir.Constant(FLOAT_VECTOR, [value] * WORDS)

    multiply_add = function_of(builder, FLOAT_VECTOR, [FLOAT_VECTOR] * 3, "llvm.fma.v16f32")
    whole = function_of(builder, FLOAT_VECTOR, [FLOAT_VECTOR], "llvm.nearbyint.v16f32")
    x = builder.select(builder.fcmp_ordered("<", x, constant(_LEAST)), constant(_LEAST), x)
    twos = builder.call(whole, [builder.fmul(x, constant(_LOG2_E))])
    rest = builder.call(multiply_add, [twos, constant(-_LN2_HIGH), x])
    rest = builder.call(multiply_add, [twos, constant(-_LN2_LOW), rest])
    sum_ = constant(_EXP[0])
    for coefficient in _EXP[1:]:
        sum_ = builder.call(multiply_add, [sum_, rest, constant(coefficient)])
    sum_ = builder.call(multiply_add, [sum_, builder.fmul(rest, rest), builder.fadd(rest, constant(1.0))])
    exponent = builder.add(builder.fptosi(twos, WORD_VECTOR), ir.Constant(WORD_VECTOR, [127] * WORDS))
    power = builder.bitcast(builder.shl(exponent, ir.Constant(WORD_VECTOR, [23] * WORDS)), FLOAT_VECTOR)
    return builder.fmul(sum_, power)


def _zeros(builder: Any, count: int) -> list[Any]:
    """Room for sums, which are 0 each time that the code comes by."""
    zero = ir.Constant(FLOAT_VECTOR, [0.0] * WORDS)
    sums = [cgutils.alloca_once_value(builder, zero) for _ in range(count)]
    for sum_ in sums:
        builder.store(zero, sum_)
    return sums


def _float(builder: Any, address: Any) -> Any:
    return builder.load(builder.inttoptr(address, _F32.as_pointer()))


def _everywhere(builder: Any, number: Any) -> Any:
    undefined = ir.Constant(FLOAT_VECTOR, ir.Undefined)
    lane = builder.insert_element(undefined, number, ir.Constant(_I32, 0))
    return builder.shuffle_vector(lane, undefined, ir.Constant(WORD_VECTOR, [0] * WORDS))
