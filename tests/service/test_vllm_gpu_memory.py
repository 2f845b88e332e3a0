"""A GPU that somebody else uses is told of in one sentence, before the engine's processes start."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from lifecycle.errors import InvalidInput, Unavailable
from service.engine.memory import GIB
from service.engine.vllm.gpu_memory import GpuMemory, check_free, readings, refuse_too_little


def gpu(free: float, total: float = 80, number: int = 0) -> GpuMemory:
    return GpuMemory(number, int(total * GIB), int(free * GIB))


def told(share: float, *gpus: GpuMemory) -> str:
    with pytest.raises(Unavailable) as refused:
        refuse_too_little(share, gpus)
    return str(refused.value)


def test_a_gpu_with_too_little_free_is_refused_with_the_share_that_fits() -> None:
    assert told(0.9, gpu(free=41)) == (
        "GPU 0 has 41.0 GiB of 80.0 free, and the engine takes 72.0 (a share of 0.9): end what else runs there, or "
        "give a smaller share: --gpu-memory 0.50"
    )


@pytest.mark.parametrize("free", [72, 80])
def test_what_the_engine_takes_may_be_all_that_is_free(free: float) -> None:
    refuse_too_little(0.9, [gpu(free=free)])


def test_one_byte_less_is_too_little() -> None:
    assert told(0.5, GpuMemory(0, 2 * GIB, GIB - 1))


def test_of_several_gpus_each_that_is_too_full_is_named_and_the_share_fits_all() -> None:
    said = told(0.9, gpu(80, number=0), gpu(41, number=1), gpu(21, number=5))
    assert "GPU 0" not in said
    assert "GPU 1 has 41.0 GiB" in said
    assert "GPU 5 has 21.0 GiB" in said
    assert said.endswith("--gpu-memory 0.25")


@pytest.mark.parametrize("free", [0, 1])
def test_where_nothing_would_fit_no_share_is_named(free: float) -> None:
    assert told(0.9, gpu(free=free)).endswith("end what else runs there")


def test_the_share_that_is_named_would_be_taken_with_room_for_cuda_itself() -> None:
    for free in range(2, 70):
        share = float(told(0.95, gpu(free=free)).rpartition(" ")[2])
        assert share * 80 + 1 <= free


def test_it_may_pass_so_it_is_tried_again_after_an_engine_died() -> None:
    assert not issubclass(Unavailable, InvalidInput)  # the supervisor gives up at those


class Nvml(ModuleType):
    """NVML's wrapper, with readings by physical number: (total, reserved, free) in GiB."""

    nvmlMemory_v2 = 0x02000028  # noqa: N815

    class NVMLError(Exception): ...

    def __init__(self, memory: dict[int, tuple[float, float, float]]) -> None:
        super().__init__("pynvml")
        self.memory = memory
        self.open = 0

    def nvmlInit(self) -> None:
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlDeviceGetHandleByIndex(self, number: int) -> int:
        if number not in self.memory:
            raise self.NVMLError("not found")
        return number

    def nvmlDeviceGetMemoryInfo(self, handle: int, version: int) -> Any:
        assert version == self.nvmlMemory_v2  # the first version counts what the driver keeps as memory
        total, reserved, free = (int(gib * GIB) for gib in self.memory[handle])
        return SimpleNamespace(total=total, reserved=reserved, free=free)


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Nvml:
    wrapper = Nvml({0: (80, 1, 79), 3: (80, 1, 20)})
    package = ModuleType("vllm.third_party")
    package.pynvml = wrapper  # type: ignore[attr-defined]
    for name, module in (("vllm", ModuleType("vllm")), ("vllm.third_party", package)):
        monkeypatch.setitem(sys.modules, name, module)
    return wrapper


def test_what_the_driver_keeps_for_itself_is_no_memory_of_the_engine(nvml: Nvml) -> None:
    assert readings([0, 3]) == [gpu(79, 79, 0), gpu(20, 79, 3)]
    assert nvml.open == 0


def test_a_driver_that_does_not_tell_refuses_nothing(nvml: Nvml) -> None:
    assert readings([7]) == []
    assert nvml.open == 0
    refuse_too_little(0.92, [])


def resolved(share: float, world: int, assigned: Sequence[int] | None = None) -> Any:
    """What of vLLM's resolved configuration is read."""
    parallel = SimpleNamespace(world_size=world, assigned_physical_gpu_ids=assigned)
    return SimpleNamespace(parallel_config=parallel, cache_config=SimpleNamespace(gpu_memory_utilization=share))


@pytest.mark.parametrize(
    ("config", "asked"), [(resolved(0.5, 2), [10, 11]), (resolved(0.5, 2, [4, 6]), [4, 6]), (resolved(0.5, 1), [10])]
)
def test_the_gpus_are_those_that_the_engine_will_run_on(
    config: Any, asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = SimpleNamespace(is_cuda=lambda: True, device_id_to_physical_device_id=lambda rank: 10 + rank)
    monkeypatch.setitem(sys.modules, "vllm", ModuleType("vllm"))
    monkeypatch.setitem(sys.modules, "vllm.platforms", SimpleNamespace(current_platform=platform))  # type: ignore[arg-type]
    seen: list[Sequence[int]] = []

    def read(gpus: Sequence[int]) -> list[GpuMemory]:
        seen.append(gpus)
        return [gpu(free=39, number=number) for number in gpus]

    with pytest.raises(Unavailable, match=r"a share of 0\.5"):
        check_free(config, read)
    assert seen == [asked]


def test_on_a_cpu_no_gpu_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", ModuleType("vllm"))
    platform = SimpleNamespace(is_cuda=lambda: False)
    monkeypatch.setitem(sys.modules, "vllm.platforms", SimpleNamespace(current_platform=platform))  # type: ignore[arg-type]
    check_free(resolved(0.92, 1), lambda gpus: pytest.fail("it was asked"))


@pytest.mark.engine  # imports vLLM
def test_what_is_read_of_vllms_configuration_is_there() -> None:
    from vllm.config import CacheConfig, ParallelConfig
    from vllm.platforms.interface import Platform
    from vllm.third_party import pynvml

    assert CacheConfig().gpu_memory_utilization == 0.92  # as the guide says
    assert ParallelConfig().assigned_physical_gpu_ids is None
    assert ParallelConfig().world_size == 1
    assert callable(Platform.device_id_to_physical_device_id)
    assert {"version", "total", "reserved", "free"} <= {field[0] for field in pynvml.c_nvmlMemory_v2_t._fields_}
