"""What a run over these rows will take: tokens, time and memory, by formulas that are written here.

All of them are estimates, for deciding whether to begin. `python -m benchmarks.estimate` holds them beside runs.
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
    """With the gradients, and with the weights that a method adds."""
    machine: str
    """What the time holds for."""
    program: int = 0
    """What the process has in memory before there is a model."""

    @property
    def memory(self) -> int:
        return self.program + self.weights + self.activations + self.optimiser


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


PROGRAM = 900 << 20
"""Bytes of Python, torch, transformers, PEFT and TRL, once they have worked."""
START = 20.0
"""Seconds in which they are loaded, the base is looked at, and golden prompts and the adapter are kept."""
A_LAYER = 0.004
"""Seconds that a step spends in one layer, forward and backward, however few tokens there are."""


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


def expected(shape: Shape, plan: Plan, rows: int, tokens: int, longest: int, speed: tuple[float, str]) -> Expected:
    """`tokens` of all rows once, `longest` of a row, `speed` in multiply-adds a second and of which machine.

    A token costs each weight one multiply-add forward, one backward, and one for the gradient of each that learns
    (Kaplan et al., arXiv 2001.08361, section 2.1); DPO goes forward through its reference too. Activations are those of
    Korthikanti et al. (arXiv 2205.05198, section 4.1) in bytes of the weights, and the output layer's logits with their
    gradient; the optimiser keeps gradients and two moments in float32, beside an adapter's weights. Attention scores
    are kept where some of them are dropped out, as encoders do; elsewhere they are made again.
    """
    steps = math.ceil(math.ceil(rows / plan.batch) / plan.accumulation * plan.epochs)
    share = 1.0
    if plan.max_steps:
        share = min(1.0, plan.max_steps / steps)
        steps = min(steps, plan.max_steps)
    seen = tokens * plan.epochs * share
    learnt, backward, added = plan.rank * shape.adapted, 1.0, 16
    if plan.method == "full":
        learnt, added = shape.parameters, 12
    elif plan.method == "last_layers":
        backward = min(1.0, plan.layers / shape.layers)
        learnt, added = round(backward * (shape.linear - shape.hidden * shape.vocabulary)), 12
    forward = 2.0 if plan.method == "dpo" else 1.0
    output = shape.hidden * shape.vocabulary
    linear = shape.linear if plan.generates else shape.linear - output
    work = (forward + backward) * linear + (0 if added == 12 else 2 * learnt) + learnt
    weight = 0.5 + 2 / 64 if plan.method == "qlora" else plan.bytes_per_weight
    embeddings = shape.parameters - (shape.linear - output)
    weights = weight * (shape.parameters - embeddings) + plan.bytes_per_weight * embeddings
    batch = plan.batch * longest
    scores, attention = 0, 0.0
    if not plan.generates:
        scores = shape.layers * plan.batch * shape.heads * longest**2 * (2 * plan.bytes_per_weight + 1)
        attention = (1 + 2 * backward) * 2 * longest * shape.hidden * shape.layers
    per_layer = batch * (9 * shape.hidden + 3 * shape.inner) * plan.bytes_per_weight
    return Expected(
        tokens=round(seen),
        steps=steps,
        seconds=START + steps * plan.accumulation * A_LAYER * shape.layers + (work + attention) * seen / speed[0],
        weights=round(weights),
        activations=round(backward * shape.layers * per_layer)
        + scores
        + (3 * batch * shape.vocabulary * 4 if plan.generates else 0),
        optimiser=added * learnt,
        machine=speed[1],
        program=PROGRAM,
    )


def measured_speed() -> tuple[float, str]:
    """Multiply-adds a second in float32 on this machine's CPU, by the best of some products, and what it is.

    Each is over in two milliseconds, so that one at least is not broken off by what else the machine does.
    """
    import numpy as np

    size = 384
    one = np.ones((size, size), np.float32)
    best = math.inf
    for _ in range(30):
        start = time.perf_counter()
        one @ one
        best = min(best, time.perf_counter() - start)
    return size**3 / best, "this machine's CPU, in float32"
