"""Attention of rows that are one new token each, over vLLM's cache of keys and values on a CPU.

vLLM's own kernel computes any number of tokens of a request as tiles of a product. A decoding row is a tile of one,
and waits for memory. Here a row's keys are read once, as they lie, those of the next row are asked for meanwhile, and
its own key and value are written when their lines are at hand.

    scores = q · K / √head        [length]
    shares = softmax(scores)
    output = shares · V           [head]

for each head of each row. Scores and sums are float32, in one order whatever else is in the step: a row gets the same
bits alone and among others, on any number of threads. A block of the cache has, for each head, keys [head, block] and
values [block, head] (vLLM's layout "VEC"). `vllm/attention.py` puts this into vLLM.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numba
import numpy
import torch
from numba import carray, types

from service.engine.cpu.attention_vectors import (
    DIMENSIONS,
    MOST_QUERIES,
    TOKENS,
    exponentials,
    float_at,
    gather,
    pointer,
    scores,
    settle,
)
from service.engine.cpu.group_vectors import size_of
from service.engine.cpu.vectors import (
    barrier,
    bits_at,
    floats_at,
    ints_at,
    record_at,
    thread,
    threads,
    together,
    words_at,
)

_FIELDS = numpy.int64
LAYER = numpy.dtype(
    [
        *((name, _FIELDS) for name in ("heads", "queries", "head", "block", "block_bytes", "head_bytes")),
        ("scale", numpy.float64),
    ]
)
"""`heads` of keys, each with so many `queries`, of `head` numbers; tokens of a block; bytes from a block to the next,
and within it from a head to the next."""
CALL = numpy.dtype(
    [
        (name, _FIELDS)
        for name in (
            *("layer", "cache", "query", "key", "value", "output"),
            *("query_bytes", "key_bytes", "value_bytes", "output_bytes"),
            *("slots", "rows", "count", "filled", "filled_count", "table", "table_width"),
            *("scratch", "scratch_size", "longest"),
        )
    ]
)
"""Addresses; bytes from a token to the next of each tensor; `slots` of all tokens; `rows` [count, 3]: a row's token,
its request in `table` [requests, table_width] (int32), and the length of that request; `longest`: the most of those, in
whole `TOKENS`. `filled`: which of the rows come to the last place of a block. `scratch`: of each thread."""


def scratch_size(longest: int, head: int) -> int:
    """Float32 numbers that a thread needs."""
    return MOST_QUERIES * (longest + 2 * head + 1)


@numba.njit
def _block_at(layer: Any, call: Any, item: int, block: int) -> int:
    """Where the keys of an item's block begin. An item is a row and a head of keys, row by row."""
    request = words_at(call.rows)[3 * (item // layer.heads) + 1]
    number = ints_at(call.table + 4 * request * call.table_width)[block]
    keys: int = call.cache + number * layer.block_bytes + item % layer.heads * layer.head_bytes
    return keys


@numba.njit
def _write(like: Any, layer: Any, call: Any, row: int, head: int) -> None:
    """The row's own key and value to their place in the cache."""
    size, token = size_of(like), words_at(call.rows)[3 * row]
    slot = words_at(call.slots)[token]
    block, place = slot // layer.block, slot % layer.block
    keys = call.cache + block * layer.block_bytes + head * layer.head_bytes
    values = keys + size * layer.head * layer.block
    own = size * head * layer.head
    key, to = pointer(like, call.key + token * call.key_bytes + own), pointer(like, keys + size * place)
    for one in range(layer.head):
        to[one * layer.block] = key[one]
    value = pointer(like, call.value + token * call.value_bytes + own)
    to = pointer(like, values + size * place * layer.head)
    for one in range(layer.head):
        to[one] = value[one]


@numba.njit
def _some(like: Any, many: Any, layer: Any, call: Any, item: int, first: int, after: int, mine: int) -> None:
    """As many of an item's queries as `many` has, from the `first` on. The keys of what follows begin at `after`."""
    size, wide, queries = size_of(like), layer.head, len(many)
    row, head = item // layer.heads, item % layer.heads
    rows = words_at(call.rows)
    token, length = rows[3 * row], rows[3 * row + 2]
    own = size * (head * layer.queries + first) * wide
    room = 4 * call.longest
    q = mine + queries * room
    sums = q + 4 * queries * wide
    given, scaled, cleared = call.query + token * call.query_bytes + own, floats_at(q), floats_at(sums)
    inverse = floats_at(sums + 4 * queries * wide)
    for one in range(queries * wide):
        scaled[one] = float_at(like, given + size * one) * numba.float32(layer.scale)
        cleared[one] = numba.float32(0)
    blocks = (length + layer.block - 1) // layer.block
    here = _block_at(layer, call, item, 0)
    for block in range(blocks):
        there = _block_at(layer, call, item, block + 1) if block + 1 < blocks else after
        for at_once in range(0, min(layer.block, length - block * layer.block), TOKENS):
            to = mine + 4 * (block * layer.block + at_once)
            scores(like, many, here + size * at_once, size * layer.block, q, wide, to, room, there - here)
        here = there
    padded = (length + TOKENS - 1) // TOKENS * TOKENS
    for query in range(queries):
        score = floats_at(mine + query * room)
        for behind in range(length, padded):
            score[behind] = -numpy.inf
        inverse[query] = exponentials(mine + query * room, padded)
    values = size * wide * layer.block
    here = _block_at(layer, call, item, 0)
    for block in range(blocks):
        there = _block_at(layer, call, item, block + 1) if block + 1 < blocks else after
        count, shares = min(layer.block, length - block * layer.block), mine + 4 * block * layer.block
        for one in range(0, wide, DIMENSIONS):
            to = sums + 4 * one
            gather(like, many, here + values + size * one, size * wide, count, shares, room, to, wide, there - here)
        here = there
    out = call.output + token * call.output_bytes + own
    for query in range(queries):
        for one in range(query * wide, (query + 1) * wide, DIMENSIONS):
            settle(like, sums + 4 * one, inverse[query], out + size * one)


@numba.njit
def _attend(like: Any, many: Any, call: Any) -> None:
    """The items of this thread, as many queries of a head of keys at once as `many` has."""
    layer = carray(_layer_at(call.layer), 1)[0]
    items = call.count * layer.heads
    low, high = items * thread() // threads(), items * (thread() + 1) // threads()
    mine = call.scratch + 4 * call.scratch_size * thread()
    if call.filled_count:  # vLLM shares a full block at once: other rows of this step may read it
        if thread() == 0:
            for one in range(call.filled_count):
                for head in range(layer.heads):
                    _write(like, layer, call, words_at(call.filled)[one], head)
        barrier()
    for item in range(low, high):
        _write(like, layer, call, item // layer.heads, item % layer.heads)
        after = _block_at(layer, call, item + 1 if item + 1 < high else item, 0)
        for first in range(0, layer.queries, len(many)):
            _some(like, many, layer, call, item, first, after, mine)


_layer_at = record_at(LAYER)


# Each is compiled when it is first asked for, and kept on disk. What they call differs by the types of its arguments
# alone, formats and counts too, and encloses nothing: numba names code by that, and code of one name, made by two
# processes, would be taken for the same where a third one reads both from the disk.
def _narrow_by_one(call: Any) -> None:
    _attend(bits_at(0), (0,), carray(call, 1)[0])


def _narrow_by_two(call: Any) -> None:
    _attend(bits_at(0), (0, 0), carray(call, 1)[0])


def _narrow_by_three(call: Any) -> None:
    _attend(bits_at(0), (0, 0, 0), carray(call, 1)[0])


def _narrow_by_four(call: Any) -> None:
    _attend(bits_at(0), (0, 0, 0, 0), carray(call, 1)[0])


def _wide_by_one(call: Any) -> None:
    _attend(floats_at(0), (0,), carray(call, 1)[0])


def _wide_by_two(call: Any) -> None:
    _attend(floats_at(0), (0, 0), carray(call, 1)[0])


def _wide_by_three(call: Any) -> None:
    _attend(floats_at(0), (0, 0, 0), carray(call, 1)[0])


def _wide_by_four(call: Any) -> None:
    _attend(floats_at(0), (0, 0, 0, 0), carray(call, 1)[0])


_FUNCTIONS = {
    torch.bfloat16: (_narrow_by_one, _narrow_by_two, _narrow_by_three, _narrow_by_four),
    torch.float32: (_wide_by_one, _wide_by_two, _wide_by_three, _wide_by_four),
}


@lru_cache
def compiled(dtype: torch.dtype, queries: int) -> int:
    """The address of what is computed with numbers of this format, where so many queries share a head of keys.

    Compiling takes seconds, the first time on a machine.
    """
    at_once = max(count for count in range(1, MOST_QUERIES + 1) if queries % count == 0)
    signature = types.void(types.CPointer(numba.from_dtype(CALL)))
    return int(_kept(_FUNCTIONS[dtype][at_once - 1], signature).address)


@lru_cache
def _kept(function: Any, signature: Any) -> Any:
    return numba.cfunc(signature, cache=True)(function)


def suits(dtype: torch.dtype, head: int, block: int) -> bool:
    """Whether the kernel knows numbers of this format, `head` of them a head, in blocks of so many tokens."""
    return dtype in _FUNCTIONS and head % DIMENSIONS == 0 and block % TOKENS == 0


class Layer:
    """A layer's cache as the kernel is told it: [blocks, heads, block, 2 · head], a head's block in one piece."""

    def __init__(self, cache: torch.Tensor, queries: int, scale: float) -> None:
        """`queries` to each head of keys. Each score is times `scale`."""
        _, heads, block, twice = cache.shape
        self._record = numpy.zeros(1, LAYER)
        record, size = self._record[0], cache.element_size()
        record["heads"], record["queries"], record["head"], record["block"] = heads, queries, twice // 2, block
        record["block_bytes"], record["head_bytes"] = size * cache.stride(0), size * cache.stride(1)
        record["scale"] = scale
        self.address = int(self._record.ctypes.data)
        self.cache, self.size = cache.data_ptr(), size
        self.function = compiled(cache.dtype, queries)


class Rows:
    """The rows of a step that are one token each: made, placed, and then asked once by each layer."""

    def __init__(self, tokens: numpy.ndarray, requests: numpy.ndarray, lengths: numpy.ndarray, block: int) -> None:
        """Each row's token in the step, its request in the table of blocks, and that request's length with it."""
        self._rows = numpy.stack([tokens, requests, lengths], 1).astype(_FIELDS, order="C")
        self._filled = numpy.flatnonzero(lengths % block == 0).astype(_FIELDS)
        self._call = numpy.zeros(1, CALL)
        self._longest = -(-int(lengths.max()) // TOKENS) * TOKENS
        self._threads = torch.get_num_threads()
        self._fields, self._address = self._call.view(_FIELDS), int(self._call.ctypes.data)

    def place(self, slots: torch.Tensor, table: torch.Tensor, head: int) -> None:
        """Where the step's tokens go in the cache, [tokens], and each request's blocks, int32 [requests, blocks]."""
        self._held = slots, table
        size = scratch_size(self._longest, head)
        self._scratch = torch.empty(self._threads * size)
        call = self._call[0]
        call["slots"], call["table"], call["table_width"] = slots.data_ptr(), table.data_ptr(), table.stride(0)
        call["rows"], call["count"] = self._rows.ctypes.data, len(self._rows)
        call["filled"], call["filled_count"] = self._filled.ctypes.data, len(self._filled)
        call["scratch"], call["scratch_size"], call["longest"] = self._scratch.data_ptr(), size, self._longest

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, output: torch.Tensor, layer: Layer
    ) -> None:
        """Of the whole step, [tokens, heads, head] each. Writes these rows' keys and values, and their `output`."""
        size = layer.size
        self._fields[:10] = (
            layer.address, layer.cache, query.data_ptr(), key.data_ptr(), value.data_ptr(), output.data_ptr(),
            size * query.stride(0), size * key.stride(0), size * value.stride(0), size * output.stride(0),
        )  # fmt: skip
        together(layer.function, self._address, self._threads)
