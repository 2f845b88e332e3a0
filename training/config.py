"""What a training run is told: one frozen configuration, and where its relative paths start.

Read `refused.py` next for what it will not accept and why, then `run.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator

from lifecycle.config_file import faults, load_mapping
from lifecycle.errors import InvalidConfig, Problem
from lifecycle.models.preflight import SERVED_MODULES, SERVED_RANKS
from lifecycle.rows.prompt_files import read_prompt
from lifecycle.version import Frozen, Name, Prompt
from training.refused import refuse


class DataSettings(Frozen, allow_inf_nan=False):
    """Which rows to learn from. Any form of `lifecycle/rows/forms.py`; paths start at the configuration's folder."""

    train: Path
    validation: Path | None = None
    """Rows that choose the best checkpoint. Without it, `holdout` of `train` is held out, by prompt."""
    holdout: float = Field(default=0.1, gt=0.0, lt=0.5)


class LoraSettings(Frozen, allow_inf_nan=False):
    """The adapter's shape (LoRA: Hu et al. 2021, arXiv 2106.09685)."""

    r: int = 16
    alpha: float = Field(default=32.0, gt=0.0)
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    rslora: bool = True
    """Scale by alpha / sqrt(r) rather than alpha / r (arXiv 2312.03732), so that a higher rank is not scaled away."""
    target_modules: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the saved weights. The server casts them to the base's own type."""

    @field_validator("r")
    @classmethod
    def _served_rank(cls, r: int) -> int:
        if r not in SERVED_RANKS:
            raise ValueError(
                f"a server's adapter slots have one of the ranks {', '.join(map(str, SERVED_RANKS))}; "
                f"{r} would take the place of the next of them and give less"
            )
        return r

    @field_validator("target_modules")
    @classmethod
    def _served_targets(cls, targets: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if isinstance(targets, tuple):
            if not targets:
                raise ValueError("no module is named; write all-linear, or names such as [q_proj, v_proj]")
            if unserved := sorted(set(targets) - set(SERVED_MODULES)):
                raise ValueError(
                    f"the server adapts the linear projections only, not {', '.join(unserved)}; "
                    f"choose among {', '.join(SERVED_MODULES)}, or write all-linear"
                )
        return targets

    @property
    def scale(self) -> float:
        """What B·A is multiplied by."""
        return self.alpha / (math.sqrt(self.r) if self.rslora else self.r)


class OptimisationSettings(Frozen, allow_inf_nan=False):
    """How the weights are moved. AdamW; the defaults suit LoRA, not full fine-tuning."""

    lr: float = Field(default=2e-4, gt=0.0, le=0.1)
    epochs: float = Field(default=3.0, gt=0.0)
    batch_size: int = Field(default=16, ge=1)
    accumulation: int = Field(default=1, ge=1)
    """Batches whose gradients are added up before each step."""
    schedule: Literal["cosine", "linear", "constant_with_warmup"] = "cosine"
    warmup: float = Field(default=0.03, ge=0.0, lt=1.0)
    """Share of all steps during which the rate rises from 0. A share of less than one step is none."""
    weight_decay: float = Field(default=0.0, ge=0.0)
    max_grad_norm: float = Field(default=1.0, gt=0.0)
    max_length: int = Field(default=1024, ge=8)
    """Tokens in a row after the chat template. A longer row is an error: cutting it would lose the answer's end."""
    gradient_checkpointing: bool = False
    """Trade about a fifth of the speed for memory: compute activations again instead of keeping them."""
    early_stopping: int | None = Field(default=None, ge=1)
    """Stop after so many epochs without a better validation loss."""
    seed: int = Field(default=17, ge=0, lt=2**32)

    def steps(self, rows: int) -> int:
        """Of the optimiser, over so many rows: each epoch ends in a step, whatever is left for it."""
        batches = math.ceil(rows / self.batch_size)
        return math.ceil(math.ceil(batches / self.accumulation) * self.epochs)

    def warmup_steps(self, steps: int) -> int:
        """Of so many. The rate of the first is 0, so a run must have a step behind them, or it would learn nothing."""
        share = self.warmup * steps
        return min(math.ceil(share), steps - 1) if share >= 1 else 0


class PromptSettings(Frozen):
    """What the service puts before the caller's messages, so that it is trained exactly as it is served."""

    system: Path | None = None
    """A UTF-8 text file."""


class TrainConfig(Frozen):
    """One run. Written as YAML; `load` reports everything that is wrong with it at once."""

    name: Name
    """Of the version's family in the registry: triage gives triage:1, triage:2, …"""
    base: str
    """A folder (relative to the configuration) or a hub id of any causal language model."""
    data: DataSettings
    lora: LoraSettings = LoraSettings()
    optimisation: OptimisationSettings = OptimisationSettings()
    prompt: PromptSettings = PromptSettings()
    golden_prompts: int = Field(default=4, ge=1, le=64)
    """Validation rows whose log-probabilities are recorded, so that a server can prove that it serves this adapter."""


@dataclass(frozen=True)
class TrainJob:
    """A configuration and the folder where its relative paths start."""

    config: TrainConfig
    folder: Path

    @classmethod
    def load(cls, path: Path, *, base: str | None = None) -> TrainJob:
        """Reads a YAML file; `base` (from where the command runs) takes the place of the file's own.

        Raises `InvalidConfig` with every unknown, wrong, refused or missing key and every file that is not there.
        """
        raw = load_mapping(path)
        if base is not None:
            raw["base"] = str(Path(base).resolve()) if Path(base).is_dir() else base
        return cls.from_mapping(raw, path.resolve().parent, source=str(path))

    @classmethod
    def from_mapping(cls, raw: Mapping[str, Any], folder: Path, *, source: str = "the configuration") -> TrainJob:
        """The same from a mapping already read. Raises `InvalidConfig`."""
        cleaned, problems = refuse(raw)
        problems += _missing_files(cleaned, folder)
        try:
            config = TrainConfig.model_validate(cleaned)
        except ValidationError as error:
            problems += faults(error, TrainConfig, cleaned)
        if problems:
            raise InvalidConfig(f"{source} cannot be used", sorted(problems, key=lambda p: p.place))
        return cls(config, folder)

    def _at(self, path: Path | None) -> Path | None:
        return None if path is None else (self.folder / path).resolve()

    @property
    def train_path(self) -> Path:
        return (self.folder / self.config.data.train).resolve()

    @property
    def validation_path(self) -> Path | None:
        return self._at(self.config.data.validation)

    @property
    def base(self) -> str:
        """An absolute path when it is a folder or is written like one, otherwise the hub id as it is written."""
        local = self.folder / Path(self.config.base).expanduser()
        is_path = local.is_dir() or self.config.base.startswith((".", "/", "~"))
        return str(local.resolve()) if is_path else self.config.base

    @property
    def prompt(self) -> Prompt:
        """The published version's prompt: what the rows are trained behind."""
        return read_prompt(self._at(self.config.prompt.system))


def _missing_files(raw: Mapping[str, Any], folder: Path) -> list[Problem]:
    """The files that a configuration names and that are not there, found even while other keys are wrong."""
    problems = []
    for section, key in (("data", "train"), ("data", "validation"), ("prompt", "system")):
        keys = raw.get(section)
        named = keys.get(key) if isinstance(keys, Mapping) else None
        if isinstance(named, str | Path) and not (folder / named).is_file():
            cure = "relative paths start at the configuration's folder"
            problems.append(Problem(f"{section}.{key}", f"there is no file {folder / named}", cure))
    return problems
