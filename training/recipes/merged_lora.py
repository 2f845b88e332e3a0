"""LoRA that is merged into the base when it has been learnt: for bases whose layers no server adapts, such as GPT-2's.

GPT-2 keeps its layers transposed (Conv1D). Training is as cheap as LoRA's; what it leaves is a model of its own. Read
`lora.py` for the adapter that stays one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

from lifecycle.conversation import Conversation
from lifecycle.errors import Problem
from lifecycle.version import ArtifactKind, Prompt
from training import lora_shape, supervised, whole_weights
from training.best_by import ANSWERED
from training.lora_shape import LowRank
from training.method import Method, Task, Trained
from training.optimisation import OptimisationSettings
from training.tokens import Example


class MergedLora(LowRank, Method):
    """The settings are those of `lora`, of any rank and modules, because no server has to follow them."""

    type: Literal["merged_lora"] = "merged_lora"
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the saved model."""

    artifact: ClassVar[ArtifactKind] = "weights"
    measures: ClassVar = ("loss", *ANSWERED)
    shares: ClassVar = (lora_shape, supervised, *supervised.SHARES, whole_weights)

    def problems(self, base: Path, prompt: Prompt, how: OptimisationSettings, max_rank: int) -> list[Problem]:
        return whole_weights.misfits(base) or self.unmakable(base)

    def examples(self, task: Task, rows: Sequence[Conversation]) -> Sequence[Example]:
        return task.chat.examples(rows, task.prompt.system, task.optimisation.max_length)

    def train(self, task: Task, training: Sequence[Example], validation: Sequence[Example]) -> Trained:
        task.watch.stage("loading the base")
        base = whole_weights.load(task.base)
        model, metrics = supervised.train(task, base, training, validation, peft_config=self.peft())
        folder = task.folder / self.artifact
        whole_weights.save(model.merge_and_unload(), folder, task.base, task.known, self.dtype)
        return Trained(folder, metrics)
