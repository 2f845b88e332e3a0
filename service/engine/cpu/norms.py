"""RMSNorm on a CPU by vLLM's own compiled kernel.

vLLM 0.32 builds that kernel for CPUs too, but lets only GPUs take it: a CPU computes each norm as ten operations of
torch, each of which is a pass over memory and a call from Python. What is computed stays as it is: without
AVX512 the kernel cuts numbers in bfloat16 off instead of rounding them, and torch computes them there.
"""

from __future__ import annotations

from functools import cache

import torch

PROVIDER = "dabt_cpu"


def register() -> None:
    """Offer the kernel to vLLM and put it first. Called in each of its processes, on a CPU only."""
    from vllm import ir
    from vllm.config.kernel import IrOpPriorityConfig
    from vllm.platforms import current_platform
    from vllm.platforms.cpu import CpuPlatform

    current_platform.import_kernels()
    if not (hasattr(torch.ops._C, "rms_norm") and hasattr(torch.ops._C, "fused_add_rms_norm")):
        return  # a build without it
    if PROVIDER not in ir.ops.rms_norm.impls:
        ir.ops.rms_norm.register_impl(PROVIDER, supports_args=_suits_one)(_rms_norm)
        ir.ops.fused_add_rms_norm.register_impl(PROVIDER, supports_args=_suits_two, inplace=True)(_fused_add_rms_norm)
    first = IrOpPriorityConfig.with_default(
        ["native"], rms_norm=[PROVIDER, "native"], fused_add_rms_norm=[PROVIDER, "native"]
    )
    CpuPlatform.get_default_ir_op_priority = classmethod(lambda cls, vllm_config: first)


def _suits_one(x: torch.Tensor, weight: torch.Tensor | None, epsilon: float, variance_size: int | None = None) -> bool:
    same = variance_size is None and weight is not None and weight.dtype == x.dtype
    return same and x.is_contiguous() and (x.dtype == torch.float32 or rounds(x.dtype))


def _suits_two(
    x: torch.Tensor,
    x_residual: torch.Tensor,
    weight: torch.Tensor | None,
    epsilon: float,
    variance_size: int | None = None,
) -> bool:
    return _suits_one(x, weight, epsilon, variance_size) and x_residual.is_contiguous()


@cache
def rounds(dtype: torch.dtype) -> bool:
    """Whether the kernel rounds to the nearest number of this format. It is asked when a norm is, and never before a
    process is forked: the kernel starts threads.
    """
    step = torch.finfo(dtype).eps
    x, more, weight = (torch.full((1, 32), value, dtype=dtype) for value in (1.0, 0.75 * step, 1.0))
    torch.ops._C.fused_add_rms_norm(x, more, weight, 0.0)
    return bool((more == 1.0 + step).all())


def _rms_norm(
    x: torch.Tensor, weight: torch.Tensor | None, epsilon: float, variance_size: int | None = None
) -> torch.Tensor:
    out = torch.empty_like(x)
    torch.ops._C.rms_norm(out, x, weight, epsilon)
    return out


def _fused_add_rms_norm(
    x: torch.Tensor,
    x_residual: torch.Tensor,
    weight: torch.Tensor | None,
    epsilon: float,
    variance_size: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    torch.ops._C.fused_add_rms_norm(x, x_residual, weight, epsilon)
    return x, x_residual
