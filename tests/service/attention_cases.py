"""Steps of attention over a cache in blocks, for the tests of the kernel and of where it meets vLLM."""

from __future__ import annotations

from typing import Any

import numpy
import torch

from service.engine.cpu.attention import Layer, Rows


class Step:
    """Requests of `lengths` tokens, of which `new` are in the step; blocks lie anywhere in the cache."""

    def __init__(
        self, lengths: list[int], new: list[int] | None = None, *, dtype: str = "float32",
        heads: int = 6, kv_heads: int = 3, head: int = 32, block: int = 32, seed: int = 0,
    ) -> None:  # fmt: skip
        random, self.dtype = torch.Generator().manual_seed(seed), getattr(torch, dtype)
        self.lengths, self.new = lengths, new or [1] * len(lengths)
        self.heads, self.kv_heads, self.head, self.block = heads, kv_heads, head, block
        blocks = [-(-length // block) for length in lengths]
        order = torch.randperm(sum(blocks) + 2, generator=random).int()
        self.table = torch.zeros(len(lengths), max(blocks), dtype=torch.int32)
        for request, own in enumerate(order[: sum(blocks)].split(blocks)):
            self.table[request, : len(own)] = own
        tokens = sum(self.new)
        qkv = torch.randn(tokens, (heads + 2 * kv_heads) * head, generator=random).to(self.dtype)
        self.query, self.key, self.value = qkv.view(tokens, -1, head).split([heads, kv_heads, kv_heads], 1)
        self.cache = torch.randn(len(order), kv_heads, block, 2 * head, generator=random).to(self.dtype)
        self.starts = torch.tensor(numpy.cumsum([0, *self.new]), dtype=torch.int32)
        self.seq_lens = torch.tensor(lengths, dtype=torch.int32)

    @property
    def places(self) -> list[tuple[int, int]]:
        """The request and the position of each token."""
        pairs = zip(self.lengths, self.new, strict=True)
        return [(at, length - new + one) for at, (length, new) in enumerate(pairs) for one in range(new)]

    @property
    def slots(self) -> torch.Tensor:
        return torch.tensor(
            [
                int(self.table[at, position // self.block]) * self.block + position % self.block
                for at, position in self.places
            ]
        )

    def keys_and_values(self, cache: torch.Tensor, request: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Of the request's first tokens, [tokens, heads, head] each, as the cache has them."""
        own = cache.view(len(cache), self.kv_heads, 2, self.block * self.head)[self.table[request].long()]
        keys = own[:, :, 0].view(-1, self.kv_heads, self.head, self.block).permute(0, 3, 1, 2)
        values = own[:, :, 1].view(-1, self.kv_heads, self.block, self.head).permute(0, 2, 1, 3)
        shape = -1, self.kv_heads, self.head
        return keys.reshape(shape)[:length], values.reshape(shape)[:length]

    def written(self) -> torch.Tensor:
        """The cache with the step's tokens."""
        cache = self.cache.clone()
        keys = cache.view(len(cache), self.kv_heads, 2, -1)[:, :, 0].view(
            len(cache), self.kv_heads, self.head, self.block
        )
        values = cache.view(len(cache), self.kv_heads, 2, -1)[:, :, 1].view(
            len(cache), self.kv_heads, self.block, self.head
        )
        for token, slot in enumerate(self.slots.tolist()):
            keys[slot // self.block, :, :, slot % self.block] = self.key[token]
            values[slot // self.block, :, slot % self.block] = self.value[token]
        return cache

    def wanted(self) -> torch.Tensor:
        """What every token attends to, computed in float64."""
        cache, rows = self.written(), []
        for token, (request, position) in enumerate(self.places):
            keys, values = (
                part.double().repeat_interleave(self.heads // self.kv_heads, 1)
                for part in self.keys_and_values(cache, request, position + 1)
            )
            scores = torch.einsum("hd,thd->ht", self.query[token].double(), keys) * self.head**-0.5
            rows.append(torch.einsum("ht,thd->hd", scores.softmax(-1), values))
        return torch.stack(rows)

    def only(self, request: int) -> Any:
        """The same with this request alone in the step."""
        alone = object.__new__(Step)
        alone.__dict__ |= self.__dict__
        tokens = slice(int(self.starts[request]), int(self.starts[request + 1]))
        alone.lengths, alone.new = [self.lengths[request]], [self.new[request]]
        alone.table, alone.seq_lens = self.table[request : request + 1], self.seq_lens[request : request + 1]
        alone.query, alone.key, alone.value = self.query[tokens], self.key[tokens], self.value[tokens]
        alone.starts = torch.tensor([0, alone.new[0]], dtype=torch.int32)
        return alone


def attended(step: Step, cache: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """What the kernel gives for a step of single rows, and the cache after it."""
    cache, count = step.cache.clone() if cache is None else cache, len(step.lengths)
    rows = Rows(numpy.arange(count), numpy.arange(count), numpy.array(step.lengths), step.block)
    rows.place(step.slots, step.table, step.head)
    output = torch.full((count, step.heads, step.head), 7.0, dtype=step.dtype)
    layer = Layer(cache, step.heads // step.kv_heads, step.head**-0.5)
    rows.attend(step.query, step.key, step.value, output, layer)
    return output, cache
