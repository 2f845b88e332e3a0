"""A base whose layers are packed into integers, as compressed-tensors keeps them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Literal

GROUP = 32


def pack(base: Path, folder: Path, bits: Literal[4, 8]) -> None:
    """Write `base` into `folder`, its layers rounded: to 8 bits by row, activations too, or to 4 by `GROUP`."""
    import torch
    from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32
    from safetensors.torch import load_file, save_file

    shutil.copytree(base, folder)
    tensors: dict[str, torch.Tensor] = {}
    for name, weight in load_file(base / "model.safetensors").items():
        layer, _, _ = name.rpartition(".weight")
        if not layer.endswith("_proj"):
            tensors[name] = weight
        elif bits == 8:
            scale = weight.abs().amax(1, keepdim=True) / 127
            tensors |= {name: (weight / scale).round().to(torch.int8), f"{layer}.weight_scale": scale}
        else:
            grouped = weight.view(len(weight), -1, GROUP)
            scale = grouped.abs().amax(2, keepdim=True) / 7
            rounded = (grouped / scale).round().to(torch.int8).view_as(weight)
            tensors |= {
                f"{layer}.weight_packed": pack_to_int32(rounded, 4),
                f"{layer}.weight_scale": scale.squeeze(2),
                f"{layer}.weight_shape": torch.tensor(weight.shape),
            }
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": _packing(bits)}))


def _packing(bits: int) -> dict[str, Any]:
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
