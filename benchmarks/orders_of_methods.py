"""Runs of `dabt train` in which the order of the rows alone differs, for `benchmarks.orders` and `grouping.py`.

`dpo` learns from the handbook's questions over the clinic's base: the better answer is the row's own, the worse that of
another row. `classification` learns to which department a message in English goes, over all-MiniLM-L6-v2. In both the
longest row is four times the shortest, or more.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from benchmarks import methods
from benchmarks.bases import TINY
from benchmarks.our_run import trained
from benchmarks.training_tasks import ROWS
from examples.reviews.base import encoder

BATCH_SIZE = 8
EPOCHS = 2


def losses(method: str, rows: int, validation: int, place: Path) -> Callable[[int, bool], float]:
    """By seed, and whether rows of like length come together: the validation loss of the better epoch of two."""
    raw = configuration(method, rows, validation, place)
    how = {"lr": 2e-4 if method == "classification" else 5e-4, "epochs": EPOCHS}

    def loss(seed: int, together: bool) -> float:
        optimisation = {**raw["optimisation"], **how, "seed": seed, "group_by_length": together}
        with tempfile.TemporaryDirectory(dir=place) as home:
            return trained({**raw, "optimisation": optimisation}, Path(home)).record.metrics["eval_loss"]

    return loss


def configuration(method: str, rows: int, validation: int, place: Path) -> dict[str, Any]:
    """Of a run over so many rows, whose files are written into `place`."""
    written = {"lora": _talks, "dpo": _pairs, "classification": _labelled}[method]
    files = {part: place / f"{method}-{part}.jsonl" for part in ("train", "validation")}
    for (part, file), count in zip(files.items(), (rows, validation), strict=True):
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in written(part)[:count])
        file.write_text("".join(lines), encoding="utf-8")
    return {
        "name": "orders",
        "base": str(encoder() if method == "classification" else TINY),
        "data": {**{part: str(file) for part, file in files.items()}, "checks": "off"},
        "method": {"type": method},
        "optimisation": {"batch_size": BATCH_SIZE, "max_length": 512, "best_by": "loss"},
    }


def _talks(part: str) -> list[dict[str, Any]]:
    lines = (ROWS / f"{part}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def _pairs(part: str) -> list[dict[str, Any]]:
    rows, chance = _talks(part), Random(17)
    answers = sorted({row["messages"][-1]["content"] for row in rows})
    pairs = []
    for row in rows:
        *prompt, good = row["messages"]
        bad = chance.choice([answer for answer in answers if answer != good["content"]])
        pairs.append({"prompt": prompt, "chosen": [good], "rejected": [{"role": "assistant", "content": bad}]})
    return pairs


def _labelled(part: str) -> list[dict[str, Any]]:
    return [message.as_labelled() for message in methods.messages(part)]
