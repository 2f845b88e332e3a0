"""QLoRA (Dettmers et al. 2023, arXiv 2305.14314): LoRA over a base in 4 bits, for bases that the memory does not hold.

The base is packed as NormalFloat4, with its scales packed too, while it trains, and only then. What is served is the
adapter over the base as it is: its golden prompts are computed over that, and `quantisation_cost` says what the
difference comes to. Read `lora.py` for LoRA itself.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

from lifecycle.conversation import Conversation
from lifecycle.errors import Problem
from lifecycle.models.base import quantization_of
from lifecycle.version import Prompt
from training import adapter_folder, completions, golden, processes, supervised
from training.adapter_method import AdapterMethod
from training.best_by import ANSWERED
from training.device import device
from training.method import Task, Trained
from training.optimisation import OptimisationSettings
from training.tokens import Example

_COMPARED = 16
"""Validation rows on which the packed base is held against the base as it is."""


class QLora(AdapterMethod):
    """An adapter over the frozen base in 4 bits."""

    type: Literal["qlora"] = "qlora"

    measures: ClassVar = ("loss", *ANSWERED)
    shares: ClassVar = (*AdapterMethod.shares, supervised, *supervised.SHARES, completions)
    unused: ClassVar = {"optimisation.fsdp": "each process holds the base packed in 4 bits; method lora shares it out"}

    def problems(self, base: Path, prompt: Prompt, how: OptimisationSettings, max_rank: int) -> list[Problem]:
        problems = super().problems(base, prompt, how, max_rank)
        if importlib.util.find_spec("bitsandbytes") is None:
            problems.append(Problem("method.type", "qlora needs bitsandbytes", "pip install bitsandbytes"))
        if (packed := quantization_of(base)).get("quant_method"):
            fault = f"its weights are packed by {packed['quant_method']} already"
            problems.append(Problem("base", fault, "take method lora, or a base that is not packed"))
        return problems

    @property
    def held(self) -> float:
        return 0.5

    def examples(self, task: Task, rows: Sequence[Conversation]) -> Sequence[Example]:
        return task.chat.examples(rows, task.prompt.system, task.optimisation.max_length)

    def train(self, task: Task, training: Sequence[Example], validation: Sequence[Example]) -> Trained:
        import torch
        from transformers import BitsAndBytesConfig

        packing = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16 if device() == "cuda" else torch.float32,
        )
        base = self.base(task, quantization_config=packing, device_map={"": device()})
        for module in base.modules():  # else a CPU validates in bfloat16 by a kernel that takes some widths alone
            if hasattr(module, "support_avx512bf16_for_cpu"):
                module.support_avx512bf16_for_cpu = False
        model, peft = self.over(task, base)
        model, metrics = supervised.train(task, model, training, validation, peft_config=peft)
        folder = task.folder / self.artifact
        adapter_folder.save(model, folder, task.known, self.dtype)

        if not processes.is_first():
            return Trained(folder, metrics)
        # What the service computes, held against what was trained: the same adapter over the base as it is.
        task.watch.stage("measuring what the quantisation costs")
        compared = validation[:_COMPARED]
        packed = [value for row in compared for value in golden.answer_logprobs(model.eval(), row)]
        del model, base
        served = [value for proof in golden.compute(task.base, folder, compared) for value in proof.adapter_logprobs]
        cost = (sum(packed) - sum(served)) / len(packed)
        note = f"trained over a base in 4 bits, served over the base as it is: {cost:+.3f} nats a token"
        return Trained(folder, {**metrics, "quantisation_cost": cost}, (note,))
