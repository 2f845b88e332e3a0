"""Where the kernel of few rows is taken, and where it is not: sizes, formats, biases, GPUs, machines without numba."""

from __future__ import annotations

import logging
import sys
from types import SimpleNamespace
from typing import Any

import pytest

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]


def layer(rows: int, columns: int, kind: str = "bfloat16") -> Any:
    import torch

    return SimpleNamespace(weight=torch.nn.Parameter(torch.ones(rows, columns, dtype=getattr(torch, kind))))


def test_plain_weights_are_kept_of_a_small_base_and_none_of_a_larger_one() -> None:
    from service.engine.cpu.weights import Keeping, kept_weight

    packed: list[Any] = []

    def pack(layer: Any, remove_weight: bool) -> None:
        packed.append(layer)
        if remove_weight:
            layer.weight = layer.weight[:0]

    keep = Keeping(pack, most_bytes=2 * 2 * 8 * 64)
    layers, head = [layer(8, 64) for _ in range(4)], layer(8, 64)
    keep(head, remove_weight=False)  # it stays in any case, and costs nothing
    for one in layers[:2]:
        keep(one, remove_weight=True)
    assert all(kept_weight(one) is not None for one in layers[:2])
    for one in layers[2:]:
        keep(one, remove_weight=True)
    assert all(kept_weight(one) is None for one in layers)
    assert kept_weight(head) is not None
    assert packed == [head, *layers]


def test_what_vllm_could_not_pack_costs_no_room() -> None:
    from service.engine.cpu.weights import Keeping, kept_weight

    keep = Keeping(lambda layer, remove_weight: None, most_bytes=0)
    layers = [layer(8, 64) for _ in range(4)]
    for one in layers:
        keep(one, remove_weight=True)
    assert all(kept_weight(one).data_ptr() == one.weight.data_ptr() for one in layers)


def test_a_weight_in_panels_is_the_only_one_that_its_layer_has() -> None:
    from service.engine.cpu.weights import kept_weight, put_in_panels

    fits, does_not, none_kept = layer(48, 64), layer(24, 64), layer(48, 64)
    for one in (fits, does_not):
        one.dabt_weight = one.weight.data
    for one in (fits, does_not, none_kept):
        put_in_panels(one)
        put_in_panels(one)  # a second call changes nothing
    assert kept_weight(fits).shape == (3, 64, 16)
    assert fits.weight.numel() == 0
    assert kept_weight(does_not).data_ptr() == does_not.weight.data_ptr()
    assert kept_weight(none_kept) is None
    assert none_kept.weight.shape == (48, 64)


def test_a_head_shares_its_panels_with_the_embeddings_that_it_is_tied_to() -> None:
    import torch

    from service.engine.cpu.products import Product, Workspace
    from service.engine.cpu.weights import kept_weight, put_in_panels, rows_of_panels

    table, head = layer(80, 96), layer(80, 96)
    numbers = torch.randn(80, 96, generator=torch.Generator().manual_seed(2)).bfloat16()
    table.weight.data.copy_(numbers)
    head.weight = table.weight
    for one in (table, head):
        one.dabt_weight = one.weight.data
    for one in (table, head):
        put_in_panels(one)
    assert kept_weight(head).data_ptr() == kept_weight(table).data_ptr()
    assert kept_weight(head).shape == (5, 96, 16)
    ids = torch.tensor([[79, 0], [16, 15]])
    assert torch.equal(rows_of_panels(kept_weight(table), ids), numbers[ids])
    x = torch.eye(96).bfloat16()
    assert torch.equal(Product(kept_weight(head), Workspace(2))(x), numbers.T)


@pytest.mark.parametrize("unfit", [(8, 64, "float32"), (6, 64, "bfloat16"), (8, 48, "bfloat16")])
def test_what_the_kernel_does_not_read_is_not_kept(unfit: tuple[int, int, str]) -> None:
    from service.engine.cpu.weights import Keeping, kept_weight

    one = layer(*unfit)
    Keeping(lambda layer, remove_weight: None)(one, remove_weight=True)
    assert kept_weight(one) is None


