"""Bases whose weights are packed: the same layers as before they were packed, or one clear sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lifecycle.errors import InvalidInput
from lifecycle.models.base import linear_shapes

LAYER = "model.layers.0.mlp.down_proj"
OUT, IN = 64, 128


def write(path: Path, tensors: dict[str, np.ndarray[Any, Any]], dtypes: dict[str, str] | None = None) -> None:
    """A safetensors file, as the format's page has it."""
    names = {"int32": "I32", "int64": "I64", "uint8": "U8", "int8": "I8", "float16": "F16", "float32": "F32"}
    header: dict[str, Any] = {}
    at = 0
    for name, tensor in tensors.items():
        dtype = (dtypes or {}).get(name, names[tensor.dtype.name])
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [at, at + tensor.nbytes]}
        at += tensor.nbytes
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(tensor.tobytes() for tensor in tensors.values()))


def zeros(kind: str, *shape: int) -> np.ndarray[Any, Any]:
    return np.zeros(shape, dtype=kind)


STATE = json.dumps({"quant_type": "nf4", "blocksize": 64, "shape": [OUT, IN], "dtype": "float16"}).encode()
FORMATS: dict[str, tuple[dict[str, Any], dict[str, np.ndarray[Any, Any]]]] = {
    "awq": (
        {"quant_method": "awq", "bits": 4},
        {
            "qweight": zeros("int32", IN, OUT * 4 // 32),
            "qzeros": zeros("int32", 1, OUT * 4 // 32),
            "scales": zeros("float16", 1, OUT),
        },
    ),
    "gptq": (
        {"quant_method": "gptq", "bits": 4},
        {
            "qweight": zeros("int32", IN * 4 // 32, OUT),
            "qzeros": zeros("int32", 1, OUT * 4 // 32),
            "scales": zeros("float16", 1, OUT),
            "g_idx": zeros("int32", IN),
        },
    ),
    "gptq, 8 bits": (
        {"quant_method": "gptq", "bits": 8},
        {"qweight": zeros("int32", IN * 8 // 32, OUT), "scales": zeros("float16", 1, OUT)},
    ),
    "gptq, 3 bits": (
        {"quant_method": "gptq", "bits": 3},
        {"qweight": zeros("int32", IN * 3 // 32, OUT), "scales": zeros("float16", 1, OUT)},
    ),
    "compressed-tensors": (
        {"quant_method": "compressed-tensors"},
        {
            "weight_packed": zeros("int32", OUT, IN * 4 // 32),
            "weight_scale": zeros("float16", OUT, 1),
            "weight_shape": np.array([OUT, IN], dtype="int64"),
        },
    ),
    "nvfp4": (
        {"quant_method": "compressed-tensors"},
        {"weight_packed": zeros("uint8", OUT, IN // 2), "weight_scale": zeros("float16", OUT, 1)},
    ),
    "modelopt": (
        {"quant_method": "modelopt"},
        {"weight": zeros("uint8", OUT, IN // 2), "weight_scale": zeros("float16", OUT, 1)},
    ),
    "w8a8": (
        {"quant_method": "compressed-tensors"},
        {"weight": zeros("int8", OUT, IN), "weight_scale": zeros("float16", OUT, 1)},
    ),
    "bitsandbytes, 4 bits": (
        {"quant_method": "bitsandbytes", "load_in_4bit": True},
        {
            "weight": zeros("uint8", OUT * IN // 2, 1),
            "weight.absmax": zeros("float32", OUT * IN // 64),
            "weight.quant_map": zeros("float32", 16),
            "weight.quant_state.bitsandbytes__nf4": np.frombuffer(STATE, dtype="uint8"),
        },
    ),
    "bitsandbytes, 8 bits": (
        {"quant_method": "bitsandbytes", "load_in_8bit": True},
        {"weight": zeros("int8", OUT, IN), "SCB": zeros("float32", OUT)},
    ),
}


def base_of(folder: Path, quantization: dict[str, Any], parts: dict[str, np.ndarray[Any, Any]]) -> Path:
    (folder / "config.json").write_text(json.dumps({"quantization_config": quantization}))
    unpacked = {"lm_head.weight": zeros("float16", 50, OUT), "model.embed_tokens.weight": zeros("float16", 50, OUT)}
    write(folder / "model.safetensors", {**unpacked, **{f"{LAYER}.{name}": tensor for name, tensor in parts.items()}})
    return folder


@pytest.mark.parametrize("name", FORMATS)
def test_a_packed_layer_has_the_shape_that_it_had_before_it_was_packed(name: str, tmp_path: Path) -> None:
    assert linear_shapes(base_of(tmp_path, *FORMATS[name])) == {"lm_head": (50, OUT), LAYER: (OUT, IN)}


def test_a_layer_whose_tensors_lie_in_two_files_is_read_whole(tmp_path: Path) -> None:
    quantization, parts = FORMATS["gptq"]
    base_of(tmp_path, quantization, {})
    tensors = [(f"{LAYER}.{name}", tensor) for name, tensor in parts.items()]
    write(tmp_path / "model-1.safetensors", dict(tensors[:1]))
    write(tmp_path / "model-2.safetensors", dict(tensors[1:]))
    (tmp_path / "model.safetensors").unlink()
    assert linear_shapes(tmp_path) == {LAYER: (OUT, IN)}


@pytest.mark.parametrize(
    "parts",
    [
        {"codes": zeros("int8", OUT, IN), "codebooks": zeros("float16", 4)},
        {"qweight": zeros("int32", IN, 7), "scales": zeros("float16", 1, OUT)},
        {"weight_packed": zeros("int32", OUT, IN * 4 // 32)},
    ],
    ids=["aqlm", "widths that do not fit", "no shape"],
)
def test_what_is_packed_in_another_way_is_refused_in_a_sentence(
    parts: dict[str, np.ndarray[Any, Any]], tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput, match="packed by aqlm, whose shapes cannot be read here"):
        linear_shapes(base_of(tmp_path, {"quant_method": "aqlm"}, parts))


def test_eight_bit_floats_are_read_as_they_lie(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"quantization_config": {"quant_method": "fp8"}}))
    name = f"{LAYER}.weight"
    write(tmp_path / "model.safetensors", {name: zeros("uint8", OUT, IN)}, {name: "F8_E4M3"})
    assert linear_shapes(tmp_path) == {LAYER: (OUT, IN)}


@pytest.mark.parametrize("name", FORMATS)
def test_tensors_that_look_packed_are_no_layers_where_the_base_says_nothing_of_it(name: str, tmp_path: Path) -> None:
    base_of(tmp_path, *FORMATS[name])
    (tmp_path / "config.json").write_text("{}")
    shapes = linear_shapes(tmp_path)
    assert shapes.pop("lm_head") == (50, OUT)
    assert {name: shape for name, shape in shapes.items() if name != LAYER} == {}
    assert shapes.get(LAYER) in (None, (OUT, IN))


def test_a_base_without_layers_that_is_not_packed_has_none(tmp_path: Path) -> None:
    base_of(tmp_path, {}, {})
    assert linear_shapes(tmp_path) == {"lm_head": (50, OUT)}
