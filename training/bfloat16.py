"""bfloat16 on a CPU: where it is multiplied in hardware, and attention in it.

Autocast brings a model's own products to the CPU's bfloat16 instructions. The backward pass of PyTorch's fused
attention takes several times as long there as the products that it consists of, so it is done by these, with the same
result up to rounding. Read `on_cpu.py` for when.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any, Literal

from training.device import device

Precision = Literal["float32", "bfloat16"]

LONGEST = 1024
"""Tokens of a line up to which attention is done by products. They keep one number for every pair of tokens and head;
the fused kernel keeps none, so that a longer line does not end the memory."""


def multiplied_in_hardware() -> bool:
    """Whether this CPU has instructions for products in bfloat16 (AVX-512 BF16, AMX)."""
    import torch

    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def settled(wanted: Literal["auto", "float32", "bfloat16"]) -> Precision:
    """What it is here: bfloat16 on a GPU, whatever is wanted; `auto` also on a CPU that multiplies it in hardware."""
    if device() == "cuda":
        return "bfloat16"
    if wanted != "auto":
        return wanted
    return "bfloat16" if multiplied_in_hardware() else "float32"


def attention(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any,
    dropout: float = 0.0,
    scaling: float | None = None,
    **more: Any,
) -> tuple[Any, None]:
    """Attention for transformers' `AttentionInterface`. `query` is (batch, heads, length, size), `key` and `value` have
    as many heads or an equal share of them; the mask is (batch, 1, length, length), true where a token is seen, or None
    where each sees those before it, or all where attention is not causal. Returns (batch, length, heads, size) in
    bfloat16.
    """
    import torch
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    batch, heads, length, size = query.shape
    masked = attention_mask is not None
    causal = more.get("is_causal")
    causal = getattr(module, "is_causal", True) if causal is None else causal
    ours = (
        torch.is_autocast_enabled("cpu")
        and length <= LONGEST
        and key.shape[2] == length
        and not dropout
        and more.get("position_bias") is None
        and more.get("cache") is None
        and (not masked or attention_mask.dtype == torch.bool)
    )
    if not ours:
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **more)  # type: ignore[no-any-return]
    groups = batch * key.shape[1]
    with torch.autocast("cpu", enabled=False):
        # The heads that share a key lie behind one another, as one longer row of queries.
        queries, keys, values = (
            part.to(torch.bfloat16).reshape(groups, -1, part.shape[-1]) for part in (query, key, value)
        )
        if masked:
            hidden = _of_mask(attention_mask, groups, heads)
        else:
            hidden = _of_length(length, heads // key.shape[1], causal)
        scale = size**-0.5 if scaling is None else scaling
        weights = torch.baddbmm(hidden, queries, keys.transpose(1, 2), alpha=scale).softmax(-1)
        mixed = torch.bmm(weights, values).view(batch, heads, length, -1)
    return mixed.transpose(1, 2).contiguous(), None


@cache
def _hidden() -> Any:
    """What was made of a mask, for as long as that is there: the layers of a model share theirs."""
    from torch.utils.weak import WeakTensorKeyDictionary

    return WeakTensorKeyDictionary()


def _of_mask(seen: Any, groups: int, heads: int) -> Any:
    """What is added to the scores of (groups, queries, length): nothing where a token is seen."""
    if seen not in _hidden():
        batch, _, length, _ = seen.shape
        _hidden()[seen] = _added(seen).expand(batch, heads, length, length).reshape(groups, -1, length)
    return _hidden()[seen]


@lru_cache(maxsize=16)
def _of_length(length: int, together: int, causal: bool) -> Any:
    """The same without a mask, for every group of `together` heads: (1, queries, length)."""
    import torch

    seen = torch.ones(length, length, dtype=torch.bool)
    return _added(seen.tril() if causal else seen).repeat(together, 1)[None]


def _added(seen: Any) -> Any:
    import torch

    return torch.zeros(seen.shape, dtype=torch.bfloat16).masked_fill_(~seen, torch.finfo(torch.bfloat16).min)
