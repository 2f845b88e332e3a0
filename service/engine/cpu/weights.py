"""Plain weights, kept for our products.

vLLM 0.32 packs a layer's weights for oneDNN and lets go of the plain ones. Of a base that is small enough both stay:
few rows read the plain ones at the rate of the memory, many rows take the packed ones as before. On a processor for
which oneDNN has no product in bfloat16 vLLM packs nothing: any number of rows reads the plain ones, and layers keep
them in panels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from service.engine.memory import KEPT_TWICE

_PANEL = 16
"""Rows of a panel: `vectors.PANEL`, which compiles where it is imported."""
_AT_ONCE = 256 * _PANEL
"""Rows that are put in panels at once: what is needed beside the weights is little."""


def register() -> None:
    """From now on the models that this process loads keep what is small. Called in each of vLLM's, on a CPU only."""
    from vllm.model_executor.layers import utils

    if not isinstance(utils.dispatch_cpu_unquantized_gemm, Keeping):
        utils.dispatch_cpu_unquantized_gemm = Keeping(utils.dispatch_cpu_unquantized_gemm)


def kept_weight(layer: Any) -> torch.Tensor | None:
    """The weight of a linear layer, or of a head: rows [out, in], or panels; None where it was not kept."""
    weight = getattr(layer, "dabt_weight", None)
    return weight if isinstance(weight, torch.Tensor) else None


def kept_bytes(layer: Any) -> tuple[torch.Tensor, torch.Tensor] | None:
    """The weight in 8 bits [out, in] and the scale of each of `out`, as `decode.py` reads them; None without."""
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


def put_in_panels(layer: Any) -> None:
    """The kept weight of a linear layer, a head or a table of embeddings, where it lies and where its size allows; from
    then on the layer has no other. Layers that are tied share their weight in panels too.
    """
    weight = kept_weight(layer)
    if weight is None or weight.ndim != 2 or len(weight) % _PANEL:
        return
    if (panels := getattr(layer.weight, "dabt_panels", None)) is None:
        for some in weight.split(_AT_ONCE):
            some.copy_(in_panels(some).view(some.shape))
        panels = layer.weight.dabt_panels = weight.view(-1, weight.shape[1], _PANEL)
        layer.weight.data = weight.new_empty(0)
    layer.dabt_weight = panels


def in_panels(weight: torch.Tensor) -> torch.Tensor:
    """[out / 16, in, 16] of a weight [out, in]: what each number of x is multiplied with lies side by side. Those of x
    are in the order of `vectors.place`.
    """
    blocks = weight.view(-1, _PANEL, weight.shape[1] // 32, 16, 2)
    return blocks.permute(0, 2, 4, 3, 1).reshape(-1, weight.shape[1], _PANEL)


def rows_of_panels(panels: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
    """Rows of the weight that these panels were made of, [*which, in]."""
    in_blocks = panels[which // _PANEL, :, which % _PANEL]
    return in_blocks.unflatten(-1, (-1, 2, 16)).transpose(-1, -2).flatten(-3)


def read_in_blocks(weight: torch.Tensor) -> torch.Tensor:
    """In each block of 32 numbers of a row those of even place, then those of odd place (`vectors.place`)."""
    return weight.view(len(weight), -1, 16, 2).transpose(2, 3).reshape(weight.shape).contiguous()


def _suits(weight: torch.Tensor) -> bool:
    """Whether the kernel reads it. The sizes are those of `vectors.py`, which compiles where it is imported."""
    return bool(
        weight.ndim == 2
        and weight.dtype in (torch.bfloat16, torch.int8)
        and weight.device.type == "cpu"
        and weight.is_contiguous()
        and weight.shape[0] % 4 == 0
        and weight.shape[1] % 32 == 0
    )
