"""A LoRA layer as matrix products alone, forwards and backwards.

PEFT's layer scales and adds in passes of their own over every activation, and in bfloat16 converts in others. Here the
scale is part of the small matrix, and the sum is part of the product. The result is PEFT's up to rounding, in float32
and in bfloat16. Read `on_cpu.py` for when it is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from training.row_attention import Last


@contextmanager
def by_products(model: Any, precision: str) -> Iterator[None]:
    """Within it they are computed as above; in bfloat16 with the base's weights in it too, where it holds them exactly.

    What is not known to be computed alike is left to PEFT: dropout, biases, variants, a base in 4 bits.
    """
    import torch
    from peft.tuners.lora import Linear

    convert = Last()
    changed, halved = [], []
    for layer in model.modules():
        if type(layer) is not Linear or type(layer.base_layer) is not torch.nn.Linear:
            continue
        if not _is_plain(layer):
            continue
        weight = layer.base_layer.weight
        if precision == "bfloat16" and not weight.requires_grad and weight.dtype == torch.float32:
            half = weight.data.to(torch.bfloat16)
            if torch.equal(half.float(), weight.data):
                weight.data = half
                halved.append(weight)
        layer.forward = _forward(layer, precision, convert, layer.forward)
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


def _forward(layer: Any, precision: str, convert: Last, original: Any) -> Any:
    import torch

    product, dtype, cast = _product(), getattr(torch, precision), precision == "bfloat16"

    def forward(given: Any, *args: Any, **kwargs: Any) -> Any:
        active = layer.active_adapters
        plain = not (layer.disable_adapters or layer.merged or args or kwargs)
        as_meant = torch.is_autocast_enabled("cpu") == cast
        as_meant &= cast or given.dtype == layer.base_layer.weight.dtype == dtype
        if not plain or len(active) != 1 or active[0] not in layer.lora_A or not as_meant:
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=cast or torch.is_autocast_enabled("cpu")):
                return original(given, *args, **kwargs)  # in autocast for the weights that are in bfloat16 now
        down, up = layer.lora_A[active[0]].weight, layer.lora_B[active[0]].weight
        rows = convert(given, lambda whole: whole.detach().to(dtype))
        return product.apply(given, rows, layer.base_layer.weight, down, up, layer.scaling[active[0]])

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
