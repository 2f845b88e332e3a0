"""Plain weights, kept for our products.

vLLM 0.32 packs a layer's weights for oneDNN and lets go of the plain ones. Of a base that is small enough both stay:
few rows read the plain ones at the rate of the memory, many rows take the packed ones as before. On a processor for
which oneDNN has no product in bfloat16, nothing is packed and any number of rows reads the plain ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from service.engine.memory import KEPT_TWICE


def register() -> None:
    """From now on the models that this process loads keep what is small. Called in each of vLLM's, on a CPU only."""
    from vllm.model_executor.layers import utils

    if not isinstance(utils.dispatch_cpu_unquantized_gemm, Keeping):
        utils.dispatch_cpu_unquantized_gemm = Keeping(utils.dispatch_cpu_unquantized_gemm)


def kept_weight(layer: Any) -> torch.Tensor | None:
    """The plain weight [out, in] of a linear layer, or of a head; None where it was not kept."""
    weight = getattr(layer, "dabt_weight", None)
    return weight if isinstance(weight, torch.Tensor) else None


def kept_bytes(layer: Any) -> tuple[torch.Tensor, torch.Tensor] | None:
    """The weight in 8 bits [out, in] and the scale of each of `out`, as `cpu_decode.py` reads them; None without."""
    return getattr(layer, "dabt_bytes", None)


class Room:
    """Memory for what is kept twice. What is kept of a base that turns out not to fit is let go again."""

    def __init__(self, most_bytes: int = KEPT_TWICE) -> None:
        self._left = most_bytes
        self._kept: list[tuple[Any, str]] = []

    def keep(self, layer: Any, name: str, value: Any, more: int) -> None:
        """Under this name of the layer, where there is room for so many bytes more."""
        self._left -= more
        if self._left >= 0:
            setattr(layer, name, value)
            self._kept.append((layer, name))
            return
        for small, kept in self._kept:
            delattr(small, kept)
        self._kept.clear()


class Keeping:
    """vLLM's function that packs a layer's weight, which then still has the plain one."""

    def __init__(self, pack: Callable[..., None], most_bytes: int = KEPT_TWICE) -> None:
        self._pack = pack
        self._room = Room(most_bytes)

    def __call__(self, layer: Any, remove_weight: bool) -> None:
        weight = layer.weight.data
        self._pack(layer, remove_weight)
        if not _suits(weight):
            return
        if layer.weight.numel() == 0:
            self._room.keep(layer, "dabt_weight", weight, weight.nbytes)
        else:  # it stays anyway: a head's, and any that vLLM could not pack
            layer.dabt_weight = weight


def keep_bytes(layer: Any, weight: torch.Tensor, scale: torch.Tensor, room: Room) -> None:
    """Of a weight in 8 bits [out, in] with a scale for each of `out`."""
    if _suits(weight):
        room.keep(layer, "dabt_bytes", (read_in_blocks(weight), scale.flatten().contiguous()), weight.nbytes)


def read_in_blocks(weight: torch.Tensor) -> torch.Tensor:
    """In each block of 32 numbers of a row those of even place, then those of odd place (`cpu_vectors.place`)."""
    return weight.view(len(weight), -1, 16, 2).transpose(2, 3).reshape(weight.shape).contiguous()


def _suits(weight: torch.Tensor) -> bool:
    """Whether the kernel reads it. The sizes are those of `cpu_vectors.py`, which compiles where it is imported."""
    return bool(
        weight.ndim == 2
        and weight.dtype in (torch.bfloat16, torch.int8)
        and weight.device.type == "cpu"
        and weight.is_contiguous()
        and weight.shape[0] % 4 == 0
        and weight.shape[1] % 32 == 0
    )
