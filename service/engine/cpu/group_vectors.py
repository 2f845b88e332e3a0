"""What the kernel of grouped rows is made of: its two products, as code for LLVM in vectors of registers.

Functions take `like`, a pointer to numbers of the format that they read and write: `bits_at(0)` for bfloat16,
`floats_at(0)` for float32. `grouped.py` is the kernel, `vectors.py` what it shares with that of few rows.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

WORDS = 16
_I8, _I32, _I64, _F32 = ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.FloatType()
WORD_VECTOR, FLOAT_VECTOR = ir.VectorType(_I32, WORDS), ir.VectorType(_F32, WORDS)
_MANY_REGISTERS = bool(llvm.get_host_cpu_features().get("avx512f"))
"""32, each of a whole vector. AVX2 has 16 of half a vector."""
RANKS = {1: 4, 2: 4, 3: 4, 4: 2, 5: 2, 6: 2} if _MANY_REGISTERS else {1: 2, 2: 2, 3: 1}
"""Rows of a block, up to the most that there are → ranks that are summed at once: their sums fill the registers, and
leave room for what is multiplied."""
WIDE = {1: 8, 2: 4, 3: 4, 4: 2, 5: 2, 6: 2} if _MANY_REGISTERS else {1: 4, 2: 2, 3: 2}
"""Rows of a block → vectors of an output that are summed at once, where so many are left."""
LINES = 2
"""Lines of 64 bytes that are asked for ahead with each 32 numbers of a shrink."""


class Numbers:
    """How a format is read from memory and written: bfloat16 as words of two, float32 as it is."""

    def __init__(self, builder: Any, like: Any) -> None:
        self.builder = builder
        self.narrow = like.dtype == types.uint16
        self.size = 2 if self.narrow else 4
        self._sixteen = ir.Constant(WORD_VECTOR, [16] * WORDS)
        self._upper = ir.Constant(WORD_VECTOR, [0xFFFF0000] * WORDS)

    def load(self, address: Any, beyond: int = 0) -> tuple[Any, Any]:
        """32 numbers: of bfloat16 those of even and of odd place, of float32 the first and the last 16."""
        if not self.narrow:
            return self.floats(address, 4 * beyond), self.floats(address, 4 * beyond + 64)
        words = self._at(address, 2 * beyond, WORD_VECTOR, 2)
        low = self.builder.bitcast(self.builder.shl(words, self._sixteen), FLOAT_VECTOR)
        return low, self.builder.bitcast(self.builder.and_(words, self._upper), FLOAT_VECTOR)

    def store(self, low: Any, high: Any, address: Any, beyond: int = 0) -> None:
        if not self.narrow:
            self.put(low, address, 4 * beyond)
            self.put(high, address, 4 * beyond + 64)
            return
        words = self.builder.lshr(self._rounded(low, WORDS), self._sixteen)
        words = self.builder.or_(words, self.builder.and_(self._rounded(high, WORDS), self._upper))
        pointer = self.builder.inttoptr(self.builder.add(address, i64(2 * beyond)), WORD_VECTOR.as_pointer())
        self.builder.store(words, pointer).align = 2

    def in_order(self, low: Any, high: Any) -> tuple[Any, Any]:
        """What `load` gave, or was made of it, as 32 numbers one after the other."""
        if not self.narrow:
            return low, high
        places = [lane + half * WORDS for lane in range(WORDS) for half in range(2)]
        first, last = (
            self.builder.shuffle_vector(low, high, ir.Constant(WORD_VECTOR, part))
            for part in (places[:WORDS], places[WORDS:])
        )
        return first, last

    def settle(self, number: Any) -> Any:
        """A float32 number, rounded to the format."""
        if not self.narrow:
            return number
        return self.builder.bitcast(self.builder.and_(self._rounded(number, 1), ir.Constant(_I32, 0xFFFF0000)), _F32)

    def floats(self, address: Any, beyond: int = 0) -> Any:
        return self._at(address, beyond, FLOAT_VECTOR, 4)

    def put(self, vector: Any, address: Any, beyond: int = 0) -> None:
        pointer = self.builder.inttoptr(self.builder.add(address, i64(beyond)), FLOAT_VECTOR.as_pointer())
        self.builder.store(vector, pointer).align = 4

    def _at(self, address: Any, beyond: int, kind: Any, align: int) -> Any:
        loaded = self.builder.load(self.builder.inttoptr(self.builder.add(address, i64(beyond)), kind.as_pointer()))
        loaded.align = align
        return loaded

    def _rounded(self, number: Any, lanes: int) -> Any:
        """As `vectors.narrowed`: the upper half of the word is the bfloat16 number.

        What is no number needs no care: it comes from bfloat16 or from the processor, with a lower half that cannot
        carry into the sign.
        """
        kind: Any = _I32 if lanes == 1 else WORD_VECTOR

        def constant(value: int) -> Any:
            return ir.Constant(kind, value if lanes == 1 else [value] * lanes)

        bits = self.builder.bitcast(number, kind)
        odd = self.builder.and_(self.builder.lshr(bits, constant(16)), constant(1))
        return self.builder.add(bits, self.builder.add(odd, constant(0x7FFF)))


def i64(value: int) -> Any:
    return ir.Constant(_I64, value)


def function_of(builder: Any, result: Any, args: list[Any], name: str) -> Any:
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, args), name)


def _sums(builder: Any, count: int) -> list[Any]:
    return [cgutils.alloca_once_value(builder, ir.Constant(FLOAT_VECTOR, [0.0] * WORDS)) for _ in range(count)]


def _clear(builder: Any, sums: list[Any]) -> None:
    for one in sums:
        builder.store(ir.Constant(FLOAT_VECTOR, [0.0] * WORDS), one)


def fetch_of(builder: Any) -> Any:
    prefetch = function_of(builder, ir.VoidType(), [_I8.as_pointer(), _I32, _I32, _I32], "llvm.prefetch.p0")
    read_often = [ir.Constant(_I32, 0), ir.Constant(_I32, 3), ir.Constant(_I32, 1)]

    def fetch(address: Any, beyond: int) -> None:
        pointer = builder.inttoptr(builder.add(address, i64(beyond)), _I8.as_pointer())
        builder.call(prefetch, [pointer, *read_often])

    return fetch


@intrinsic
def spread(typing: Any, like: Any, source: Any, target: Any, count: Any) -> Any:
    """Numbers of a row → float32, each 32 of them as they are loaded."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        numbers = Numbers(builder, signature.args[0])
        _, source, target, count = args
        with cgutils.for_range(builder, builder.lshr(count, i64(5))) as loop:
            low, high = numbers.load(builder.add(source, builder.mul(loop.index, i64(32 * numbers.size))))
            to = builder.add(target, builder.mul(loop.index, i64(128)))
            numbers.put(low, to)
            numbers.put(high, to, 64)
        return context.get_dummy_value()

    return types.void(like, *[types.intp] * 3), generate


