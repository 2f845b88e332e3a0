"""A run as it is planned, and the shape of its base: what an estimate counts by.

Read `work.py` for what becomes of it.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

from lifecycle.models.base import linear_shapes


@dataclass(frozen=True)
class Plan:
    """How a run would go; the defaults are those of `training/config.py`."""

    epochs: float = 3.0
    batch: int = 16
    accumulation: int = 1
    rank: int = 16
    bytes_per_weight: int = 4
    method: str = "lora"
    layers: int = 2
    """The last ones, which learn where the method is `last_layers`."""
    max_steps: int = 0
    generates: bool = True
    """With an output layer over the vocabulary; a classifier has none."""
    holdout: float = 0.1
    """Of the rows, that validate, where no file does."""
    weights: tuple[float, ...] = ()
    """Of the files, where an epoch sees them in shares."""
    packs: bool = True
    group: int | None = None
    """Rows that come together by their length, in training."""
    cut: int = sys.maxsize
    """Tokens of a row that are read."""
    answer_tokens: int = 0
    """Of the longest answer."""
    answers: int = 0
    """Validation rows that are answered, at most, where the best epoch is chosen by that."""
    checkpointing: bool = False
    """Activations are computed again in backward, instead of being kept."""

    @property
    def texts(self) -> int:
        """Of one row."""
        return 2 if self.method == "dpo" else 1


@dataclass(frozen=True)
class Shape:
    """Of a base, from its files."""

    parameters: int
    linear: int
    """Weights that every token is multiplied with, the output layer's included."""
    layers: int
    hidden: int
    inner: int
    heads: int
    vocabulary: int
    adapted: int
    """Rows and columns of all linear projections: what one rank of LoRA adds."""

    @property
    def inside(self) -> int:
        """Weights of all layers, without the output layer's."""
        return self.linear - self.hidden * self.vocabulary

    @property
    def elements(self) -> int:
        """Activations of a token, in all layers."""
        return self.layers * (9 * self.hidden + 3 * self.inner)

    @classmethod
    def of(cls, base: Path) -> Shape:
        described = json.loads((base / "config.json").read_text(encoding="utf-8"))
        text = described.get("text_config", described)
        shapes = {name: shape for name, shape in linear_shapes(base).items() if not name.endswith("lm_head")}
        weights = sum(math.prod(shape) for shape in shapes.values())
        hidden, vocabulary = int(text["hidden_size"]), int(text["vocab_size"])
        embeddings = hidden * vocabulary
        tied = text.get("tie_word_embeddings", described.get("tie_word_embeddings", False))
        return cls(
            parameters=weights + embeddings * (1 if tied else 2),
            linear=weights + embeddings,
            layers=int(text["num_hidden_layers"]),
            hidden=hidden,
            inner=int(text.get("intermediate_size") or 4 * hidden),
            heads=int(text.get("num_attention_heads") or 1),
            vocabulary=vocabulary,
            adapted=sum(sum(shape) for shape in shapes.values()),
        )
