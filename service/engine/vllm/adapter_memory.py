"""vLLM's memory of adapters, so that a step costs the same whether ten adapters are in it or a thousand.

vLLM 0.32 copies its list of all adapters in memory once for every adapter of every step, to look whether it is there;
and it puts an adapter that it only loads into a slot of the batch at once, from which it takes one that is in use, so
that the next step must bring that back, often at the cost of others in turn. Here neither happens. On a
CPU adapters that were trained alike are read alike too (`adapter_file.py`).
"""

from __future__ import annotations

from typing import Any

from vllm.lora.worker_manager import LRUCacheWorkerLoRAManager
from vllm.platforms import current_platform
from vllm.utils.gpu_sync_debug import gpu_sync_allowed

from service.engine.masked_lora import MaskedPunicaWrapper
from service.engine.vllm.adapter_file import Forms, LoRAOfOneRead
from service.engine.vllm.adapter_slots import Slots


class AdapterMemory(LRUCacheWorkerLoRAManager):  # type: ignore[misc]
    """Belongs to one worker, in the place of the manager that vLLM made there."""

    forms: Forms | None = None
    slots: Slots | None = None

    @staticmethod
    def take_over(manager: Any) -> None:
        """Raises `TypeError` when this is not the manager that the class here was written for."""
        if type(manager) not in (LRUCacheWorkerLoRAManager, AdapterMemory):
            raise TypeError(f"vLLM keeps its adapters in {type(manager).__qualname__}, not in an LRU cache")
        manager.__class__ = AdapterMemory
        if current_platform.is_cpu():
            manager._lora_model_cls = LoRAOfOneRead
            manager.forms = manager.forms or Forms()
            manager.slots = manager.slots or Slots.of(manager._adapter_manager)

    def add_adapter(self, lora_request: Any) -> bool:
        """Load it into memory, in the place of the one longest unused when there is none free. True when it is there.

        Raises what vLLM's loading raises; then nothing has changed.
        """
        if lora_request.load_inplace:
            raise ValueError("an adapter here never changes: load the new one under a number of its own")
        memory = self._adapter_manager
        if memory.get_adapter(lora_request.lora_int_id) is not None:
            return True
        with gpu_sync_allowed():
            made = None if self.forms is None else self.forms.made(lora_request)
            loaded = self._load_adapter(lora_request) if made is None else made
            if len(memory) >= memory.capacity:
                memory.remove_oldest_adapter()
            added = bool(memory.add_adapter(loaded))
            if made is None and self.forms is not None:
                self.forms.learn(lora_request, loaded)
            return added

    def _apply_adapters(self, lora_requests: set[Any]) -> None:
        """Before a step: bring the adapters of its requests into slots."""
        memory = self._adapter_manager
        wanted = {request.lora_int_id: request for request in lora_requests if request}
        if len(wanted) > memory.lora_slots:
            raise RuntimeError(f"{len(wanted)} adapters in a step that has {memory.lora_slots} slots")
        with gpu_sync_allowed():
            # Those that are in a slot first: they are then the last that would have to leave it.
            new = [lora_id for lora_id in wanted if lora_id not in memory._active_adapters]
            for lora_id in wanted.keys() - new:
                memory._registered_adapters.touch(lora_id)
                memory._active_adapters.touch(lora_id)
            for lora_id in new:
                self.add_adapter(wanted[lora_id])
                self._make_room(rank_of(memory.get_adapter(lora_id)))
                (self.slots.activate if self.slots is not None else memory.activate_adapter)(lora_id)

    def _make_room(self, rank: int) -> None:
        for kernel in self._adapter_manager.punica_wrapper_mapping.values():
            if isinstance(kernel, MaskedPunicaWrapper):
                kernel.masked.make_room(rank)


def rank_of(adapter: Any) -> int:
    """The largest rank of any layer: a vLLM `LoRAModel` knows one, and its layers may differ from it."""
    stacks = (layer.lora_a if isinstance(layer.lora_a, list) else [layer.lora_a] for layer in adapter.loras.values())
    return max((len(a) for stack in stacks for a in stack if a is not None), default=0)
