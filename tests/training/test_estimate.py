"""What a run is expected to take: its formula, and its counts beside those of the loop that does the work."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.training.test_train import place_at
from training.data import looking
from training.data.batches import Laid
from training.data.computer import Computer
from training.data.estimate import GPU_LAYER, GPU_REACHED, GPU_START, PROGRAM, Expected, expected
from training.data.looking import Task, look
from training.data.planned import Plan, Shape
from training.data.work import (
    A_CHECKPOINT,
    A_LAYER,
    A_LOGIT,
    A_MASKED,
    A_MOVE,
    A_SCORE,
    AN_ELEMENT,
    ENCODED,
    ONCE,
    START,
    Passes,
    Work,
    of_run,
)
from training.progress import Silent
from training.run import learn

HERE = Computer("here", 1e3, a_pass=1e-2, a_start=3.0)
SMALL = Shape(parameters=1000, linear=900, layers=2, hidden=8, inner=16, heads=2, vocabulary=50, adapted=60)
TRAINED = Laid(rows=10, batches=3, tokens=100, computed=130, pairs=1900, widest=80, learnt=70, masked=500)
JUDGED = Laid(rows=4, batches=1, tokens=30, computed=40, pairs=500, widest=40, learnt=20, masked=90)
ONES, LAYERS = 2 * (9 * 8 + 3 * 16), 500
"""Activations of a token in all layers, and weights of theirs."""


def told(method: str = "lora", machine: Computer = HERE, **more: Any) -> Expected:
    plan = Plan(epochs=2, batch=4, accumulation=2, rank=3, method=method, **more)
    return expected(SMALL, plan, TRAINED, JUDGED, machine)


def work(method: str = "lora", **more: Any) -> Work:
    return of_run(SMALL, Plan(epochs=2, batch=4, accumulation=2, rank=3, method=method, **more), TRAINED, JUDGED)


def test_time_is_what_is_counted_at_the_speeds_that_were_measured() -> None:
    run, counted = told(), work()
    assert (run.tokens, run.steps) == (200, 4)  # an epoch of three batches ends in its second step
    assert run.start == START * 3.0
    assert run.seconds - run.start == pytest.approx(
        counted.products / 1e3 + counted.passes * 1e-2 + counted.starts * 3.0
    )
    assert told(machine=replace(HERE, a_start=6.0)).start == 2 * run.start, "a slower machine starts later"
    answered = told(answers=64, answer_tokens=10).seconds - run.seconds
    assert answered == pytest.approx(3 * 10 * (2 * A_LAYER[0] * 3.0 + 4 * 900 / 1e3))  # four rows at once


def test_the_work_of_a_run_is_its_formula() -> None:
    lora = work()
    attention = 2 * (2 + 5) * 1900 * 2 * 8 + 3 * 2 * 500 * 2 * 8
    output = 400 * (2 * 3 * 70 + 3 * 20)  # forward, again, and backward; validations before, between and after
    assert lora.products == 260 * (2 * LAYERS + 3 * 180) + 3 * 40 * (LAYERS + 180) + attention + output
    logits = 50 * (140 * sum(A_LOGIT) + 60 * A_LOGIT[0])
    passes = ONES * (260 * sum(AN_ELEMENT[1:]) + 120 * AN_ELEMENT[0]) + logits
    masks = A_MASKED * (2 * 500 + 3 * 90)
    assert lora.passes == pytest.approx(passes + masks + 4 * A_MOVE * 180)
    layers = 2 * (2 * 3 * sum(A_LAYER[1:]) + 3 * A_LAYER[0])
    assert lora.starts == pytest.approx(ONCE + 2 * A_CHECKPOINT + layers)

    dpo = work("dpo")  # a reference goes forward too, and scores the same tokens
    assert dpo.products - lora.products == 260 * LAYERS + 120 * LAYERS + 2 * 8 * 2 * (2 * 1900 + 3 * 500) + 400 * 200
    assert dpo.starts - lora.starts == pytest.approx(2 * A_LAYER[0] * (2 * 3 + 3))

    full = work("full")
    assert full.products == lora.products + 260 * (LAYERS - 540) - 120 * 180 + 400 * 140
    assert full.passes - lora.passes == pytest.approx(4 * A_MOVE * (1000 - 180))

    labels = work(generates=False)  # the weights that are kept are looked at once more, and there are no logits
    scores = 2 * 2 * (2 * 1900 * sum(A_SCORE[1:]) + 4 * 500 * A_SCORE[0])
    encoded = ONES * (260 * sum(ENCODED[1:]) + 160 * ENCODED[0])
    assert labels.passes == pytest.approx(encoded + scores + A_MASKED * (2 * 500 + 4 * 90) + 4 * A_MOVE * 180)


def test_checkpointing_goes_forward_once_more_and_keeps_what_goes_into_layers() -> None:
    plain, again = (work(checkpointing=which) for which in (False, True))
    assert again.products - plain.products == 2 * (130 * (LAYERS + 180) + 1900 * 2 * 2 * 8)
    assert again.passes - plain.passes == pytest.approx(260 * ONES * AN_ELEMENT[0])
    assert again.starts - plain.starts == pytest.approx(2 * 3 * 2 * A_LAYER[0])
    # For it gradients go through frozen layers too.
    last = [work("last_layers", layers=1, checkpointing=which).products for which in (False, True)]
    backward = 0.5 * (260 * LAYERS + 2 * 5 * 1900 * 2 * 8)
    assert last[1] - last[0] == 2 * (130 * LAYERS + 1900 * 2 * 2 * 8) + backward
    logits, layer = 3 * 80 * 50 * 4, 80 * (9 * 8 + 3 * 16) * 4
    deep = replace(SMALL, layers=9, parameters=4000, linear=3000)
    kept = expected(deep, Plan(batch=4, checkpointing=True), TRAINED, JUDGED, HERE).activations - logits
    assert kept == 9 * 80 * 8 * 4 + layer
    assert told(checkpointing=True).activations <= told().activations


def test_memory_is_its_formula() -> None:
    run = told()
    assert (run.weights, run.optimiser, run.program) == (4000, 16 * 180, PROGRAM)
    logits, layer = 3 * 80 * 50 * 4, 80 * (9 * 8 + 3 * 16) * 4
    assert run.activations == 2 * layer + logits
    assert run.memory == run.program + run.weights + run.activations + run.optimiser
    assert told("full").optimiser == 12 * 1000
    assert told(generates=False).activations == 2 * layer + 2 * 4 * 2 * 20**2 * 9  # 2 layers, 4 rows of 20, 2 heads
    last = told("last_layers", layers=1)
    assert (last.optimiser, last.activations) == (12 * 250, layer + logits)
    assert told("qlora").weights == round(0.53125 * 500 + 4 * 500)
    short = told(max_steps=1)
    assert (short.steps, short.tokens) == (1, 50)
    assert (run.machine, run.free) == ("here", None)


def test_a_gpu_computes_while_kernels_are_started() -> None:
    card = Computer("a card", 1e3, 2**40, gpu=True)
    slow = told(machine=card)
    logits, layer = 3 * 80 * 50 * 4, 80 * (9 * 8 + 3 * 16) * 4
    assert (slow.weights, slow.activations, slow.program, slow.free) == (2000, layer + logits, 0, 2**40)
    assert slow.seconds == pytest.approx(GPU_START + work().products / (1e3 * GPU_REACHED))
    fast = replace(card, speed=1e12)  # it waits for kernels to be started
    a_layer = 2 * GPU_LAYER["lora"]
    assert told(machine=fast).seconds == pytest.approx(GPU_START + (2 * 3 + 3 / 3) * a_layer)
    assert told("dpo", machine=fast).seconds > told(machine=fast).seconds
    again = told(machine=fast, checkpointing=True).seconds - told(machine=fast).seconds
    assert again == pytest.approx(2 * a_layer)
    assert told("full", machine=card).weights == 4000


class Gone(Silent):
    """What the layers and the output layer of a Llama are given while it is trained, by our count."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import torch
        from transformers.models.llama.modeling_llama import LlamaDecoderLayer
        from trl.trainer import utils

        self.tokens: Counter[str] = Counter()
        layer, head = LlamaDecoderLayer.forward, utils._ChunkedLogProbFunction
        forward, backward = head.forward, head.backward

        def through(block: Any, hidden: Any, *args: Any, **kwargs: Any) -> Any:
            self.tokens["layers, training" if block.training else "layers, validation"] += hidden[..., 0].numel()
            return layer(block, hidden, *args, **kwargs)

        def scored(context: Any, hidden: Any, *args: Any) -> Any:
            self.tokens["output"] += len(hidden)
            return forward(context, hidden, *args)

        def again(context: Any, *args: Any) -> Any:
            self.tokens["output, backward"] += len(context.saved_tensors[0])
            return backward(context, *args)

        assert issubclass(head, torch.autograd.Function)
        monkeypatch.setattr(LlamaDecoderLayer, "forward", through)
        monkeypatch.setattr(head, "forward", staticmethod(scored))
        monkeypatch.setattr(head, "backward", staticmethod(again))

    def stage(self, text: str) -> None:
        if text.startswith("training"):
            self.tokens.clear()  # of tries before it


