"""Full fine-tuning on conversations: every weight is learnt, and what it leaves is a model of its own.

Read `supervised.py` for the training itself, `whole_weights.py` for what is saved.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

from lifecycle.conversation import Conversation
from lifecycle.errors import Problem
from lifecycle.version import ArtifactKind, Prompt
from training import supervised, whole_weights
from training.best_by import ANSWERED
from training.method import Method, Task, Trained
from training.optimisation import OptimisationSettings
from training.tokens import Example
from training.whole_weights import SavedDtype


class Full(Method):
    """A rate of about a tenth of LoRA's suits it: 2e-5 for a base of a billion parameters."""

    type: Literal["full"] = "full"
    dtype: SavedDtype | None = None
    """Of the saved weights; the base's own unless it is written."""

    artifact: ClassVar[ArtifactKind] = "weights"
    measures: ClassVar = ("loss", *ANSWERED)
    shares: ClassVar = (supervised, *supervised.SHARES, whole_weights)

    @property
    def held(self) -> float:
        return 16.0

    def problems(self, base: Path, prompt: Prompt, how: OptimisationSettings, max_rank: int) -> list[Problem]:
        return whole_weights.misfits(base)

    def examples(self, task: Task, rows: Sequence[Conversation]) -> Sequence[Example]:
        return task.chat.examples(rows, task.prompt.system, task.optimisation.max_length)

    def train(self, task: Task, training: Sequence[Example], validation: Sequence[Example]) -> Trained:
        task.watch.stage("loading the base")
        model, metrics = supervised.train(task, whole_weights.load(task.base), training, validation)
        folder = task.folder / self.artifact
        whole_weights.save(model, folder, task.base, task.known, self.dtype)
        return Trained(folder, metrics)
