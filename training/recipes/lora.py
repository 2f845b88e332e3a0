"""LoRA (Hu et al. 2021, arXiv 2106.09685) on conversations: the base stays as it is, and a small delta is learnt.

Read `supervised.py` for the training itself, `lora_shape.py` for what a base and a server must be able to follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from lifecycle.conversation import Conversation
from training import adapter_folder, completions, supervised
from training.adapter_method import AdapterMethod
from training.best_by import ANSWERED
from training.method import Task, Trained
from training.tokens import Example


class Lora(AdapterMethod):
    """An adapter over the frozen base. The default."""

    type: Literal["lora"] = "lora"

    measures: ClassVar = ("loss", *ANSWERED)
    shares: ClassVar = (*AdapterMethod.shares, supervised, *supervised.SHARES, completions)

    def examples(self, task: Task, rows: Sequence[Conversation]) -> Sequence[Example]:
        return task.chat.examples(rows, task.prompt.system, task.optimisation.max_length)

    def train(self, task: Task, training: Sequence[Example], validation: Sequence[Example]) -> Trained:
        model, peft = self.over(task, self.base(task))
        model, metrics = supervised.train(task, model, training, validation, peft_config=peft)
        folder = task.folder / self.artifact
        adapter_folder.save(model, folder, task.known, self.dtype)
        return Trained(folder, metrics)
