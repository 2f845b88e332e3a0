"""vLLM's memory of adapters as the service has it: over vLLM's own caches, with slots that hold nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

SLOTS, PLACES = 2, 4


@pytest.fixture
def worker() -> Any:
    """A worker's manager: a load gives a name to an id; `log` tells what was loaded and what came into a slot."""
    from vllm.lora.model_manager import AdapterLRUCache, LRUCacheLoRAModelManager
    from vllm.lora.worker_manager import LRUCacheWorkerLoRAManager

    from service.engine.masked_lora import MaskedPunicaWrapper
    from service.engine.vllm.adapter_memory import AdapterMemory

    log: list[tuple[str, int]] = []

    class Slots:
        def reset_lora(self, index: int) -> None:
            log.append(("slot", memory.lora_index_to_id[index]))

    memory = LRUCacheLoRAModelManager.__new__(LRUCacheLoRAModelManager)
    memory.lora_config = SimpleNamespace(max_loras=SLOTS, max_cpu_loras=PLACES)
    memory.modules = {"one layer": Slots()}
    memory.lora_index_to_id = [None] * SLOTS
    memory._registered_adapters = AdapterLRUCache(PLACES, memory.deactivate_adapter)
    kernel = MaskedPunicaWrapper(16, SLOTS, "cpu")
    kernel.masked.make_room = lambda rank: log.append(("room", rank))
    memory.punica_wrapper_mapping = {"language_model": kernel, "a tower of another kind": object()}
    memory._active_adapters = AdapterLRUCache(SLOTS, memory._deactivate_adapter)
    memory._get_lora_layer_weights = lambda lora, name: None
    memory._add_adapter = lambda lora: memory._registered_adapters.__setitem__(lora.id, lora)

    def load(request: Any) -> Any:
        if request.lora_path == "damaged":
            raise ValueError("the file ends too early")
        log.append(("load", request.lora_int_id))
        return SimpleNamespace(id=request.lora_int_id, loras=adapter_layers(8 * request.lora_int_id))

    manager = LRUCacheWorkerLoRAManager.__new__(LRUCacheWorkerLoRAManager)
    manager._adapter_manager = memory
    manager._load_adapter = load
    AdapterMemory.take_over(manager)
    return SimpleNamespace(
        load=lambda number, path="": manager.add_adapter(request(number, path)),
        step=lambda *numbers: manager._apply_adapters({request(number) for number in numbers}),
        slots=lambda: set(memory.lora_index_to_id) - {None},
        here=manager.list_adapters,
        manager=manager,
        log=log,
    )


def adapter_layers(rank: int) -> dict[str, Any]:
    """A plain layer of rank 4, and a packed one: its second slice has `rank`, its third is left out by the adapter."""
    import torch

    packed = [torch.zeros(2, 16), torch.zeros(rank, 16), None]
    return {"plain": SimpleNamespace(lora_a=torch.zeros(4, 16)), "packed": SimpleNamespace(lora_a=packed)}


def request(number: int, path: str = "") -> Any:
    from vllm.lora.request import LoRARequest

    return LoRARequest(f"a{number}", number, path or f"/{number}")


def test_what_is_loaded_meanwhile_takes_no_slot_from_the_step(worker: Any) -> None:
    worker.step(1, 2)
    worker.log.clear()
    assert worker.load(3)
    assert worker.slots() == {1, 2}
    worker.step(1, 2)
    assert worker.log == [("load", 3)], "nothing moved"


def test_a_step_puts_only_what_is_new_into_a_slot_whatever_was_used_last(worker: Any) -> None:
    for one, other in ((1, 2), (2, 1)):
        worker.step(one)
        worker.step(other)
        worker.log.clear()
        worker.step(one, 3)  # the other has to leave, although this one was used before it
        assert worker.slots() == {one, 3}
        assert [number for what, number in worker.log if what == "slot"] == [3]
        worker.step(one, other)


def test_slots_have_room_for_an_adapter_s_largest_layer_before_it_comes_into_one(worker: Any) -> None:
    worker.step(2, 1)
    worker.step(1, 2)
    worker.load(3)
    told = [one for one in worker.log if one[0] != "load"]
    assert [what for what, _ in told] == ["room", "slot", "room", "slot"]
    assert [(8 * number) for what, number in told if what == "slot"] == [rank for what, rank in told if what == "room"]


def test_an_adapter_that_would_change_under_its_number_is_refused(worker: Any) -> None:
    from vllm.lora.request import LoRARequest

    with pytest.raises(ValueError, match="never changes"):
        worker.manager.add_adapter(LoRARequest("a1", 1, "/1", load_inplace=True))


def test_an_adapter_whose_form_is_known_is_not_loaded_by_vllm_and_one_that_vllm_loads_is_learnt(worker: Any) -> None:
    known = SimpleNamespace(id=2, loras=adapter_layers(8))
    learnt: list[int] = []
    worker.manager.forms = SimpleNamespace(
        made=lambda request: known if request.lora_int_id == 2 else None,
        learn=lambda request, loaded: learnt.append(loaded.id),
    )
    for number in (1, 2):
        assert worker.load(number)
    assert worker.here() == {1, 2}
    assert worker.log == [("load", 1)]
    assert learnt == [1]
    worker.step(2)
    assert worker.log[1:] == [("room", 8), ("slot", 2)]


def test_who_is_used_longest_ago_leaves_a_full_memory(worker: Any) -> None:
    for number in (1, 2, 3, 4):
        worker.load(number)
    worker.step(1)
    worker.load(5)
    assert worker.here() == {1, 3, 4, 5}


def test_a_failed_load_changes_nothing(worker: Any) -> None:
    for number in (1, 2, 3, 4):
        worker.load(number)
    with pytest.raises(ValueError, match="too early"):
        worker.load(5, "damaged")
    assert worker.here() == {1, 2, 3, 4}


def test_more_adapters_than_slots_are_refused(worker: Any) -> None:
    with pytest.raises(RuntimeError, match="3 adapters in a step that has 2 slots"):
        worker.step(1, 2, 3)


def test_only_the_manager_that_it_knows_is_taken_over() -> None:
    from service.engine.vllm.adapter_memory import AdapterMemory

    with pytest.raises(TypeError, match="SimpleNamespace"):
        AdapterMemory.take_over(SimpleNamespace())