@pytest.mark.parametrize("most", [4, None])
def test_few_rows_are_ours_and_all_of_them_where_onednn_has_no_product(most: int | None) -> None:
    import torch

    from service.engine.cpu.layers import Cores, ours_first
    from service.engine.cpu.products import Product, Workspace

    weight = torch.randn(8, 64, generator=torch.Generator().manual_seed(1)).bfloat16()
    cores = Cores()
    vllms: Any = lambda x, plain, bias: "vLLM's"  # noqa: E731
    linear: Any = ours_first(vllms, Product(weight, Workspace(cores.count)), cores, most)
    few, many, bias = torch.ones(4, 64).bfloat16(), torch.ones(5, 64).bfloat16(), torch.ones(8).bfloat16()
    torch.testing.assert_close(linear(few, weight, None), few @ weight.T)
    torch.testing.assert_close(linear(few, weight, bias), few @ weight.T + bias, rtol=2**-7, atol=2**-7)
    if most is None:
        torch.testing.assert_close(linear(many, weight, None), many @ weight.T)
    else:
        assert linear(many, weight, None) == "vLLM's"
    assert linear(few.float(), weight, None) == "vLLM's"
    torch.testing.assert_close(linear(few[:, None], weight, None), (few @ weight.T)[:, None])
    assert linear(few, weight, bias.float()) == "vLLM's"


def test_the_thread_that_calls_is_held_to_a_core_only_meanwhile() -> None:
    import os

    from service.engine.cpu.layers import Cores

    before = os.sched_getaffinity(0)
    cores = Cores()
    with cores.own():
        assert len(os.sched_getaffinity(0)) in (1, len(before))
    assert os.sched_getaffinity(0) == before


def worker(workers: int = 1) -> Any:
    from service.engine.vllm.worker import WorkerExtension

    made = WorkerExtension()
    made.parallel_config = SimpleNamespace(world_size=workers)
    made.model_runner = SimpleNamespace(get_model=lambda: None)
    return made


@pytest.mark.parametrize(("cpu", "workers"), [(False, 1), (True, 2)])
def test_on_a_gpu_and_among_several_workers_nothing_of_it_is_imported(
    monkeypatch: pytest.MonkeyPatch, cpu: bool, workers: int
) -> None:
    from vllm import platforms

    monkeypatch.setattr(platforms, "current_platform", SimpleNamespace(is_cpu=lambda: cpu), raising=False)
    forget_kernels(monkeypatch)
    assert worker(workers).dabt_few_rows() == ""
    assert cpu or worker(workers).dabt_attention() == ""
    assert not kernels()


def test_on_a_gpu_the_plugin_of_every_vllm_process_imports_no_kernel_for_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    from vllm import platforms

    from service.engine import masked_lora

    monkeypatch.setattr(platforms, "current_platform", SimpleNamespace(is_cpu=lambda: False), raising=False)
    forget_kernels(monkeypatch)
    masked_lora.register()
    assert not kernels()


def kernels() -> list[str]:
    """Those of ours that this process has imported."""
    return [name for name in sys.modules if name.startswith("service.engine.cpu.")]


def forget_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in kernels():
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.parametrize(
    ("module", "asked", "said"),
    [
        ("layers", "dabt_few_rows", "few rows are computed as many are"),
        ("attention", "dabt_attention", "attention is computed by vLLM alone"),
    ],
)
def test_without_numba_the_engine_computes_as_before_and_says_so(
    module: str, asked: str, said: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, f"service.engine.cpu.{module}", None)
    monkeypatch.delattr(f"service.engine.cpu.{module}", raising=False)
    with caplog.at_level(logging.WARNING, logger="service.engine.vllm.worker"):
        assert getattr(worker(), asked)() == ""
    assert said in caplog.text
