"""Where a model is computed once more after training: on the GPU where it has room for it, else on the processor.

Golden prompts are wanted in float32, from which every server's rounding can be told; where that has no room on a GPU,
in bfloat16, in which a GPU trains and serves.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from lifecycle.models.base import weight_files
from lifecycle.models.tensors import read_header
from training.device import device

T = TypeVar("T")

_MEMORY = Path("/proc/meminfo")
_BYTES = {"float32": 4, "bfloat16": 2}
_SPARE = 2**30
"""Bytes on a GPU for what a model computes on the way, besides a tenth of its weights."""


@dataclass(frozen=True)
class Spot:
    """A device, and the numbers in which a model is computed there."""

    on: Literal["cuda", "cpu"]
    dtype: Literal["float32", "bfloat16"]

    def has_room(self, parameters: int, free: int | None) -> bool:
        """Whether so many parameters fit into `free` bytes. None of the processor's memory is taken for enough."""
        needed = parameters * _BYTES[self.dtype]
        if self.on == "cuda":
            return free is not None and 1.1 * needed + _SPARE <= free
        return free is None or needed <= 0.9 * free


_ORDER = (Spot("cuda", "float32"), Spot("cuda", "bfloat16"), Spot("cpu", "float32"), Spot("cpu", "bfloat16"))
CPU_FLOAT32 = _ORDER[2]


def spots(parameters: int, gpu: int | None, cpu: int | None) -> list[Spot]:
    """Where a model of so many parameters may be computed, best first, by the free bytes of each. Pure.

    `gpu` is None where there is none. The processor is always the last, in the smallest numbers: a swap may help it.
    """
    free = {"cuda": gpu, "cpu": cpu}
    return [spot for spot in _ORDER if spot.has_room(parameters, free[spot.on]) or spot == _ORDER[-1]]


def spots_for(base: Path) -> list[Spot]:
    """Those of this machine as it is now, for the model in folder `base`."""
    return spots(parameters_of(base), _free_on_gpu(), free_memory())


def at_first_with_room(places: Sequence[Spot], compute: Callable[[Spot], T]) -> T:
    """What `compute` gives at the first of `places` where memory suffices.

    A GPU that runs out of memory is left for the processor: who else uses it is not known. Raises what the last raises.
    """
    left = list(places)
    while True:
        spot = left.pop(0)
        try:
            return compute(spot)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            left = [place for place in left if place.on == "cpu"]
            if not left:
                raise
        free_gpu()  # after the error is gone, which holds the model


def parameters_of(base: Path) -> int:
    """Of the weights in a model folder; of files that do not tell, a guess by their size."""
    files = weight_files(base)
    told = [file for file in files if file.suffix == ".safetensors"]
    guessed = sum(file.stat().st_size // 2 for file in files if file not in told)
    return guessed + sum(tensor.parameters for file in told for tensor in read_header(file).values())


def free_memory(*, swap: bool = False) -> int | None:
    """Bytes of this machine's memory, and of its `swap`; None where the system does not tell."""
    try:
        lines = _MEMORY.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    told = {name: int(rest.split()[0]) * 1024 for name, colon, rest in (line.partition(":") for line in lines) if colon}
    free = told.get("MemAvailable")
    return free if free is None or not swap else free + told.get("SwapFree", 0)


def free_gpu() -> None:
    """Give back what nobody holds any more: a trainer refers to itself, and PyTorch keeps what it once had."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _free_on_gpu() -> int | None:
    import torch

    free_gpu()
    return torch.cuda.mem_get_info()[0] if device() == "cuda" else None


def out_of_memory(error: Any) -> bool:
    """Whether it is what a processor or a GPU raises that has no more."""
    import torch

    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
