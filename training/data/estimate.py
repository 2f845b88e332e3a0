"""What a run over these rows will take: tokens, time and memory, by formulas that are written here.

All of them are estimates, for deciding whether to begin. `python -m benchmarks.estimate` holds them beside runs, and
`python -m benchmarks.training --device cuda` on a GPU. Read `computer.py` for where they hold.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

from lifecycle.models.base import linear_shapes
from lifecycle.version import Frozen
from training.data.batches import Laid
from training.data.computer import Computer


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
    free: int | None = None
    """Bytes that are free there now; None where that is not known."""
    program: int = 0
    """What the process has in memory before there is a model; 0 on a GPU, whose memory it is not in."""
    start: float = 0.0
    """Of the seconds, those before the first step and after the last."""

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

    @property
    def texts(self) -> int:
        """Of one row."""
        return 2 if self.method == "dpo" else 1


PROGRAM = 900 << 20
"""Bytes of Python, torch, transformers, PEFT and TRL, once they have worked."""
START = 20.0
"""Seconds in which they are loaded, the base is looked at, and golden prompts and the adapter are kept."""
A_LAYER = 0.004
"""Seconds that a batch spends in one layer, forward and backward, however few tokens there are."""
FORWARD = 1 / 3
"""Of them, without backward."""
GPU_LAYER = {"lora": 0.0089, "qlora": 0.0108, "full": 0.004, "last_layers": 0.004}
"""The same on a GPU: PyTorch starts its kernels one by one, and a small model's card waits for them. Of the steps that
were measured on an NVIDIA H200 (docs/guides/benchmarks.md)."""
GPU_REACHED = 0.5
"""Of a GPU's speed at products alone, what training reaches. Of the card's peak it is 38 to 43 % in arXiv 2407.21783,
table 4."""
_HALVED = ("lora", "qlora", "dpo", "text")
"""Methods that keep the base in bfloat16 on a GPU, where it learns nothing."""
# What is no product of matrices waits for memory. It is told in multiply-adds that a core does meanwhile.
AN_ELEMENT = 90
"""For each activation forward: norms, activation functions, sums. Backward takes half as much again."""
A_SCORE = (150, 1600)
"""For each attention score of an encoder, its products included: forward, and in training, where some are dropped."""
A_MOVE = 500
"""For each weight that a step moves: gradients zeroed, added up and clipped, and two moments."""


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


def expected(shape: Shape, plan: Plan, training: Laid, validation: Laid, on: Computer) -> Expected:
    """`training` is one epoch, `validation` one pass.

    A token, those of padding too, costs each weight one multiply-add forward, one backward, and one for the gradient of
    each that learns (Kaplan et al., arXiv 2001.08361, section 2.1); DPO goes forward through its reference too.
    Validations go forward: one before the first step, one after each epoch, and a classifier's of the weights that it
    keeps. Activations are those of Korthikanti et al. (arXiv 2205.05198, section 4.1) in bytes of the weights, and the
    output layer's logits with their gradient; the optimiser keeps gradients and two moments in float32, beside an
    adapter's weights. Attention scores are kept where some of them are dropped out, as encoders do; elsewhere they are
    made again. A GPU computes while the next kernels are started: whichever takes longer is its time, and what is no
    product is in `GPU_REACHED`.
    """
    an_epoch = max(1, math.ceil(training.batches / plan.accumulation))
    steps = math.ceil(an_epoch * plan.epochs)
    steps = min(steps, plan.max_steps or steps)
    epochs = min(plan.epochs, steps / an_epoch)
    validations = 1 + math.ceil(epochs) + (not plan.generates)

    output = shape.hidden * shape.vocabulary
    linear = shape.linear if plan.generates else shape.linear - output
    learnt, backward, added = plan.rank * shape.adapted, 1.0, 16
    gradients = 3 * learnt  # an adapter's weights go forward and backward too
    if plan.method == "full":
        learnt, added, gradients = shape.parameters, 12, linear
    elif plan.method == "last_layers":
        backward = min(1.0, plan.layers / shape.layers)
        learnt, added = round(backward * (shape.linear - output)), 12
        gradients = learnt
    forwards = 2 if plan.method == "dpo" else 1

    elements = shape.layers * (9 * shape.hidden + 3 * shape.inner)
    scores = 0 if plan.generates else shape.layers * shape.heads
    an_element, a_score, a_move = (0, (0, 0), 0) if on.gpu else (AN_ELEMENT, A_SCORE, A_MOVE)
    forward = linear + an_element * elements
    a_token = forwards * forward + backward * (linear + 1.5 * an_element * elements) + gradients
    work = epochs * (training.computed * a_token + training.pairs * scores * a_score[1]) + steps * a_move * learnt
    work += validations * (validation.computed * forwards * forward + validation.pairs * scores * a_score[0])
    batches = training.batches * epochs + FORWARD * validation.batches * validations
    started, speed = A_LAYER, on.speed
    if on.gpu:
        started, speed = (
            GPU_LAYER.get(plan.method, GPU_LAYER["lora"]) * (1 + FORWARD * (forwards - 1)),
            on.speed * GPU_REACHED,
        )
    waiting, working = batches * started * shape.layers, work / speed
    seconds = max(waiting, working) if on.gpu else waiting + working
    seconds += validations * _answering(shape, plan, validation, (started, speed))

    each = 2 if on.gpu and plan.generates and plan.method in _HALVED else plan.bytes_per_weight
    weight = 0.5 + 2 / 64 if plan.method == "qlora" else each
    embeddings = shape.parameters - (shape.linear - output)
    weights = weight * (shape.parameters - embeddings) + each * embeddings
    kept = shape.layers * training.widest * (9 * shape.hidden + 3 * shape.inner) * each
    longest = training.widest / max(1, plan.texts * min(plan.batch, training.rows))
    return Expected(
        tokens=round(training.tokens * epochs),
        steps=steps,
        seconds=START + seconds,
        weights=round(weights),
        activations=round(backward * kept)
        + round(scores * training.widest * longest * (2 * each + 1))
        + (3 * training.widest * shape.vocabulary * 4 if plan.generates else 0),
        optimiser=added * learnt,
        machine=on.name,
        free=on.free,
        program=0 if on.gpu else PROGRAM,
        start=START,
    )


def _answering(shape: Shape, plan: Plan, validation: Laid, pace: tuple[float, float]) -> float:
    """Seconds of one validation's answers: each token goes through all layers alone, some rows at once. `pace` is the
    seconds that a batch spends in a layer however few tokens there are, and multiply-adds a second."""
    rows = min(plan.answers, validation.rows)
    at_once = 2 * plan.batch
    tokens = math.ceil(rows / at_once) * plan.answer_tokens
    return tokens * (FORWARD * pace[0] * shape.layers + min(rows, at_once) * shape.linear / pace[1])