TALKS = [{"prompt": "blue " * n, "completion": "sky " * m} for n, m in ((1, 2), (9, 1), (4, 4), (2, 7), (6, 3))]
PAIRS = [
    {"prompt": row["prompt"], "chosen": row["completion"], "rejected": "no " * at} for at, row in enumerate(TALKS, 1)
]
TEXTS = [{"text": row["prompt"] + row["completion"]} for row in TALKS]
LORA = {"r": 8, "alpha": 16}


@pytest.mark.parametrize(
    ("method", "rows", "how"),
    [
        ({"type": "lora", **LORA}, TALKS, {}),
        ({"type": "lora", **LORA}, TALKS, {"packing": False, "gradient_checkpointing": True}),
        ({"type": "full"}, TALKS, {"accumulation": 2}),
        ({"type": "last_layers", "layers": 1}, TALKS, {"gradient_checkpointing": True}),
        ({"type": "dpo", **LORA}, PAIRS, {"gradient_checkpointing": True}),
        ({"type": "text", **LORA}, TEXTS, {"gradient_checkpointing": True}),
    ],
    ids=lambda value: value.get("type", " ".join(value)) if isinstance(value, dict) else "",
)
def test_a_run_goes_through_as_many_tokens_as_were_counted(
    method: dict[str, Any], rows: list[Any], how: dict[str, Any], jsonl: Callable[..., Path],
    bases: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    counted: list[Any] = []

    def keep(*args: Any) -> Any:
        counted[:] = args
        return expected(*args)

    monkeypatch.setattr(looking, "expected", keep)
    jsonl("train.jsonl", rows)
    jsonl("validation.jsonl", rows[1:3])
    place = place_at(tmp_path, bases())
    told = {**place.raw, "method": method, "prompt": {}, "data": {**place.raw["data"], "checks": "off"}}
    # All rows are one batch, so that none depends on the order in which they come.
    told["optimisation"] = {"epochs": 2, "batch_size": 8, "max_length": 64, "lr": 1e-3, **how}
    (tmp_path / "run.yaml").write_text(json.dumps(told), encoding="utf-8")
    look(Task.of_run(tmp_path / "run.yaml", similarity=None))
    gone = Gone(monkeypatch)
    learn(replace(place, raw=told).job(), place.home, place.shelf, watch=gone)

    shape, plan, training, validation, _ = counted
    passes = Passes.of(shape, plan, training)
    models = 1 + passes.references
    assert gone.tokens == {
        "layers, training": 2 * training.computed * (models + passes.again) * shape.layers,
        "layers, validation": passes.validations * validation.computed * models * shape.layers,
        "output": models * (2 * training.learnt + passes.validations * validation.learnt),
        "output, backward": 2 * training.learnt,
    }
