"""The machine that a run is expected on: the GPU where `dabt train` would take one, else this machine's processor.

Read `estimate.py` for what becomes of it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifecycle.errors import InvalidConfig
from training.device import device
from training.room import free_memory

_DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True)
class Computer:
    """What an estimate takes of it."""

    name: str
    """What the time holds for, in words."""
    speed: float
    """Multiply-adds a second."""
    free: int | None = None
    """Bytes of the memory in which the model would lie, as it is now; None where that is not known."""
    gpu: bool = False


def this_computer(driver: Path = _DRIVER) -> Computer:
    """PyTorch is asked for a GPU only where a driver is loaded: it takes seconds to import."""
    return (driver.exists() and _gpu()) or Computer("this machine's CPU, in float32", _processor(), free_memory())


def _processor() -> float:
    """Multiply-adds a second in float32, by the best of some products.

    Each is over in two milliseconds, so that one at least is not broken off by what else the machine does.
    """
    import numpy as np

    size = 384
    one = np.ones((size, size), np.float32)
    return size**3 / _best(lambda: one @ one, 30)


def _gpu() -> Computer | None:
    """None where none would be trained on."""
    import torch

    try:
        if device() == "cpu":
            return None
    except InvalidConfig:  # one was meant and is not found, which a run says
        return None
    size = 4096
    one = torch.ones((size, size), dtype=torch.bfloat16, device="cuda")

    def product() -> Any:
        torch.mm(one, one)
        torch.cuda.synchronize()

    product()
    speed = size**3 / _best(product, 10)
    return Computer(f"{torch.cuda.get_device_name()}, in bfloat16", speed, torch.cuda.mem_get_info()[0], gpu=True)


def _best(work: Callable[[], Any], times: int) -> float:
    """Seconds of the quickest."""
    best = math.inf
    for _ in range(times):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best
