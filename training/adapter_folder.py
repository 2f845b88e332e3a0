"""A trained adapter as a PEFT folder: the same bytes for the same weights, with the base that it belongs to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lifecycle.models.base import BaseFingerprint
from lifecycle.models.peft_config import CONFIG_FILE
from lifecycle.models.preflight import WEIGHTS_FILE
from lifecycle.origin import Origin
from training import processes


def save(model: Any, folder: Path, known: BaseFingerprint, dtype: str) -> None:
    """The PEFT folder with its origin, without anything that changes from one machine or process to the next.

    Of several processes of a run the first alone writes it.
    PEFT writes the target modules in a set's order, which differs between processes, and the base's local path.
    """
    import torch

    if not processes.is_first():
        return
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    for parameter in parameters.values():
        parameter.data = parameter.data.to(getattr(torch, dtype))
    model.save_pretrained(str(folder), save_embedding_layers=False, selected_adapters=["default"])
    for extra in folder.iterdir():
        if extra.name not in (CONFIG_FILE, WEIGHTS_FILE):
            extra.unlink()
    tidy(folder, known)


def tidy(folder: Path, known: BaseFingerprint) -> None:
    """Of what PEFT wrote there, what is the same on every machine; and the origin."""
    path = folder / CONFIG_FILE
    written = json.loads(path.read_text(encoding="utf-8"))
    written["base_model_name_or_path"] = known.name
    written["target_modules"] = sorted(written["target_modules"])
    path.write_text(json.dumps(written, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    Origin(base=known).write(folder)
