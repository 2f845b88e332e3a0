"""What a run over these rows will take: tokens, time and memory, by formulas that are written here.

All of them are estimates, for deciding whether to begin. `python -m benchmarks.estimate` holds them beside runs, and
`python -m benchmarks.training --device cuda` on a GPU. Read `computer.py` for where they hold.
"""

from __future__ import annotations

import math

from lifecycle.version import Frozen
from training.data.batches import Laid
from training.data.computer import Computer
from training.data.planned import Plan, Shape
from training.data.work import A_LAYER, START, Moved, Passes, of_run


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


PROGRAM = 900 << 20
"""Bytes of Python, torch, transformers, PEFT and TRL, once they have worked."""
FORWARD = 1 / 3
"""Of what a GPU waits for in a layer, without backward."""
GPU_LAYER = {"lora": 0.0089, "qlora": 0.0108, "full": 0.004, "last_layers": 0.004}
"""Seconds for the same on a GPU: PyTorch starts its kernels one by one, and a small model's card waits for them. Of the
steps that were measured on an NVIDIA H200 (docs/guides/benchmarks.md)."""
GPU_START = 20.0
"""Seconds of the start, beside a GPU."""
GPU_REACHED = 0.5
"""Of a GPU's speed at products alone, what training reaches. Of the card's peak it is 38 to 43 % in arXiv 2407.21783,
table 4."""
_HALVED = ("lora", "qlora", "dpo", "text")
"""Methods that keep the base in bfloat16 on a GPU, where it learns nothing."""


def expected(shape: Shape, plan: Plan, training: Laid, validation: Laid, on: Computer) -> Expected:
    """`training` is one epoch, `validation` one pass.

    Time on a processor is what `work.py` counts, at the speeds that were measured. A GPU computes while the next
    kernels are started: whichever takes longer is its time, and what is no product is in `GPU_REACHED`. Activations are
    those of Korthikanti et al. (arXiv 2205.05198, section 4.1) in bytes of the weights, and the output layer's logits
    with their gradient; with checkpointing, what goes into each layer, and all of one. The optimiser keeps gradients
    and two moments in float32, beside an adapter's weights. Attention scores are kept where some of them are dropped
    out, as encoders do; elsewhere they are made again.
    """
    moved, gone = Moved.of(shape, plan), Passes.of(shape, plan, training)
    work = of_run(shape, plan, training, validation)
    if on.gpu:
        start, speed = GPU_START, on.speed * GPU_REACHED
        a_layer = GPU_LAYER.get(plan.method, GPU_LAYER["lora"])
        waits = gone.epochs * training.batches * (1 + FORWARD * (gone.references + gone.again))
        waits += gone.validations * validation.batches * FORWARD * (1 + gone.references)
        pace = FORWARD * a_layer, speed
        seconds = max(waits * a_layer * shape.layers, work.products / speed)
    else:
        start = START * on.a_start
        pace = A_LAYER[0] * on.a_start, on.speed
        seconds = work.products / on.speed + work.passes * on.a_pass + work.starts * on.a_start
    seconds += gone.validations * _answering(shape, plan, validation, pace)

    each = 2 if on.gpu and plan.generates and plan.method in _HALVED else plan.bytes_per_weight
    weight = 0.5 + 2 / 64 if plan.method == "qlora" else each
    embeddings = shape.parameters - shape.inside
    return Expected(
        tokens=round(training.tokens * gone.epochs),
        steps=gone.steps,
        seconds=start + seconds,
        weights=round(weight * shape.inside + each * embeddings),
        activations=_kept(shape, plan, training, each),
        optimiser=(16 if moved.beside else 12) * moved.weights,
        machine=on.name,
        free=on.free,
        program=0 if on.gpu else PROGRAM,
        start=start,
    )


def _kept(shape: Shape, plan: Plan, training: Laid, each: int) -> int:
    """Bytes of the widest batch from forward to backward, of numbers of `each` bytes."""
    scores = 0 if plan.generates else shape.heads
    longest = training.widest / max(1, plan.texts * min(plan.batch, training.rows))
    a_layer = training.widest * (shape.elements / shape.layers * each + scores * longest * (2 * each + 1))
    layers = Moved.of(shape, plan).backward * shape.layers
    kept = layers * a_layer
    if plan.checkpointing:
        kept = min(kept, layers * training.widest * shape.hidden * each + a_layer)
    return round(kept) + (3 * training.widest * shape.vocabulary * 4 if plan.generates else 0)


def _answering(shape: Shape, plan: Plan, validation: Laid, pace: tuple[float, float]) -> float:
    """Seconds of one validation's answers: each token goes through all layers alone, some rows at once. `pace` is the
    seconds that a batch goes forward through a layer however few tokens there are, and multiply-adds a second."""
    rows = min(plan.answers, validation.rows)
    at_once = 2 * plan.batch
    tokens = math.ceil(rows / at_once) * plan.answer_tokens
    return tokens * (pace[0] * shape.layers + min(rows, at_once) * shape.linear / pace[1])
