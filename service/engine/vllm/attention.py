"""Where the kernel of `cpu/attention.py` meets vLLM: it takes the rows of one new token, vLLM's own takes the rest.

`take_over` looks at a worker whose model is loaded and takes the groups of layers that the kernel can compute. A step's
rows are told apart once, when vLLM prepares its attention. A request with several new tokens is a prompt: those that
lie beside each other in the step are one call of vLLM's kernel, as they would be without this.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy
import torch
from vllm.model_executor.layers.attention.attention import get_attention_context
from vllm.v1.attention.backend import AttentionType
from vllm.v1.attention.backends.cpu_attn import (
    CPUAttentionBackendImpl,
    CPUAttentionMetadata,
    CPUAttentionMetadataBuilder,
)

from service.engine.cpu import attention
from service.engine.cpu.attention import Layer, Rows


def take_over(runner: Any) -> bool:
    """From now on single rows of this worker's steps take the kernel. Whether any of its layers do. A second call
    changes nothing.
    """
    layers, taken = runner.compilation_config.static_forward_context, False
    for group in (group for groups in runner.attn_groups for group in groups):
        own = [layers[name] for name in group.layer_names]
        for builder in group.metadata_builders:
            if not hasattr(builder, "dabt_rows"):
                builder.dabt_rows = _suits(builder, own)
                if builder.dabt_rows:
                    builder.build = _build_of(builder)
        if any(builder.dabt_rows for builder in group.metadata_builders):
            taken = True
            for layer in own:
                _take(layer.impl, group.metadata_builders[0].dtype)
    return taken


def _suits(builder: Any, layers: Sequence[Any]) -> bool:
    """By what they are, and never by what they are not."""
    plain = type(builder) is CPUAttentionMetadataBuilder and builder.isa == "vec"
    causal = not builder.is_cross_attention and not builder.is_encoder_only_attention
    known = attention.suits(builder.dtype, builder.head_dim, builder.block_size)
    return plain and causal and known and all(_suits_one(layer) for layer in layers)


def _suits_one(layer: Any) -> bool:
    impl = layer.impl
    decoder = type(impl) is CPUAttentionBackendImpl and impl.attn_type == AttentionType.DECODER
    whole = impl.sliding_window == -1 and impl.kv_sharing_target_layer_name is None and not impl.is_fp8_kv_cache
    unchanged = impl.alibi_slopes is None and impl.logits_soft_cap == 0 and impl.sinks is None
    return decoder and whole and unchanged and layer.isa == "vec"


class Shared:
    """Who computes which of a step's rows."""

    def __init__(self, rows: Rows, prompts: Sequence[tuple[slice, CPUAttentionMetadata]]) -> None:
        self.rows = rows
        self.prompts = prompts
        """The tokens of prompts beside each other, and vLLM's metadata of these alone."""


def _build_of(builder: Any) -> Callable[..., CPUAttentionMetadata]:
    whole = builder.build

    def build(common_prefix_len: int, common: Any, fast_build: bool = False) -> CPUAttentionMetadata:
        starts = common.query_start_loc.numpy()
        counts = numpy.diff(starts)
        single = counts == 1
        enough = numpy.count_nonzero(single) * builder.num_kv_heads >= torch.get_num_threads()
        if common.causal is not True or not enough or len(counts) != common.num_reqs:
            return whole(common_prefix_len, common, fast_build)
        requests = numpy.flatnonzero(single)
        rows = Rows(starts[requests], requests, common.seq_lens.numpy()[requests], builder.block_size)
        rows.place(common.slot_mapping, common.block_table_tensor, builder.head_dim)
        metadata = _metadata_of(common)
        metadata.dabt_shared = Shared(rows, [_part(whole, common, starts, *ends) for ends in _runs(~single)])
        return metadata

    return build


def _metadata_of(common: Any) -> CPUAttentionMetadata:
    """As vLLM's builder makes it, without the plan of a kernel that is not called for the whole step."""
    return CPUAttentionMetadata(
        num_actual_tokens=common.num_actual_tokens,
        max_query_len=common.max_query_len,
        query_start_loc=common.query_start_loc,
        max_seq_len=common.max_seq_len,
        seq_lens=common.seq_lens,
        block_table=common.block_table_tensor,
        slot_mapping=common.slot_mapping,
        scheduler_metadata=None,
        causal=True,
    )


def _part(
    whole: Callable[..., CPUAttentionMetadata], common: Any, starts: numpy.ndarray, first: int, last: int
) -> tuple[slice, CPUAttentionMetadata]:
    """Of the requests from `first` on and before `last`."""
    tokens = slice(int(starts[first]), int(starts[last]))
    part = _Common(common, slice(first, last), tokens)
    return tokens, whole(0, part)


class _Common:
    """What vLLM's builder reads of a step, of some requests beside each other in it."""

    def __init__(self, common: Any, requests: slice, tokens: slice) -> None:
        self.num_reqs = requests.stop - requests.start
        self.num_actual_tokens = tokens.stop - tokens.start
        self.query_start_loc = common.query_start_loc[requests.start : requests.stop + 1] - tokens.start
        self.seq_lens = common.seq_lens[requests]
        self.max_query_len = int(self.query_start_loc.diff().max())
        self.max_seq_len = int(self.seq_lens.max())
        self.block_table_tensor = common.block_table_tensor[requests]
        self.slot_mapping = common.slot_mapping[tokens]
        self.causal = True


def _runs(flags: numpy.ndarray) -> list[tuple[int, int]]:
    """Where those that are true lie beside each other: the first, and the one behind the last."""
    edges = numpy.flatnonzero(numpy.diff(numpy.concatenate(([0], flags, [0]))))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _take(impl: Any, dtype: torch.dtype) -> None:
    """This layer's attention, from now on. Keys and values of single rows are written where they are read."""
    if hasattr(impl, "dabt_rows"):
        return
    impl.dabt_rows = True
    attention.compiled(dtype, impl.num_queries_per_kv)  # here, and not in the first step
    update, forward = impl.do_kv_cache_update, impl.forward
    place: Layer | None = None

    def do_kv_cache_update(layer: Any, key: Any, value: Any, kv_cache: Any, slot_mapping: Any) -> None:
        metadata, *_ = get_attention_context(layer.layer_name)
        if (shared := getattr(metadata, "dabt_shared", None)) is None:
            update(layer, key, value, kv_cache, slot_mapping)
            return
        for tokens, part in shared.prompts:
            update(layer, key[tokens], value[tokens], kv_cache, part.slot_mapping)

    def attend(
        layer: Any,
        query: Any,
        key: Any,
        value: Any,
        kv_cache: Any,
        attn_metadata: Any,
        output: Any,
        *scales: Any,
        **named: Any,
    ) -> Any:
        nonlocal place
        if (shared := getattr(attn_metadata, "dabt_shared", None)) is None:
            return forward(layer, query, key, value, kv_cache, attn_metadata, output, *scales, **named)
        if place is None or place.cache != kv_cache.data_ptr():
            place = Layer(kv_cache, impl.num_queries_per_kv, impl.scale)
        shared.rows.attend(query, key, value, output, place)
        for tokens, part in shared.prompts:
            forward(layer, query[tokens], key[tokens], value[tokens], kv_cache, part, output[tokens])
        return output

    impl.do_kv_cache_update, impl.forward = do_kv_cache_update, attend
