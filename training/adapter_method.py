"""What every method that leaves a LoRA adapter has in common: its shape, and the adapter that it goes on from."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Self

from lifecycle.errors import InvalidConfig, Problem
from lifecycle.models.preflight import preflight
from lifecycle.publishing import Shelf
from lifecycle.version import Prompt
from training import adapter_folder, lora_shape, starting
from training.device import device
from training.lora_shape import LoraShape
from training.method import Method, Task
from training.optimisation import OptimisationSettings
from training.starting import Start


class AdapterMethod(LoraShape, Method):
    """An adapter over the frozen base, new or going on from another."""

    adapter: str | None = None
    """Go on from this one: a version such as triage:3, or a PEFT folder. The shape is its own."""

    shares: ClassVar[tuple[ModuleType, ...]] = (lora_shape, starting, adapter_folder)

    def settled(self, folder: Path, base: Path, shelf: Shelf) -> tuple[Self, Start | None]:
        """With the shape of the adapter that it goes on from, which is held against `base` as a server would.

        Raises `InvalidConfig` for settings that differ from it, and `AdapterRefused` for another base's adapter.
        """
        if self.adapter is None:
            return self, None
        start = starting.find(self.adapter, folder, shelf)
        facts = preflight(start.folder, base, max_rank=shelf.max_rank)
        shape = {
            "r": facts.rank,
            "alpha": facts.alpha,
            "rslora": facts.use_rslora,
            "target_modules": facts.target_modules,
        }
        problems = [
            Problem(f"method.{key}", f"is {value!r} in {start.name}, which training goes on from", "leave it out")
            for key, value in shape.items()
            if key in self.model_fields_set and _plain(getattr(self, key)) != _plain(value)
        ]
        if problems:
            raise InvalidConfig("an adapter that training goes on from keeps its shape", problems)
        return self.model_copy(update={**shape, "adapter": start.digest}), start

    def problems(self, base: Path, prompt: Prompt, how: OptimisationSettings, max_rank: int) -> list[Problem]:
        return self.misfits(base, max_rank)

    def base(self, task: Task, **more: Any) -> Any:
        """The frozen base: float32 on a CPU, where bfloat16 is slow, and bfloat16 on a GPU."""
        import torch
        from transformers import AutoModelForCausalLM

        task.watch.stage("loading the base")
        dtype = torch.bfloat16 if device() == "cuda" else torch.float32
        return AutoModelForCausalLM.from_pretrained(task.base, dtype=dtype, **more)

    def over(self, task: Task, base: Any) -> tuple[Any, Any]:
        """What a trainer of TRL's takes as `model` and `peft_config`."""
        from peft import PeftConfig, PeftModel

        if task.start is None:
            return base, self.peft()
        config = PeftConfig.from_pretrained(str(task.start.folder))
        config.lora_dropout = self.dropout
        # PEFT would ask a hub at each checkpoint for the base, by the name that it had where the adapter was made.
        config.base_model_name_or_path = str(task.base)
        model = PeftModel.from_pretrained(base, str(task.start.folder), config=config, is_trainable=True)
        return model, None


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, tuple) else value
