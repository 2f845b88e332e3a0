"""What a run does, counted: multiply-adds of products, passes over numbers in memory, and starts.

`computer.py` measures the seconds that one of each takes, and `estimate.py` puts both together. Counts of products,
tokens and how often a model is gone through follow from the method. Those of passes and starts were taken once, on one
core of an Intel Xeon, and are assumed of other processors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from training.data.batches import Laid
from training.data.planned import Plan, Shape

START = 8000
"""Starts in which libraries are loaded, a small base is looked at, and golden prompts and the adapter are kept."""
ONCE = 1000
"""In which a trainer is made ready, and its first batch finds nothing warm."""
A_CHECKPOINT = 250
"""In which one is kept, after each epoch."""
# What follows is of three ways through a layer: forward alone, forward with what backward will need, and backward.
A_LAYER = (1.2, 1.6, 1.2)
"""Starts that a batch spends in one layer, however few tokens there are."""
# What is no product of matrices waits for memory, in passes.
AN_ELEMENT = (8.0, 12.0, 13.0)
"""For each activation of a decoder: norms, positions, activation functions, sums."""
ENCODED = (3.0, 7.5, 5.5)
"""The same of an encoder, which drops some of them in training."""
A_SCORE = (1.0, 37.0, 10.0)
"""For each attention score of an encoder, as above: its kernel keeps them where some are dropped."""
A_LOGIT = (50.0, 74.0)
"""For each logit of a token that is learnt: its probability and the figures beside it; and its gradient, for which it
is computed again (TRL's `ChunkedLogProbFunction`)."""
A_MASKED = 30.0
"""For each pair of a packed line's tokens, once a forward: whether one sees the other."""
A_MOVE = 28.0
"""For each weight that a step moves: gradients zeroed, added up and clipped, and two moments."""
_ALONE, _KEPT, _BACK = range(3)


@dataclass(frozen=True)
class Work:
    """Counts of the three."""

    products: float = 0.0
    passes: float = 0.0
    starts: float = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(self.products + other.products, self.passes + other.passes, self.starts + other.starts)

    def __rmul__(self, times: float) -> Work:
        return Work(times * self.products, times * self.passes, times * self.starts)


@dataclass(frozen=True)
class Moved:
    """What a method learns."""

    weights: int
    """That learn."""
    beside: int
    """Of them, those of an adapter, which are computed beside the base's."""
    gradients: int
    """Multiply-adds of a token backward, beside those of the activations."""
    backward: float
    """Share of the layers that is gone through backward."""

    @classmethod
    def of(cls, shape: Shape, plan: Plan) -> Moved:
        if plan.method == "full":
            return cls(shape.parameters, 0, shape.inside, 1.0)
        if plan.method == "last_layers":
            share = min(1.0, plan.layers / shape.layers)
            # For checkpointing the embeddings are to have gradients, so backward goes on through the frozen layers.
            backward = 1.0 if plan.checkpointing else share
            return cls(round(share * shape.inside), 0, round(share * shape.inside), backward)
        weights = plan.rank * shape.adapted
        return cls(weights, weights, 2 * weights, 1.0)


@dataclass(frozen=True)
class Passes:
    """How often a run goes through what it has."""

    steps: int
    epochs: float
    validations: int
    """One before the first step, one after each epoch, and a classifier's of the weights that it keeps."""
    references: int
    """Models besides the one that learns: DPO has one."""
    again: int
    """How often checkpointing goes through all layers forward once more."""

    @classmethod
    def of(cls, shape: Shape, plan: Plan, training: Laid) -> Passes:
        an_epoch = max(1, math.ceil(training.batches / plan.accumulation))
        steps = math.ceil(an_epoch * plan.epochs)
        steps = min(steps, plan.max_steps or steps)
        epochs = min(plan.epochs, steps / an_epoch)
        return cls(
            steps=steps,
            epochs=epochs,
            validations=1 + math.ceil(epochs) + (not plan.generates),
            references=1 if plan.method == "dpo" else 0,
            again=int(plan.checkpointing),
        )


def of_run(shape: Shape, plan: Plan, training: Laid, validation: Laid) -> Work:
    """`training` is one epoch, `validation` one pass, both on a processor.

    A token, those of padding too, costs each weight of a layer one multiply-add forward, one backward, and one for the
    gradient of each that learns (Kaplan et al., arXiv 2001.08361, section 2.1); two tokens that are compared, two for
    each number of their vectors forward, and five backward. DPO goes forward through its reference too, and
    checkpointing forward again. The output layer sees the learnt tokens alone, and computes their logits again for
    their gradient.
    """
    moved, gone = Moved.of(shape, plan), Passes.of(shape, plan, training)
    models = 1 + gone.references
    step = models * _scored(shape, plan, training) + _backward(shape, plan, training)
    # What is computed again was not kept the first time.
    step += _layers(shape, plan, training, _KEPT)
    step += (gone.again + gone.references) * _layers(shape, plan, training, _ALONE)
    step += Work(training.computed * moved.beside * (1 + gone.again))
    judged = models * (_layers(shape, plan, validation, _ALONE) + _scored(shape, plan, validation))
    judged += Work(validation.computed * moved.beside)
    beside = Work(passes=gone.steps * A_MOVE * moved.weights, starts=ONCE + math.ceil(gone.epochs) * A_CHECKPOINT)
    return gone.epochs * step + gone.validations * judged + beside


def _layers(shape: Shape, plan: Plan, laid: Laid, way: int) -> Work:
    """Once through all of them, without what is learnt."""
    an_element, a_score = (AN_ELEMENT[way], 0.0) if plan.generates else (ENCODED[way], A_SCORE[way])
    compared = 5 if way == _BACK else 2
    return Work(
        laid.computed * shape.inside + compared * laid.pairs * shape.layers * shape.hidden,
        laid.computed * shape.elements * an_element + laid.pairs * shape.layers * shape.heads * a_score,
        laid.batches * shape.layers * A_LAYER[way],
    )


def _backward(shape: Shape, plan: Plan, laid: Laid) -> Work:
    moved = Moved.of(shape, plan)
    logits = _logits(shape, plan, laid)
    output = logits * shape.hidden * (3 if plan.method == "full" else 2)
    beside = Work(laid.computed * moved.gradients + output, logits * A_LOGIT[1])
    return moved.backward * _layers(shape, plan, laid, _BACK) + beside


def _scored(shape: Shape, plan: Plan, laid: Laid) -> Work:
    """The output layer, and the masks of packed lines."""
    logits = _logits(shape, plan, laid)
    return Work(logits * shape.hidden, logits * A_LOGIT[0] + laid.masked * A_MASKED)


def _logits(shape: Shape, plan: Plan, laid: Laid) -> float:
    return laid.learnt * shape.vocabulary if plan.generates else 0.0
