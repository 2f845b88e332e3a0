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
