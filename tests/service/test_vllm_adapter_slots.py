"""How an adapter comes into a slot: the same numbers as vLLM's own way, whatever the adapter and whatever was there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

SLOTS, RANK, WIDTH, OUTS = 3, 8, 32, (32, 64, 96)
"""One layer has a single slice, the other three."""


def memory_of(kernel: Any = None) -> Any:
    """vLLM's manager over two layers of its own, whose slots hold numbers that nobody wants."""
    import torch
    from vllm.lora.layers.base_linear import BaseLinearLayerWithLoRA
    from vllm.lora.layers.column_parallel_linear import MergedColumnParallelLinearWithLoRA
    from vllm.lora.model_manager import AdapterLRUCache, LRUCacheLoRAModelManager

    from service.engine.masked_lora import MaskedPunicaWrapper

    kernel = kernel or MaskedPunicaWrapper(16, SLOTS, "cpu")

    def layer(kind: Any, outs: tuple[int, ...]) -> Any:
        made = kind.__new__(kind)
        torch.nn.Module.__init__(made)
        made.tp_size, made.n_slices, made.punica_wrapper = 1, len(outs), kernel
        made.lora_a_stacked = tuple(torch.full((SLOTS, 1, RANK, WIDTH), 7.0) for _ in outs)
        made.lora_b_stacked = tuple(torch.full((SLOTS, 1, out, RANK), 7.0) for out in outs)
        return made

    memory = LRUCacheLoRAModelManager.__new__(LRUCacheLoRAModelManager)
    memory.lora_config = SimpleNamespace(max_loras=SLOTS, max_cpu_loras=16)
    memory.is_pooling_model = False
    memory.modules = {
        "o_proj": layer(BaseLinearLayerWithLoRA, OUTS[:1]),
        "qkv_proj": layer(MergedColumnParallelLinearWithLoRA, OUTS),
    }
    memory.lora_index_to_id = [None] * SLOTS
    memory._registered_adapters = AdapterLRUCache(16, memory.deactivate_adapter)
    memory._active_adapters = AdapterLRUCache(SLOTS, memory._deactivate_adapter)
    for made in adapters():
        memory._registered_adapters[made.id] = made
    return memory


def adapters() -> list[Any]:
    """Numbered from 1: two whole ones, one of fewer ranks, one without a slice, and two that leave out a layer each."""
    import torch
    from vllm.lora.lora_model import LoRAModel
    from vllm.lora.lora_weights import LoRALayerWeights, PackedLoRALayerWeights

    chance = torch.Generator().manual_seed(1)

    def adapter(number: int, rank: int = RANK, without: str = "", slices: tuple[int, ...] = (0, 1, 2)) -> Any:
        def pair(out: int) -> tuple[Any, Any]:
            return torch.randn(rank, WIDTH, generator=chance), torch.randn(out, rank, generator=chance)

        pairs = [pair(out) if at in slices else (None, None) for at, out in enumerate(OUTS)]
        packed = [a for a, _ in pairs], [b for _, b in pairs]
        layers = {
            "o_proj": LoRALayerWeights("o_proj", rank, 1, *pair(OUTS[0])),
            "qkv_proj": PackedLoRALayerWeights("qkv_proj", rank, [1, 1, 1], *packed, scaling=[1, 1, 1]),
        }
        layers.pop(without, None)
        return LoRAModel(number, rank, layers)

    return [
        adapter(1),
        adapter(2),
        adapter(3, rank=2),
        adapter(4, slices=(0, 2)),
        adapter(5, without="qkv_proj"),
        adapter(6, without="o_proj"),
    ]


def held(memory: Any) -> list[Any]:
    """All numbers of all slots."""
    return [
        tensor.clone() for layer in memory.modules.values() for tensor in (*layer.lora_a_stacked, *layer.lora_b_stacked)
    ]


@pytest.mark.parametrize("order", [(1, 2, 3, 4, 5, 6), (6, 5, 4, 3, 2, 1), (3, 1, 3, 5, 1, 4, 6, 3, 2)])
def test_each_comes_where_vllm_would_bring_it_with_the_same_numbers(order: tuple[int, ...]) -> None:
    import torch

    from service.engine.vllm.adapter_slots import Slots

    vllm, ours = memory_of(), memory_of()
    slots = Slots.of(ours)
    assert slots is not None
    for number in order:
        vllm.activate_adapter(number)
        slots.activate(number)
        assert ours.lora_index_to_id == vllm.lora_index_to_id
        assert [*ours._active_adapters.order] == [*vllm._active_adapters.order]
        used = [slot for slot, lora_id in enumerate(ours.lora_index_to_id) if lora_id is not None]
        for mine, theirs in zip(held(ours), held(vllm), strict=True):
            assert torch.equal(mine[used], theirs[used])


def test_slots_that_have_moved_for_a_larger_rank_are_filled_where_they_are_now() -> None:
    import torch

    from service.engine.vllm.adapter_slots import Slots

    memory = memory_of()
    kernel = memory.modules["o_proj"].punica_wrapper.masked
    slots = Slots.of(memory)
    assert slots is not None
    kernel.make_room(2)
    slots.activate(3)
    kernel.make_room(RANK)
    slots.activate(1)
    first, second = memory.modules["o_proj"].lora_a_stacked[0][:2, 0]
    assert torch.equal(first[:2], adapters()[2].loras["o_proj"].lora_a)
    assert not first[2:].any()
    assert torch.equal(second, adapters()[0].loras["o_proj"].lora_a)


def test_a_layer_of_another_kind_leaves_all_slots_to_vllm() -> None:
    from service.engine.vllm.adapter_slots import Slots

    memory = memory_of()
    memory.modules["lm_head"] = SimpleNamespace(set_lora=lambda slot, a, b: None)
    assert Slots.of(memory) is None
    shared = memory_of()
    shared.modules["o_proj"].tp_size = 2
    assert Slots.of(shared) is None
    assert Slots.of(memory_of(kernel=object())) is None
