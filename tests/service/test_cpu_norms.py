"""vLLM's compiled norm in place of ten operations of torch: the same figures, and nothing where it does not fit."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def norms() -> Any:
    """The two operations of vLLM, with our provider offered to them."""
    from vllm import ir

    from service.engine.cpu.norms import register

    register()
    register()  # vLLM may load a plugin twice
    return ir.ops.rms_norm, ir.ops.fused_add_rms_norm


def tensors(dtype: str, rows: int) -> tuple[Any, Any, Any]:
    import torch

    kind, random = getattr(torch, dtype), torch.Generator().manual_seed(rows)
    x, residual, weight = (torch.randn(*shape, generator=random) for shape in ((rows, 192), (rows, 192), (192,)))
    return x.to(kind), residual.to(kind), weight.to(kind)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("rows", [1, 7, 300])
def test_what_is_taken_computes_what_torch_computes(norms: Any, dtype: str, rows: int) -> None:
    import torch
    from vllm.platforms.cpu import CpuPlatform

    one, two = norms
    x, residual, weight = tensors(dtype, rows)
    wanted = one.impls["native"].impl_fn(x, weight, 1e-6, None)
    normed, summed = two.impls["native"].impl_fn(x, residual, weight, 1e-6, None)
    chosen = CpuPlatform.get_default_ir_op_priority(None)
    with one.set_priority(chosen.rms_norm), two.set_priority(chosen.fused_add_rms_norm):
        torch.testing.assert_close(one.dispatch(x, weight, 1e-6).impl_fn(x, weight, 1e-6), wanted)
        taken = two.dispatch(x, residual, weight, 1e-6).impl_fn
        got, sum_got = taken(x.clone(), residual.clone(), weight, 1e-6)
    torch.testing.assert_close(got, normed)
    assert torch.equal(sum_got, summed)


@pytest.mark.parametrize("rounds", [True, False])
def test_a_build_that_cuts_numbers_off_is_left_for_torch(
    norms: Any, rounds: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from service.engine.cpu import norms as module

    def kernel(x: Any, residual: Any, weight: Any, epsilon: float) -> None:
        exact = x.float() + residual.float()
        cut = (exact.view(torch.int32) & ~0xFFFF).view(torch.float32)
        residual.copy_(exact if rounds else cut)

    monkeypatch.setattr(torch.ops._C, "fused_add_rms_norm", kernel)
    assert module.rounds.__wrapped__(torch.bfloat16) is rounds
    monkeypatch.setattr(module, "rounds", lambda dtype: rounds)
    for dtype, ours in (("float32", True), ("bfloat16", rounds)):
        x, residual, weight = tensors(dtype, 4)
        assert norms[0].impls["dabt_cpu"].supports_args(x, weight, 1e-6) is ours
        assert norms[1].impls["dabt_cpu"].supports_args(x, residual, weight, 1e-6) is ours


def test_a_row_alone_gets_the_bits_that_it_gets_among_others(norms: Any) -> None:
    import torch

    x, _, weight = tensors("float32", 64)
    kernel = norms[0].impls["dabt_cpu"].impl_fn
    together = kernel(x, weight, 1e-6)
    assert all(torch.equal(kernel(x[row : row + 1], weight, 1e-6)[0], together[row]) for row in range(64))


def test_vllm_takes_it_first_and_torch_where_it_does_not_fit(norms: Any) -> None:
    from vllm.platforms.cpu import CpuPlatform

    chosen = CpuPlatform.get_default_ir_op_priority(None)
    assert chosen.rms_norm == chosen.fused_add_rms_norm == ["dabt_cpu", "native"]
    x, residual, weight = tensors("float32", 8)
    one, two = norms
    with one.set_priority(chosen.rms_norm), two.set_priority(chosen.fused_add_rms_norm):
        assert one.dispatch(x, weight, 1e-6).provider == "dabt_cpu"
        assert two.dispatch(x, residual, weight, 1e-6).provider == "dabt_cpu"
        strided, half = x.view(8, 2, 96)[:, 1], weight[:96]
        assert one.dispatch(strided, half, 1e-6).provider == "native"
        assert one.dispatch(x, weight.double(), 1e-6).provider == "native"
        assert one.dispatch(x, weight, 1e-6, 64).provider == "native"
        assert two.dispatch(x, residual.t().contiguous().t(), weight, 1e-6).provider == "native"
