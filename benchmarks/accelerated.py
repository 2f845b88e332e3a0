"""LoRA, QLoRA and full fine-tuning of a base of half a billion random weights on a GPU, beside TRL and PEFT there.

    python -m benchmarks.training --device cuda
    python -m benchmarks.training --device cpu --quick    # the same on the tiny base, to see that all works
    python -m benchmarks.training --device cpu --quick --busy    # where the machine has other work

At most eight minutes. The weights mean nothing; their arithmetic is real. Needs no hub and no network: see the guide of
benchmarks for the packages that a machine without them must be brought.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import apart
from benchmarks.bases import TINY, large
from benchmarks.our_run import run
from benchmarks.tables import markdown
from benchmarks.training_tasks import TrainingTask, mean_loss

_LAST_START = 360.0
"""Seconds on a GPU after which no further run begins: the slowest takes less than two minutes."""
_SEED = 17
"""Of the run's configuration, and of the order in which the others get its rows."""
RUNS: dict[str, dict[str, Any]] = {
    "lora": {"method": "lora", "optimisation": {"lr": 2e-4}},
    "qlora": {"method": "qlora", "optimisation": {"lr": 2e-4}},
    "full": {"method": "full", "optimisation": {"lr": 2e-5}},
    "lora, not packed": {"method": "lora", "optimisation": {"lr": 2e-4, "packing": False}},
}
OTHERS = ("TRL", "TRL, no checkpointing", "PEFT bfloat16")
"""Sides of `trainers.py` that train as `lora` does: TRL's defaults, the same without its gradient checkpointing, and
transformers' Trainer with the base in bfloat16, as ours has it."""
HEADER = (
    "", "Tokens a second", "GPU memory", "Expected", "Peak memory", "Validation loss", "Training", "Start to end",
)  # fmt: skip


@dataclass(frozen=True)
class Line:
    """One training, by us or another."""

    name: str
    last: float
    """Seconds of the last epoch."""
    seconds: float
    """Of all epochs."""
    whole: float
    peak_mib: float
    card: str
    card_mib: float
    expected_mib: float
    """What `dabt data report` would say of the GPU's memory; 0 for the others."""
    loss: float = 0.0


def table(work: Path, device: str, quick: bool, busy: bool) -> str:
    """The table in Markdown, under the name of what it was measured on. `quick` takes the tiny base and few rows, and
    `busy` is that of `our_run.run`."""
    began = time.monotonic()
    rows, few = (48, 8) if quick else (320, 16)
    base = TINY if quick else large(work)
    task = TrainingTask("gpu", base, rows, few, lr=2e-4, r=16, alpha=32, batch_size=16)
    lengths = task.lengths()
    lines: list[Line] = []
    left_out = []
    with tempfile.TemporaryDirectory(dir=work, prefix="device-") as folder:
        place = Path(folder)
        runs = {name: _ours(task, name, device, busy, place) for name in RUNS}
        runs |= {name: _theirs(task, name, device, busy, place) for name in OTHERS}
        for name, made in runs.items():
            if device == "cuda" and time.monotonic() - began > _LAST_START:
                left_out.append(name)
                continue
            lines.append(next(made))
            told = ", ".join(
                f"{what} {cell}" for what, cell in zip(HEADER, _cells(lines[-1], sum(lengths)), strict=True)
            )
            print(f"after {time.monotonic() - began:.0f} s:{told}", flush=True)
    card = next((line.card for line in lines if line.card), "the processor")
    measured = (
        f"{card}: {base.name}, {rows} rows of {min(lengths)} to {max(lengths)} tokens, two epochs of {sum(lengths)}"
    )
    late = f"\n\nnot measured, for lack of time: {', '.join(left_out)}" if left_out else ""
    return f"{measured}\n\n{markdown(HEADER, [_cells(line, sum(lengths)) for line in lines])}{late}"


def _cells(line: Line, tokens: int) -> Sequence[str]:
    return [
        f"`{line.name}`" if line.name in RUNS else line.name,
        f"{tokens / line.last:.0f}",
        f"{line.card_mib:.0f} MiB" if line.card else "",
        f"{line.expected_mib:.0f} MiB" if line.expected_mib else "",
        f"{line.peak_mib:.0f} MiB",
        f"{line.loss:.3f}",
        f"{line.seconds:.1f} s",
        f"{line.whole:.0f} s",
    ]


def _ours(task: TrainingTask, name: str, device: str, busy: bool, place: Path) -> Iterator[Line]:
    asked = RUNS[name]
    file = task.written(place, name.replace(", ", "-"), 0, shuffled=False)
    ran = run(file.parent / "run", _configuration(file.parent, task.base, asked), device, busy=busy)
    loss = _loss(task, ran.artifact, device) if ran.kind == "adapter" else ran.metrics["eval_loss"]
    yield Line(
        name, ran.last, ran.seconds, ran.whole, ran.peak_mib, ran.card, ran.card_mib, _expected(task, asked), loss
    )


def _theirs(task: TrainingTask, name: str, device: str, busy: bool, place: Path) -> Iterator[Line]:
    file = task.written(place, name.replace(", ", "-"), 0, shuffled=True)
    told = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**told, "device": device, "epochs": 2, "seed": _SEED}), encoding="utf-8")
    environment = {"DABT_DEVICE": device, "HF_DATASETS_CACHE": str(file.parent / "datasets")}
    environment |= {"OMP_NUM_THREADS": "1"} if busy else {}
    apart.run(apart.HERE, "benchmarks.trainers", name, str(file), environment=environment)
    took = json.loads((file.parent / "figures.json").read_text(encoding="utf-8"))
    loss = _loss(task, file.parent / "adapter", device)
    names = ("last", "seconds", "whole", "peak_mib", "card", "card_mib")
    yield Line(name, **{key: took[key] for key in names}, expected_mib=0.0, loss=loss)


def _loss(task: TrainingTask, adapter: Path, device: str) -> float:
    """Nats a token of the validation rows, in float32, whoever trained the adapter."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    whole = AutoModelForCausalLM.from_pretrained(task.base, dtype=torch.float32).to(device)
    loss = mean_loss(
        PeftModel.from_pretrained(whole, str(adapter)).eval(), task.examples("validation", task.validation)
    )
    del whole
    if device == "cuda":
        torch.cuda.empty_cache()
    return loss


def _expected(task: TrainingTask, asked: Mapping[str, Any]) -> float:
    """MiB of the GPU's memory, by the formulas of `dabt data report`."""
    from training.data.batches import lay
    from training.data.computer import Computer
    from training.data.estimate import expected
    from training.data.planned import Plan, Shape

    training = lay([Counter(task.lengths())], [task.rows], task.batch_size)
    plan = Plan(epochs=2.0, batch=task.batch_size, method=asked["method"])
    told = expected(Shape.of(task.base), plan, training, lay([], [], task.batch_size), Computer("", 1.0, gpu=True))
    return told.memory / 2**20


def _configuration(place: Path, base: Path, asked: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": "measured",
        "base": str(base),
        "data": {"train": str(place / "train.jsonl"), "validation": str(place / "validation.jsonl"), "checks": "off"},
        "method": asked["method"],
        "golden_prompts": 1,
        "optimisation": {
            "epochs": 2, "batch_size": 16, "max_length": 512, "warmup": 0.0, "seed": _SEED, **asked["optimisation"],
        },
    }  # fmt: skip