def shrink_of(rows: int) -> Any:
    """For so many rows of x, and `RANKS` of them at once."""
    ranks = RANKS[rows]

    @intrinsic
    def shrink(typing: Any, like: Any, a: Any, stride: Any, x: Any, length: Any, h: Any, ahead: Any) -> Any:
        """h [ranks, rows] = the products of a's rows, `stride` bytes from each other, with those of x [rows, length].

        A stride of 0 stands for one rank. What begins `ahead` is asked for on the way.
        """

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            numbers = Numbers(builder, signature.args[0])
            _, a, stride, x, length, h, ahead = args
            fetch = fetch_of(builder)
            sums = _sums(builder, 2 * rows * ranks)
            _clear(builder, sums)
            multiply_add = function_of(builder, FLOAT_VECTOR, [FLOAT_VECTOR] * 3, "llvm.fma.v16f32")
            weights, inputs = [a], [x]
            for _ in range(ranks - 1):
                weights.append(builder.add(weights[-1], stride))
            for _ in range(rows - 1):
                inputs.append(builder.add(inputs[-1], builder.mul(length, i64(4))))
            with cgutils.for_range(builder, builder.lshr(length, i64(5))) as loop:
                here, there = builder.mul(loop.index, i64(32 * numbers.size)), builder.mul(loop.index, i64(128))
                for line in range(LINES):
                    fetch(builder.add(ahead, builder.mul(loop.index, i64(64 * LINES))), 64 * line)
                factors = [numbers.load(builder.add(weight, here)) for weight in weights]
                for number, input_ in enumerate(inputs):
                    at = builder.add(input_, there)
                    for half in range(2):
                        value = numbers.floats(at, 64 * half)
                        for one in range(ranks):
                            sum_ = sums[2 * (number * ranks + one) + half]
                            builder.store(
                                builder.call(multiply_add, [factors[one][half], value, builder.load(sum_)]), sum_
                            )
            step = builder.select(builder.icmp_unsigned("==", stride, i64(0)), i64(0), i64(4 * rows))
            total = function_of(builder, _F32, [_F32, FLOAT_VECTOR], "llvm.vector.reduce.fadd.v16f32")
            for number in range(rows):
                for one in range(ranks):
                    low, high = sums[2 * (number * ranks + one)], sums[2 * (number * ranks + one) + 1]
                    both = builder.fadd(builder.load(low), builder.load(high))
                    value = builder.call(total, [ir.Constant(_F32, -0.0), both], fastmath=("reassoc",))
                    to = builder.add(builder.add(h, i64(4 * number)), builder.mul(step, i64(one)))
                    builder.store(numbers.settle(value), builder.inttoptr(to, _F32.as_pointer()))
            return context.get_dummy_value()

        return types.void(like, *[types.intp] * 6), generate

    return shrink


