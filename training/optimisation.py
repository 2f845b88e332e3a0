"""How the weights are moved: the settings that every method of training shares."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from lifecycle.version import Frozen


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
    packing: Literal["auto"] | bool = "auto"
    """Lay several rows of a batch in one line, so that little of it is padding. The loss is the same, and `batch_size`
    goes on counting rows. `auto` does so where the base keeps such rows apart, and `true` refuses another base."""
    group_by_length: bool = False
    """Rows of like length in one step, so that less of it is padding, for what is not packed. In short runs it costs
    loss: a step learns from long rows alone, or from short ones."""
    gradient_checkpointing: bool = False
    """Trade about a fifth of the speed for memory: compute activations again instead of keeping them."""
    early_stopping: int | None = Field(default=None, ge=1)
    """Stop after so many epochs without a better validation, by `best_by`."""
    best_by: str | None = None
    """By which figure of validation the best checkpoint is chosen, and early stopping decides: `loss`, or a metric of
    generated answers (`best_by.py`). None is the method's own: macro-F1 of a classifier, else the loss."""
    best_by_rows: int = Field(default=64, ge=1)
    """Validation rows that are answered for it, at most; drawn by the seed."""
    best_by_max_tokens: int | None = Field(default=None, ge=1)
    """Of an answer. None is a little more than the longest right one has."""
    max_steps: int | None = Field(default=None, ge=1)
    """Of the optimiser: the run ends there, though epochs are left."""
    max_minutes: float | None = Field(default=None, gt=0.0)
    """The run ends after the step in which so many have passed. Where that is differs from one machine to the next."""
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    """On a CPU. bfloat16 multiplies in half the bits and keeps what is learnt in float32: faster where the CPU has such
    instructions, for a loss that differs in its third or fourth digit. `auto` takes it there, and what it became is
    part of the run's name. A GPU always takes bfloat16, and the run says so.
    """
    fsdp: bool = False
    """Share the weights, their gradients and the optimiser out among the processes of the run (FSDP2, Zhao et al. 2023,
    arXiv 2304.11277): each holds a part, and sees a layer's whole weights only while it computes that layer. For bases
    that one device has no room for. It decides nothing of the result."""
    save_minutes: float = Field(default=10.0, ge=0.0)
    """A run that is stopped goes on from a checkpoint that is at most so old. It decides nothing of the result."""
    seed: int = Field(default=17, ge=0, lt=2**32)

    @property
    def group(self) -> int | None:
        """Rows that come together by their length: those of a step. None where they come by chance."""
        return self.batch_size * self.accumulation if self.group_by_length else None

    def steps_of_an_epoch(self, rows: int) -> int:
        """Of the optimiser: an epoch ends in a step, whatever is left for it."""
        return math.ceil(math.ceil(rows / self.batch_size) / self.accumulation)

    def steps(self, rows: int) -> int:
        """Of the optimiser, in the whole run over so many rows."""
        steps = math.ceil(self.steps_of_an_epoch(rows) * self.epochs)
        return min(steps, self.max_steps or steps)

    def warmup_steps(self, steps: int) -> int:
        """Of so many. The rate of the first is 0, so a run must have a step behind them, or it would learn nothing."""
        share = self.warmup * steps
        return min(math.ceil(share), steps - 1) if share >= 1 else 0
