"""The machine that a run is expected on: the GPU where `dabt train` would take one, else this machine's processor.

Read `estimate.py` for what becomes of it.
"""

from __future__ import annotations

import math
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifecycle.errors import InvalidConfig
from training.device import device
from training.room import free_memory
from training.settings import threads

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
    a_pass: float = 0.0
    """Seconds in which one number is read, changed and written elsewhere; nothing for a GPU, as the next one."""
    a_start: float = 0.0
    """Seconds of the interpreter for a fixed piece of work (`_interpreter`)."""


def this_computer(driver: Path = _DRIVER) -> Computer:
    """PyTorch is asked for a GPU only where a driver is loaded: it takes seconds to import."""
    return (driver.exists() and _gpu()) or _cpu()


def _cpu() -> Computer:
    """A run's work is of three kinds, of which one machine may be quick at this and slow at that: each is timed."""
    name = "this machine's CPU, in float32"
    return Computer(name, _processor(), free_memory(), a_pass=_memory(), a_start=_interpreter())


def _memory() -> float:
    """Seconds of a pass over a number, of rows as long as activations are, which a core's own caches do not hold. The
    threads of a run are taken to share it out."""
    import numpy as np

    row = np.ones(1 << 20, np.float32)
    return _best(lambda: row * 1.5, 60) / row.size / threads()


def _interpreter() -> float:
    """Seconds in which a module of the standard library is compiled: about as branchy as loading modules, and as the
    way from a line of Python to a kernel of PyTorch."""
    source = Path(textwrap.__file__).read_text(encoding="utf-8")
    return _best(lambda: compile(source, "textwrap.py", "exec"), 30)


def _processor() -> float:
    """Multiply-adds a second in float32, by the best of some products.

    Each is over in two milliseconds, so that one at least is not broken off by what else the machine does.
    """
    import numpy as np

    size = 384
    one = np.ones((size, size), np.float32)
    return size**3 / _best(lambda: one @ one, 60)


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
