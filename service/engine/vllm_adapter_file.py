"""An adapter's file by one read, in place of one for each tensor.

vLLM 0.32 opens the file as a mapping and asks torch for a slice of it for every tensor. That was 2/5 of a load, during
which no stream gets a token: the engine loads between two steps.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import load
from vllm.lora.lora_model import LoRAModel
from vllm.lora.utils import parse_fine_tuned_lora_name

from lifecycle.models.preflight import WEIGHTS_FILE


class LoRAOfOneRead(LoRAModel):  # type: ignore[misc]
    """In the place of vLLM's class, where only the reading differs."""

    @classmethod
    def from_local_checkpoint(
        cls, lora_dir: str, expected_lora_modules: set[str], peft_helper: Any, **options: Any
    ) -> LoRAModel:
        """Raises `ValueError` for a module that is not expected, as vLLM's does. What is no plain LoRA of dense layers
        in one safetensors file is left to vLLM.
        """
        file, mapper = Path(lora_dir, WEIGHTS_FILE), options.get("weights_mapper")
        tensors = load(file.read_bytes()) if file.is_file() else {}
        special = options.get("moe_ep_spec") is not None or options.get("skip_prefixes")
        if special or not tensors or any(".experts" in name for name in tensors):
            return super().from_local_checkpoint(lora_dir, expected_lora_modules, peft_helper, **options)
        modules = {parse_fine_tuned_lora_name(name, mapper)[0] for name in tensors}
        if unexpected := sorted(name for name in modules if name.rpartition(".")[2] not in expected_lora_modules):
            raise ValueError(f"{lora_dir} adapts {', '.join(unexpected)}, which the engine does not adapt")
        options.pop("moe_ep_spec", None)
        return cls.from_lora_tensors(tensors=tensors, peft_helper=peft_helper, **options)
