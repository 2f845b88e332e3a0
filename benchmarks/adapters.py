"""Random LoRA adapters as PEFT would save them, each far enough from the base to answer differently.

The values follow from the seed. Golden prompts for them, as a trainer would record, are made in `goldens.py`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lifecycle.models.base import fingerprint, linear_shapes
from lifecycle.models.peft_config import CONFIG_FILE
from lifecycle.models.preflight import SERVED_MODULES, WEIGHTS_FILE
from lifecycle.origin import Origin

RANK, ALPHA = 8, 16
_STRENGTH = 0.05
"""Standard deviation of lora_B: at the scale of 2 a delta is about a third of what the layer computes."""


def modules(base: Path) -> dict[str, tuple[int, int]]:
    """`(out, in)` of every linear layer that is adapted: all that are served."""
    return {name: shape for name, shape in linear_shapes(base).items() if name.rpartition(".")[2] in SERVED_MODULES}


def factors(base: Path, seed: int, rank: int = RANK) -> dict[str, tuple[Any, Any]]:
    """A [rank, in] and B [out, rank] of every adapted module, float16."""
    import numpy

    chance = numpy.random.default_rng(seed)

    def normal(rows: int, columns: int, std: float) -> Any:
        return (chance.standard_normal((rows, columns), dtype=numpy.float32) * std).astype(numpy.float16)

    return {
        name: (normal(rank, into, into**-0.5), normal(out, rank, _STRENGTH * (RANK / rank) ** 0.5))
        for name, (out, into) in modules(base).items()
    }


def write(base: Path, folder: Path, seed: int, rank: int = RANK) -> None:
    """Save the adapter of this seed into a new folder. Of whatever rank, its deltas are about as large."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True)
    tensors = {}
    for name, (a, b) in factors(base, seed, rank).items():
        tensors[f"base_model.model.{name}.lora_A.weight"] = a
        tensors[f"base_model.model.{name}.lora_B.weight"] = b
    save_file(tensors, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base.name,
        "r": rank,
        "lora_alpha": rank * ALPHA // RANK,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": sorted({name.rpartition(".")[2] for name in modules(base)}),
    }
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=1), encoding="utf-8")
    Origin(base=fingerprint(base)).write(folder)
