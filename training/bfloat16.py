"""bfloat16 on a CPU: the parts of a step that PyTorch, transformers and PEFT leave slow there, as matrix products.

Autocast brings the base's own products to the CPU's bfloat16 instructions. Two things stay behind. The backward pass of
PyTorch's fused attention takes several times as long in bfloat16 as the products that it consists of. And PEFT's LoRA
layer converts, scales and adds in passes of their own over every activation. Here both are done by products alone, with
the same result up to rounding (`tests/training/test_bfloat16.py`), and only while a training lasts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from training.device import device

Precision = Literal["float32", "bfloat16"]

LONGEST = 1024
"""Tokens of a line up to which attention is done by products. They keep one number for every pair of tokens and head;
the fused kernel keeps none, so that a longer line does not end the memory."""
_NAME = "dabt_products"


def multiplied_in_hardware() -> bool:
    """Whether this CPU has instructions for products in bfloat16 (AVX-512 BF16, AMX)."""
    import torch

    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def settled(wanted: Literal["auto", "float32", "bfloat16"]) -> Precision:
    """What `auto` is here: bfloat16 on a GPU and on a CPU that multiplies it in hardware, otherwise float32."""
    if wanted != "auto":
        return wanted
    return "bfloat16" if device() == "cuda" or multiplied_in_hardware() else "float32"


@contextmanager
def products(model: Any, precision: str) -> Iterator[None]:
    """Within it, `model` is trained as above, where it runs on a CPU in bfloat16. Afterwards it is as it was.

    What is not known to be computed alike is left to the libraries: other attention than SDPA, LoRA with dropout or in
    one of its variants, a base in 4 bits, and whatever is called outside autocast.
    """
    if device() == "cuda" or precision != "bfloat16" or _sharded():
        yield
        return
    with _attention(model), _lora_layers(model):
        yield


def _sharded() -> bool:
    """FSDP cuts weights of one number format into shards, before a layer is asked for its result."""
    return os.environ.get("ACCELERATE_USE_FSDP", "").lower() in ("1", "true")


@contextmanager
def _attention(model: Any) -> Iterator[None]:
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    if getattr(model.config, "_attn_implementation", None) != "sdpa":
        yield
        return
    AttentionInterface.register(_NAME, attention)
    AttentionMaskInterface.register(_NAME, sdpa_mask)
    bare = model.get_base_model() if hasattr(model, "get_base_model") else model
    bare.set_attn_implementation(_NAME)
    try:
        yield
    finally:
        _hidden.forget()
        bare.set_attn_implementation("sdpa")


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
            hidden = _hidden(attention_mask, lambda seen: _added(seen, query, groups))
        else:
            seen = torch.ones(1, 1, length, length, dtype=torch.bool)
            hidden = _added(seen.tril() if causal else seen, query, groups)
        scale = size**-0.5 if scaling is None else scaling
        weights = torch.baddbmm(hidden, queries, keys.transpose(1, 2), alpha=scale).softmax(-1)
        mixed = torch.bmm(weights, values).view(batch, heads, length, -1)
    return mixed.transpose(1, 2).contiguous(), None


def _added(seen: Any, query: Any, groups: int) -> Any:
    """What is added to the scores of (groups, queries, length): nothing where a token is seen."""
    import torch

    batch, heads, length, _ = query.shape
    added = torch.zeros(seen.shape, dtype=torch.bfloat16).masked_fill_(~seen, torch.finfo(torch.bfloat16).min)
    return added.expand(batch, heads, length, length).reshape(groups, -1, length)


class _Last:
    """What was made of a tensor, for as long as the same one comes again: the layers of a model share their mask, and
    the projections of a layer their input.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self._of: Any = None
        self._made: Any = None

    def __call__(self, given: Any, make: Callable[[Any], Any]) -> Any:
        if self._of is not given:
            self._of, self._made = given, make(given)
        return self._made


_hidden = _Last()


@contextmanager
def _lora_layers(model: Any) -> Iterator[None]:
    """The layers of the adapter that is learnt, and the base's weights below them where bfloat16 holds them exactly."""
    import torch
    from peft.tuners.lora import Linear

    convert = _Last()
    changed, halved = [], []
    for layer in model.modules():
        if type(layer) is not Linear or type(layer.base_layer) is not torch.nn.Linear:
            continue
        if not _is_plain(layer):
            continue
        weight = layer.base_layer.weight
        if not weight.requires_grad and weight.dtype == torch.float32:
            half = weight.data.to(torch.bfloat16)
            if torch.equal(half.float(), weight.data):
                weight.data = half
                halved.append(weight)
        layer.forward = _forward(layer, convert, layer.forward)
        changed.append(layer)
    try:
        yield
    finally:
        for layer in changed:
            del layer.forward
        for weight in halved:
            weight.data = weight.data.float()


def _is_plain(layer: Any) -> bool:
    """Whether it computes x Wᵀ + scale · x Aᵀ Bᵀ and nothing else."""
    biases = [layer.base_layer.bias, *(part.bias for part in layer.lora_B.values())]
    drops = any(getattr(part, "p", 0.0) for part in layer.lora_dropout.values())
    return not (drops or layer.lora_variant or layer.fan_in_fan_out or any(bias is not None for bias in biases))


def _forward(layer: Any, convert: _Last, original: Any) -> Any:
    import torch

    product = _product()

    def forward(given: Any, *args: Any, **kwargs: Any) -> Any:
        active = layer.active_adapters
        plain = not (layer.disable_adapters or layer.merged or args or kwargs)
        if not plain or len(active) != 1 or active[0] not in layer.lora_A or not torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", dtype=torch.bfloat16):  # for weights that are in bfloat16 now
                return original(given, *args, **kwargs)
        down, up = layer.lora_A[active[0]].weight, layer.lora_B[active[0]].weight
        half = convert(given, lambda whole: whole.detach().to(torch.bfloat16))
        return product.apply(given, half, layer.base_layer.weight, down, up, layer.scaling[active[0]])

    return forward


def _product() -> Any:
    import torch

    class LoraProduct(torch.autograd.Function):  # type: ignore[misc]
        """x Wᵀ + scale · x Aᵀ Bᵀ and its gradients for x, A and B (Hu et al. 2021, arXiv 2106.09685, eq. 3)."""

        @staticmethod
        def forward(ctx: Any, given: Any, half: Any, weight: Any, down: Any, up: Any, scale: float) -> Any:
            weight, down, up = weight.to(half.dtype), down.to(half.dtype), (up * scale).to(half.dtype)
            rows = half.reshape(-1, half.shape[-1])
            narrow = rows @ down.t()
            ctx.save_for_backward(rows, narrow, weight, down, up)
            ctx.scale, ctx.shape, ctx.dtype = scale, given.shape, given.dtype
            return (rows @ weight.t()).addmm_(narrow, up.t()).view(*given.shape[:-1], -1)

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> tuple[Any, ...]:
            rows, narrow, weight, down, up = ctx.saved_tensors
            gradient = gradient.reshape(-1, gradient.shape[-1]).to(rows.dtype)
            through = gradient @ up
            given = None
            if ctx.needs_input_grad[0]:
                given = (gradient @ weight).addmm_(through, down).view(ctx.shape).to(ctx.dtype)
            return given, None, None, (through.t() @ rows).float(), (gradient.t() @ narrow).float() * ctx.scale, None

    return LoraProduct
