"""A base whose layers are packed into integers: as compressed-tensors, AWQ and GPTQ keep them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Literal

Packing = Literal["int4", "int8", "awq", "gptq"]
"""The first two are compressed-tensors'."""
GROUP = 32
AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
"""Which of eight outputs stands where in a word of AWQ's, from its lowest bits."""


def pack(base: Path, folder: Path, packing: Packing) -> None:
    """Write `base` into `folder`, its layers rounded: to 8 bits by row, activations too, or to 4 by `GROUP`."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(base, folder)
    tensors: dict[str, Any] = {}
    for name, weight in load_file(base / "model.safetensors").items():
        layer, _, _ = name.rpartition(".weight")
        if layer.endswith("_proj"):
            tensors |= {f"{layer}.{part}": tensor for part, tensor in _packed(weight, packing).items()}
        else:
            tensors[name] = weight
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": _told(packing)}))


def unpack(base: Path, folder: Path, packing: Literal["awq", "gptq"]) -> None:
    """Write `base` into `folder`, its layers rounded as `pack` rounds them and not packed."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(base, folder)
    tensors = load_file(base / "model.safetensors")
    for name, weight in tensors.items():
        if name.endswith("_proj.weight"):
            numbers, scales, zeros = _rounded(weight, packing)
            groups = numbers.view(len(weight), -1, GROUP) - zeros.unsqueeze(2)
            tensors[name] = (groups * scales.float().unsqueeze(2)).view_as(weight)
    save_file(tensors, folder / "model.safetensors")


def _packed(weight: Any, packing: Packing) -> dict[str, Any]:
    """The tensors of a layer by the ends of their names."""
    import torch

    if packing == "int8":
        scale = weight.abs().amax(1, keepdim=True) / 127
        return {"weight": (weight / scale).round().to(torch.int8), "weight_scale": scale}
    if packing == "int4":
        from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32

        grouped = weight.view(len(weight), -1, GROUP)
        scale = grouped.abs().amax(2, keepdim=True) / 7
        rounded = (grouped / scale).round().to(torch.int8).view_as(weight)
        return {
            "weight_packed": pack_to_int32(rounded, 4),
            "weight_scale": scale.squeeze(2),
            "weight_shape": torch.tensor(weight.shape),
        }
    numbers, scales, zeros = _rounded(weight, packing)
    if packing == "awq":
        words, zero_words = _in_words(numbers.T, AWQ_ORDER), _in_words(zeros.T, AWQ_ORDER)
        return {"qweight": words, "scales": scales.T, "qzeros": zero_words}
    straight = tuple(range(8))
    return {
        "qweight": _in_words(numbers, straight).T,  # the inputs share words, not the outputs
        "scales": scales.T,
        "qzeros": _in_words(zeros.T - 1, straight),  # one less is what the format keeps
        "g_idx": torch.arange(weight.shape[1], dtype=torch.int32) // GROUP,
    }


def _rounded(weight: Any, packing: Packing) -> tuple[Any, Any, Any]:
    """Numbers from 0 to 15 [out, in], and of each group its scale and its zero [out, groups]; GPTQ's zero is 8."""
    import torch

    grouped = weight.view(len(weight), -1, GROUP)
    if packing == "gptq":
        scales = (grouped.abs().amax(2) / 7).half()
        zeros = torch.full(scales.shape, 8, dtype=torch.int32)
    else:
        low, high = grouped.amin(2), grouped.amax(2)
        scales = ((high - low) / 15).half()
        zeros = (-low / scales.float()).round().int().clamp(0, 15)
    numbers = (grouped / scales.float().unsqueeze(2)).round().int() + zeros.unsqueeze(2)
    return numbers.clamp(0, 15).view_as(weight), scales, zeros


def _in_words(numbers: Any, order: tuple[int, ...]) -> Any:
    """[rows, n] numbers of four bits → [rows, n / 8] words of 32; `order` is which of eight stands where."""
    import torch

    eights = numbers.reshape(len(numbers), -1, 8).to(torch.int64)[:, :, list(order)]
    return (eights << 4 * torch.arange(8)).sum(2).to(torch.int32)


def _told(packing: Packing) -> dict[str, Any]:
    """What config.json says of it."""
    if packing == "awq":
        return {
            "quant_method": "awq",
            "bits": 4,
            "group_size": GROUP,
            "zero_point": True,
            "version": "gemm",
            "modules_to_not_convert": ["lm_head"],
        }
    if packing == "gptq":
        return {"quant_method": "gptq", "bits": 4, "group_size": GROUP, "desc_act": False, "sym": True}
    bits = 8 if packing == "int8" else 4
    rounding: dict[str, Any] = {"num_bits": bits, "type": "int", "symmetric": True}
    by_row = {**rounding, "strategy": "channel", "dynamic": False}
    by_group = {**rounding, "strategy": "group", "group_size": GROUP, "dynamic": False}
    group = {
        "targets": ["Linear"],
        "weights": by_row if bits == 8 else by_group,
        "input_activations": {**rounding, "strategy": "token", "dynamic": True} if bits == 8 else None,
    }
    return {
        "quant_method": "compressed-tensors",
        "format": "int-quantized" if bits == 8 else "pack-quantized",
        "quantization_status": "compressed",
        "config_groups": {"group_0": group},
        "ignore": ["lm_head"],
    }
