"""LoRA (Hu et al. 2021, arXiv 2106.09685) on conversations: the base stays as it is, and a small delta is learnt.

Read `supervised.py` for the training itself, `lora_shape.py` for what a base and a server must be able to follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

from lifecycle.conversation import Conversation
from lifecycle.errors import Problem
from lifecycle.version import Prompt
from training import adapter_folder, checkpoints, lora_shape, supervised
from training.device import device
from training.lora_shape import LoraShape
from training.method import Method, Task, Trained
from training.optimisation import OptimisationSettings
from training.tokens import Example


class Lora(LoraShape, Method):
    """An adapter over the frozen base. The default."""

    type: Literal["lora"] = "lora"

    shares: ClassVar = (lora_shape, supervised, checkpoints, adapter_folder)

    def problems(self, base: Path, prompt: Prompt, how: OptimisationSettings, max_rank: int) -> list[Problem]:
        return self.misfits(base, max_rank)

    def examples(self, task: Task, rows: Sequence[Conversation]) -> Sequence[Example]:
        return task.chat.examples(rows, task.prompt.system, task.optimisation.max_length)

    def train(self, task: Task, training: Sequence[Example], validation: Sequence[Example]) -> Trained:
        import torch
        from transformers import AutoModelForCausalLM

        # float32 on a CPU, where bfloat16 is slow; bfloat16 on a GPU, with the adapter in float32.
        task.watch.stage("loading the base")
        dtype = torch.bfloat16 if device() == "cuda" else torch.float32
        base = AutoModelForCausalLM.from_pretrained(task.base, dtype=dtype)
        model, metrics = supervised.train(task, base, training, validation, peft_config=self.peft())
        folder = task.folder / self.artifact
        adapter_folder.save(model, folder, task.known, self.dtype)
        return Trained(folder, metrics)
