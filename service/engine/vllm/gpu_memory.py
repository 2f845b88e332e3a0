"""Whether the share of each GPU's memory that the engine takes is free, before its processes are started.

vLLM looks as well, but in a worker, and what is left of that here is that the engine did not start. Free memory is read
by NVML, which makes no context on a GPU. `memory.py` is for sizes that nobody has given.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lifecycle.errors import Unavailable
from service.engine.memory import GIB


@dataclass(frozen=True, slots=True)
class GpuMemory:
    """Of one GPU, in bytes; `total` without what its driver keeps for itself."""

    gpu: int
    total: int
    free: int


def check_free(config: Any, read: Callable[[Sequence[int]], list[GpuMemory]] | None = None) -> None:
    """Of the GPUs that `config`, vLLM's resolved one, will run on. Nothing on a CPU, or where nobody can tell.

    Raises `Unavailable` when one of them has less free than the engine takes: it may have more in a moment.
    """
    from vllm.platforms import current_platform

    if not current_platform.is_cuda():
        return
    parallel = config.parallel_config
    gpus = parallel.assigned_physical_gpu_ids or [
        current_platform.device_id_to_physical_device_id(rank) for rank in range(parallel.world_size)
    ]
    refuse_too_little(config.cache_config.gpu_memory_utilization, (read or readings)(gpus))


def refuse_too_little(share: float, gpus: Sequence[GpuMemory]) -> None:
    """Raises `Unavailable`, naming each GPU that has less than `share` of its memory free, and what would fit."""
    full = [gpu for gpu in gpus if gpu.free < share * gpu.total]
    if not full:
        return
    told = "; ".join(
        f"GPU {gpu.gpu} has {gpu.free / GIB:.1f} GiB of {gpu.total / GIB:.1f} free, and the engine takes "
        f"{share * gpu.total / GIB:.1f}"
        for gpu in full
    )
    # What fits on the fullest of all; a GiB of it goes to CUDA itself before the engine looks.
    fits = min(math.floor(100 * (gpu.free - GIB) / gpu.total) for gpu in gpus) / 100
    cure = "end what else runs there" + (f", or give a smaller share: --gpu-memory {fits:.2f}" if fits > 0 else "")
    raise Unavailable(f"{told} (a share of {share:g}): {cure}")


def readings(gpus: Sequence[int]) -> list[GpuMemory]:
    """Of the GPUs with these physical numbers; none where the driver does not tell, as for a part of one (MIG)."""
    from vllm.third_party import pynvml

    told = []
    with contextlib.suppress(pynvml.NVMLError):
        pynvml.nvmlInit()
        try:
            for gpu in gpus:
                handle = pynvml.nvmlDeviceGetHandleByIndex(gpu)
                memory = pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
                told.append(GpuMemory(gpu, memory.total - memory.reserved, memory.free))
        finally:
            pynvml.nvmlShutdown()
    return told
