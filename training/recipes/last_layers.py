"""Transfer in the classical way: the base is frozen, and its last layers, its output layer, or both are learnt.

Activations of the frozen part are not kept, so it needs less memory than full fine-tuning. Read `supervised.py` for the
training itself, `whole_weights.py` for what is saved.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from lifecycle.conversation import Conversation
from lifecycle.errors import Problem
from lifecycle.models.base import read_object
from lifecycle.version import ArtifactKind, Prompt
from training import supervised, whole_weights
from training.best_by import ANSWERED
from training.method import Method, Task, Trained
from training.optimisation import OptimisationSettings
from training.tokens import Example
from training.whole_weights import SavedDtype

_DEPTHS = ("num_hidden_layers", "n_layer", "num_layers")
"""Keys of config.json that say how many layers there are."""


class LastLayers(Method):
    """`layers: 2` learns the last two; `head: true` the output layer, with embeddings that are tied to it."""

    type: Literal["last_layers"] = "last_layers"
    layers: int = Field(default=2, ge=0)
    head: bool = False
    dtype: SavedDtype | None = None
    """Of the saved weights; the base's own unless it is written."""

    artifact: ClassVar[ArtifactKind] = "weights"
    measures: ClassVar = ("loss", *ANSWERED)
    shares: ClassVar = (supervised, *supervised.SHARES, whole_weights)

    @model_validator(mode="after")
    def _learns_something(self) -> Self:
        if not self.layers and not self.head:
            raise ValueError("nothing would be learnt: give layers, or write head: true")
        return self

    def problems(self, base: Path, prompt: Prompt, how: OptimisationSettings, max_rank: int) -> list[Problem]:
        problems = whole_weights.misfits(base)
        config = read_object(base / "config.json")
        described = config.get("text_config", config)
        there = next((described[key] for key in _DEPTHS if isinstance(described.get(key), int)), None)
        if there is not None and self.layers > there:
            problems.append(Problem("method.layers", f"{self.layers} is more than the {there} that the base has"))
        return problems

    def examples(self, task: Task, rows: Sequence[Conversation]) -> Sequence[Example]:
        return task.chat.examples(rows, task.prompt.system, task.optimisation.max_length)

    def train(self, task: Task, training: Sequence[Example], validation: Sequence[Example]) -> Trained:
        task.watch.stage("loading the base")
        base = whole_weights.load(task.base)
        self.freeze(base)
        model, metrics = supervised.train(task, base, training, validation)
        folder = task.folder / self.artifact
        whole_weights.save(model, folder, task.base, task.known, self.dtype)
        return Trained(folder, metrics)

    def freeze(self, model: Any) -> None:
        """Leave gradients to what is learnt. The layers are the model's longest list of modules."""
        from torch.nn import ModuleList

        model.requires_grad_(False)
        blocks = max((part for part in model.modules() if isinstance(part, ModuleList)), key=len)
        for block in blocks[len(blocks) - self.layers :]:
            block.requires_grad_(True)
        if self.head:
            model.get_output_embeddings().requires_grad_(True)
