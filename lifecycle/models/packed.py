"""The shapes of linear layers whose weights are packed: AWQ, GPTQ, compressed-tensors and bitsandbytes.

Such a layer has several tensors, and its weight's own shape is not that of the layer. What each format keeps is in
vLLM's `model_executor/layers/quantization/`; here it is read from the header, and from two small tensors.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lifecycle.models.tensors import TensorInfo

Shape = tuple[int, int]
_WORD = 32
"""Bits of the integers that AWQ, GPTQ and compressed-tensors pack into."""
_STATE = ("quant_state.bitsandbytes__nf4", "quant_state.bitsandbytes__fp4")


class Part(NamedTuple):
    """One tensor of a layer, and the file that it lies in."""

    file: Path
    info: TensorInfo


def packed_shape(parts: Mapping[str, Part], bits: int | None) -> Shape | None:
    """`(out_features, in_features)` of one layer; None when its `parts` are no packed layer that is known here.

    `parts` are the layer's tensors by what follows its name; `bits` is what config.json says of one weight.
    """
    if "weight_packed" in parts:
        return _compressed(parts)
    if "qweight" in parts and "scales" in parts:
        return _awq_or_gptq(parts["qweight"].info, parts["scales"].info, bits)
    if "weight" not in parts:
        return None
    weight = parts["weight"].info
    state = next((parts[f"weight.{name}"] for name in _STATE if f"weight.{name}" in parts), None)
    if state is not None:
        return _two(json.loads(_bytes(state))["shape"])
    in_a_byte = {"I8": 1, "U8": 2}.get(weight.dtype)  # numbers of eight bits, or two of four
    if in_a_byte is None or not {"SCB", "weight_scale"} & parts.keys():
        return None
    return _two((*weight.shape[:-1], in_a_byte * weight.shape[-1]))


def _compressed(parts: Mapping[str, Part]) -> Shape | None:
    packed = parts["weight_packed"].info
    if packed.dtype == "U8":
        return _two((packed.shape[0], 2 * packed.shape[-1]))
    shape = parts.get("weight_shape")
    if shape is None or shape.info.parameters != 2 or shape.info.dtype not in ("I64", "I32"):
        return None
    data, size = _bytes(shape), 8 if shape.info.dtype == "I64" else 4
    return _two([int.from_bytes(data[at : at + size], "little") for at in (0, size)])


def _awq_or_gptq(packed: TensorInfo, scales: TensorInfo, bits: int | None) -> Shape | None:
    """Both keep a scale for every output; AWQ packs the outputs into words, GPTQ the inputs."""
    if len(packed.shape) != 2 or len(scales.shape) != 2 or packed.dtype != "I32":
        return None
    rows, columns = packed.shape
    outputs = scales.shape[1]
    if columns == outputs and bits:
        return outputs, rows * _WORD // bits
    return (outputs, rows) if columns < outputs and outputs % columns == 0 else None


def _two(shape: Any) -> Shape | None:
    sizes = tuple(int(size) for size in shape)
    return (sizes[0], sizes[1]) if len(sizes) == 2 and math.prod(sizes) > 0 else None


def _bytes(part: Part) -> bytes:
    with part.file.open("rb") as stream:
        stream.seek(part.info.start)
        return stream.read(part.info.end - part.info.start)
