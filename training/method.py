"""The seam of training: what a method is, what a run gives it, and what it leaves.

A method is one file: its settings, which rows it learns from, and how it trains. `methods.py` finds it by its name.
Read `recipes/lora.py` next, the one that most people use.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Self

from lifecycle.conversation import Conversation
from lifecycle.errors import Problem
from lifecycle.manifests import Golden
from lifecycle.models.base import BaseFingerprint
from lifecycle.publishing import Shelf
from lifecycle.rows.kinds import Kinds
from lifecycle.version import ArtifactKind, Frozen, Prompt
from training import golden
from training.completions import CompletionTokenizer, tokenizer_of
from training.optimisation import OptimisationSettings
from training.progress import Watcher
from training.starting import Start
from training.tokens import ChatTokenizer


@dataclass(frozen=True)
class Task:
    """What a run gives its method, besides the rows."""

    name: str
    """Of the version's family, for titles."""
    base: Path
    """The model folder, whose fingerprint is `known`."""
    known: BaseFingerprint
    prompt: Prompt
    """What the rows are trained behind, because the version is served behind it."""
    optimisation: OptimisationSettings
    folder: Path
    """Of the run. It exists; the method leaves its artifact and its logs there."""
    watch: Watcher
    start: Start | None = None
    """The adapter that the method goes on from, where its settings name one."""

    @cached_property
    def chat(self) -> ChatTokenizer | CompletionTokenizer:
        """The base's tokenizer, with its chat template where it has one."""
        return tokenizer_of(self.base, self.known, self.prompt)


@dataclass(frozen=True)
class Trained:
    """What a method leaves: the artifact's folder, and figures of the training.

    The folder lies in the task's, is called as its kind is, and has the best checkpoint's weights. The figures have at
    least `train_rows`, `validation_rows`, `steps`, `train_loss`, `eval_loss` (the best one) and `base_eval_loss`
    (before the first step).
    """

    folder: Path
    metrics: dict[str, float]
    notes: tuple[str, ...] = ()
    """What a person should know before trusting the result."""


class Method(Frozen, ABC, allow_inf_nan=False):
    """How weights are learnt. The fields are its settings: the keys under `method:` in a run's configuration.

    A package brings its own by an entry point of the group `dabt.methods`, named as `type` is.
    """

    type: str

    rows: ClassVar[Kinds] = (Conversation,)
    """The kinds of row that it learns from."""
    artifact: ClassVar[ArtifactKind] = "adapter"
    """What it leaves."""
    measures: ClassVar[tuple[str, ...]] = ("loss",)
    """Figures of validation that `optimisation.best_by` may name; the first is the one where it names none."""
    shares: ClassVar[tuple[ModuleType, ...]] = ()
    """Modules besides its own whose code decides its result: a change of them makes another run."""

    def settled(self, folder: Path, base: Path, shelf: Shelf) -> tuple[Self, Start | None]:
        """With what its settings name looked up: paths start at `folder`, versions are those of `shelf`.

        Asked first of all. Raises `InvalidConfig` for what is not there, or does not fit the model folder `base`.
        """
        return self, None

    def problems(self, base: Path, prompt: Prompt, how: OptimisationSettings, max_rank: int) -> list[Problem]:
        """What the model folder `base`, or servers that take adapters up to `max_rank`, cannot follow.

        Asked before anything is read or loaded, so that nothing is trained that will be refused afterwards.
        """
        return []

    @abstractmethod
    def examples(self, task: Task, rows: Sequence[Any]) -> Sequence[Any]:
        """The rows as they are trained, in order. Raises `InvalidData` with every row that cannot be."""

    @abstractmethod
    def train(self, task: Task, training: Sequence[Any], validation: Sequence[Any]) -> Trained:
        """Learn from the examples `training`, and leave the best checkpoint by `validation` as the artifact:
        the one that is best by `optimisation.best_by`, one of `measures`.

        A folder with checkpoints is one of a run that was stopped, which goes on from them. Raises `InvalidConfig` when
        a loss is not finite.
        """

    unused: ClassVar[Mapping[str, str]] = {}
    """Keys of the configuration that this method has no use for, such as `optimisation.packing`, each with the reason.
    Whoever writes one is told, before anything is read."""

    @property
    def held(self) -> float:
        """Bytes that training over a base holds for each of its weights, at the least and on a processor: the weight,
        and where it is learnt its gradient and two moments."""
        return 4.0

    @classmethod
    def code(cls) -> set[ModuleType]:
        """The modules whose code decides what this method leaves."""
        return {sys.modules[part.__module__] for part in cls.__mro__ if issubclass(part, Method)} | set(cls.shares)

    def proofs(self, examples: Sequence[Any]) -> Sequence[Any]:
        """The examples by which `golden` shows what was trained: token rows with answers, unless it takes others."""
        return examples

    def golden(self, task: Task, folder: Path, proofs: Sequence[Any]) -> Golden:
        """What the artifact in `folder` says of the proofs, so that a server can show that it serves it.

        Computed on what was saved and read again. Raises `InvalidConfig` where nothing was learnt.
        """
        return golden.record(task.base, folder, proofs, self.artifact)
