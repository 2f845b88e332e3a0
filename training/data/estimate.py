"""What a run over these rows will take: tokens, time and memory, by formulas that are written here.

All of them are estimates, for deciding whether to begin: none was held beside a measured run yet.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

from lifecycle.models.base import linear_shapes
from lifecycle.version import Frozen


class Expected(Frozen):
    """Of one run. Memory is in bytes, time in seconds."""

    tokens: int
    """Over all epochs, without padding."""
    steps: int
    seconds: float
    weights: int
    activations: int
    optimiser: int
    machine: str
    """What the time holds for."""

    @property
    def memory(self) -> int:
        return self.weights + self.activations + self.optimiser


@dataclass(frozen=True)
class Plan:
    """How a LoRA run would go; the defaults are those of `training/config.py`."""

    epochs: float = 3.0
    batch: int = 16
    accumulation: int = 1
    rank: int = 16
    bytes_per_weight: int = 4


@dataclass(frozen=True)
class Shape:
    """Of a base, from its files."""

    parameters: int
    linear: int
    """Weights that every token is multiplied with, the output layer's included."""
    layers: int
    hidden: int
    inner: int
    vocabulary: int
    adapted: int
    """Rows and columns of all linear projections: what one rank of LoRA adds."""

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
            vocabulary=vocabulary,
            adapted=sum(sum(shape) for shape in shapes.values()),
        )


def expected(shape: Shape, plan: Plan, rows: int, tokens: int, longest: int, speed: tuple[float, str]) -> Expected:
    """`tokens` of all rows once, `longest` of a row, `speed` in multiply-adds a second and of
    which machine.

    A token costs each weight one multiply-add forward and one backward (the weights of the base get no gradient;
    Kaplan et al., arXiv 2001.08361, section 2.1, has three with it). Activations are those of Korthikanti et al.
    (arXiv 2205.05198, section 4.1) without the attention scores, in bytes of the weights, and the output layer's logits
    with their gradient; the optimiser keeps the adapter's weights, gradients and two moments in float32.
    """
    steps = math.ceil(math.ceil(rows / plan.batch) / plan.accumulation * plan.epochs)
    learnt = plan.rank * shape.adapted
    batch = plan.batch * longest
    per_layer = batch * (9 * shape.hidden + 3 * shape.inner) * plan.bytes_per_weight
    return Expected(
        tokens=round(tokens * plan.epochs),
        steps=steps,
        seconds=2.0 * (shape.linear + learnt) * tokens * plan.epochs / speed[0],
        weights=shape.parameters * plan.bytes_per_weight,
        activations=shape.layers * per_layer + 3 * batch * shape.vocabulary * 4,
        optimiser=16 * learnt,
        machine=speed[1],
    )


def measured_speed() -> tuple[float, str]:
    """Multiply-adds a second in float32 on this machine's CPU, by the best of a few products, and what it is."""
    import numpy as np

    size = 768
    one = np.ones((size, size), np.float32)
    best = math.inf
    for _ in range(5):
        start = time.perf_counter()
        one @ one
        best = min(best, time.perf_counter() - start)
    return size**3 / best, "this machine's CPU, in float32"
