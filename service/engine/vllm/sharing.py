"""What of this machine several engines get, on whatever vLLM computes here. Read `sharing.py` for how it is decided."""

from __future__ import annotations

from collections.abc import Sequence

from service.config import ServeConfig
from service.engine.memory import machine_memory
from service.engine.sharing import Share, on_a_cpu, on_gpus
from service.engine.vllm import forkserver
from service.engine.vllm.flags import dtype_on_a_cpu
from service.engine.vllm.gpu_memory import readings


def share_out(configs: Sequence[ServeConfig]) -> list[tuple[ServeConfig, Share]]:
    """For each engine its settings and its share. Raises `InvalidConfig` where they do not fit together."""
    if forkserver.is_cpu_build():
        dtypes = [dtype_on_a_cpu(config) for config in configs]
        return list(zip(configs, on_a_cpu(configs, dtypes, machine_memory()), strict=True))
    from vllm.platforms import current_platform

    ranks = range(current_platform.device_count())
    gpus = readings([current_platform.device_id_to_physical_device_id(rank) for rank in ranks])
    return on_gpus(configs, [gpu.total for gpu in gpus])