def expand_of(rows: int, vectors: int) -> Any:
    """For so many rows of y, and so many vectors of each at once."""

    @intrinsic
    def expand(typing: Any, like: Any, b: Any, stride: Any, h: Any, rank: Any, ys: Any, ahead: Any) -> Any:
        """y += h [rank, rows] · b for 16 · `vectors` numbers of each row. b's ranks are `stride` bytes from each other.

        `ys` has the address of each row's numbers, and is left with those of the next. What begins `ahead` is asked for
        on the way.
        """

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            numbers = Numbers(builder, signature.args[0])
            _, b, stride, h, rank, ys, ahead = args
            fetch = fetch_of(builder)
            sums = _sums(builder, rows * vectors)
            _clear(builder, sums)
            multiply_add = function_of(builder, FLOAT_VECTOR, [FLOAT_VECTOR] * 3, "llvm.fma.v16f32")
            first_lane, undefined = ir.Constant(WORD_VECTOR, [0] * WORDS), ir.Constant(FLOAT_VECTOR, ir.Undefined)
            with cgutils.for_range(builder, rank) as loop:
                fetch(builder.add(ahead, builder.mul(loop.index, i64(64))), 0)
                at = builder.add(b, builder.mul(loop.index, stride))
                factors = [half for pair in range(vectors // 2) for half in numbers.load(at, 32 * pair)]
                for number in range(rows):
                    place = builder.add(builder.mul(loop.index, i64(rows)), i64(number))
                    share = builder.load(
                        builder.inttoptr(builder.add(h, builder.mul(place, i64(4))), _F32.as_pointer())
                    )
                    lane = builder.insert_element(undefined, share, ir.Constant(_I32, 0))
                    everywhere = builder.shuffle_vector(lane, undefined, first_lane)
                    for one, factor in enumerate(factors):
                        sum_ = sums[number * vectors + one]
                        builder.store(builder.call(multiply_add, [everywhere, factor, builder.load(sum_)]), sum_)
            for number in range(rows):
                pointer = builder.gep(builder.inttoptr(ys, _I64.as_pointer()), [i64(number)])
                y = builder.load(pointer)
                builder.store(builder.add(y, i64(16 * vectors * numbers.size)), pointer)
                for pair in range(vectors // 2):
                    low, high = numbers.load(y, 32 * pair)
                    first = number * vectors + 2 * pair
                    numbers.store(
                        builder.fadd(low, builder.load(sums[first])),
                        builder.fadd(high, builder.load(sums[first + 1])),
                        y,
                        32 * pair,
                    )
            return context.get_dummy_value()

        return types.void(like, *[types.intp] * 6), generate

    return expand


@intrinsic
def size_of(typing: Any, like: Any) -> Any:
    """Bytes of a number."""
    return types.intp(like), lambda context, builder, signature, args: i64(Numbers(builder, signature.args[0]).size)
