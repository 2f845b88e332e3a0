"""An adapter comes into a slot of the batch by two calls for all of its tensors, where vLLM 0.32 makes some for each.

vLLM empties and then fills a slot tensor by tensor, each through views that are made for it. That is Python for most of
its time, between two steps, so that every stream waits, and it happens whenever an adapter without a slot is asked for.
Where a slot's tensors lie is remembered here, so what is left is the copying.
"""

from __future__ import annotations

from typing import Any

import torch
from vllm.lora.layers.base_linear import BaseLinearLayerWithLoRA
from vllm.lora.layers.column_parallel_linear import MergedColumnParallelLinearWithLoRA

from service.engine.masked_lora import MaskedPunicaWrapper

_PLAIN = BaseLinearLayerWithLoRA.set_lora, MergedColumnParallelLinearWithLoRA.set_lora
"""What these do is done here."""

Places = list[list[torch.Tensor]]
"""Of each layer: where A, [rank, in], of each of its slices lies, and then B, [out, rank], of each."""


class Slots:
    """Those of one worker's adapter manager (vLLM's `LRUCacheLoRAModelManager`)."""

    def __init__(self, memory: Any) -> None:
        self._memory = memory
        self._stacked = [
            tensor for layer in memory.modules.values() for tensor in (*layer.lora_a_stacked, *layer.lora_b_stacked)
        ]
        self._layout: list[tuple[int, tuple[int, ...]]] = []
        self._places: dict[int, Places] = {}

    @classmethod
    def of(cls, memory: Any) -> Slots | None:
        """None where a layer takes adapters in a way of its own: vLLM then fills the slots."""
        plain = all(
            getattr(type(layer), "set_lora", None) in _PLAIN
            and layer.tp_size == 1
            and isinstance(layer.punica_wrapper, MaskedPunicaWrapper)
            for layer in memory.modules.values()
        )
        return cls(memory) if plain else None

    def activate(self, lora_id: int) -> None:
        """As vLLM's `activate_adapter`: bring an adapter that is in memory into a slot, if need be into that of the
        one longest unused.
        """
        memory, active = self._memory, self._memory._active_adapters
        if lora_id not in active:
            adapter = memory._registered_adapters[lora_id]
            if len(active) >= memory.lora_slots:
                active.remove_oldest()
            slot = memory.lora_index_to_id.index(None)
            active[lora_id] = None
            memory.lora_index_to_id[slot] = lora_id
            self._fill(slot, adapter)
        active.touch(lora_id)

    def _fill(self, slot: int, adapter: Any) -> None:
        """Whatever the adapter leaves out, a layer, a slice or ranks, is zero."""
        empty: list[torch.Tensor] = []
        into: list[torch.Tensor] = []
        numbers: list[torch.Tensor] = []
        for (name, layer), places in zip(self._memory.modules.items(), self._of(slot), strict=True):
            weights = self._memory._get_lora_layer_weights(adapter, name)
            given = [None] * len(places) if weights is None else [*_each(weights.lora_a), *_each(weights.lora_b)]
            if weights is not None and len(given) != len(places):  # not as the layer is sliced: vLLM takes it apart
                layer.set_lora(slot, weights.lora_a, weights.lora_b)
                continue
            for place, tensor in zip(places, given, strict=True):
                whole = tensor is not None and tensor.shape == place.shape
                if not whole:
                    empty.append(place)
                if tensor is not None:
                    into.append(place if whole else place[: tensor.shape[0], : tensor.shape[1]])
                    numbers.append(tensor)
        if empty:
            torch._foreach_zero_(empty)
        if into:
            torch._foreach_copy_(into, numbers)

    def _of(self, slot: int) -> Places:
        if not self._places:
            for layer in self._memory.modules.values():  # the kernel moves them when it first meets them
                layer.punica_wrapper.masked.layer(layer.lora_a_stacked, layer.lora_b_stacked)
        # It moves all slots when an adapter of more ranks comes.
        layout = [(tensor.data_ptr(), tensor.stride()) for tensor in self._stacked]
        if layout != self._layout:
            self._layout, self._places = layout, {}
        if slot not in self._places:
            self._places[slot] = [
                [tensor[slot, 0] for tensor in (*layer.lora_a_stacked, *layer.lora_b_stacked)]
                for layer in self._memory.modules.values()
            ]
        return self._places[slot]


def _each(side: torch.Tensor | list[torch.Tensor | None]) -> list[torch.Tensor | None]:
    return side if isinstance(side, list) else [side]
