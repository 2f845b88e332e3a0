"""A trained model as a whole folder: its weights, and everything else as the base has it. For methods that leave one.

Embeddings that the base ties to its output layer stay tied: one tensor is saved, and config.json says so.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Literal

from lifecycle.errors import Problem
from lifecycle.models.base import BaseFingerprint, dtype_of, quantization_of, read_object, weight_files
from lifecycle.models.whole_models import model_files
from lifecycle.origin import Origin
from training import processes

SavedDtype = Literal["float32", "bfloat16", "float16"]
"""Of the saved weights; None for the base's own."""


def misfits(base: Path) -> list[Problem]:
    """Why no whole weights can be trained from this base; empty when they can."""
    problems = []
    if packed := quantization_of(base):
        method = packed.get("quant_method", "an unknown method")
        problems.append(Problem("base", f"its layers are packed by {method}, and cannot be trained whole", "unpack it"))
    if read_object(base / "config.json").get("auto_map"):
        problems.append(Problem("base", "needs code of its own, which is never run here", "take another base"))
    return problems


def load(base: Path) -> Any:
    """The base in float32: whole weights that are moved in bfloat16 lose steps smaller than its eight bits."""
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)


def save(model: Any, folder: Path, base: Path, known: BaseFingerprint, dtype: SavedDtype | None = None) -> None:
    """The model's weights, in the base's own number format unless another is named, beside the base's other files.

    The first process alone writes them.
    """
    import torch

    if not processes.is_first():
        return
    named = dtype or dtype_of(base) or "float32"
    model.to(getattr(torch, named)).save_pretrained(str(folder), safe_serialization=True)
    written = {"config.json", *(file.name for file in weight_files(folder)), "model.safetensors.index.json"}
    for extra in folder.iterdir():
        if extra.name not in written:
            extra.unlink()
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config.pop("_name_or_path", None)  # a path of this machine
    config["dtype"] = named
    text = json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    (folder / "config.json").write_text(text, encoding="utf-8")
    weights = {file.name for file in weight_files(base)}
    for file in model_files(base):
        if file.name in {*weights, "config.json"} or file.name.endswith(".index.json"):
            continue
        target = folder / file.relative_to(base)
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(file, target)
    Origin(base=known).write(folder)
