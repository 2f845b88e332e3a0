"""What the trainers are measured on: a base, rows of mixed length, and hyperparameters; and how a result is judged.

The rows are the handbook's questions: some come with passages and some without, in English and Arabic, so that the
longest is four to ten times the shortest.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.bases import TINY
from examples.reviews.base import prepare

ROWS = Path(__file__).parents[1] / "examples" / "clinic" / "data" / "handbook"
_FEW = 8
"""Validation rows that our own run looks at before and after. The others look at none: their defaults."""


@dataclass(frozen=True)
class TrainingTask:
    """One comparison. It is one epoch: ours keeps its best epoch's weights and the others their last, here the same."""

    name: str
    base: Path
    rows: int
    validation: int
    lr: float
    r: int = 8
    alpha: int = 16
    batch_size: int = 8
    max_length: int = 512

    def shorter(self) -> TrainingTask:
        """To see that all works."""
        return replace(self, rows=self.rows // 4, validation=self.validation // 4)

    @property
    def steps(self) -> int:
        """Of the optimiser, by every side."""
        return math.ceil(self.rows / self.batch_size)

    def written(self, folder: Path, side: str, number: int, *, shuffled: bool) -> Path:
        """The file for `trainers.py`, its rows beside it. `number` is the round's: each has an order of its own.

        `shuffled` rows have the order in which `dabt train` takes them, for a side that leaves them in theirs.
        """
        out = folder / self.name / f"{number}-{side}"
        out.mkdir(parents=True)
        seed = 17 + number
        files = {
            "train": _copied("train", self.rows, out, order=self._order(seed) if shuffled else None),
            "few": _copied("validation", _FEW, out),
        }
        body = {
            "base": str(self.base.resolve()),
            **{name: str(file) for name, file in files.items()},
            "out": str(out),
            "seed": seed,
            "epochs": 1,
            **{key: getattr(self, key) for key in ("lr", "r", "alpha", "batch_size", "max_length")},
        }
        file = out / "task.json"
        file.write_text(json.dumps(body), encoding="utf-8")
        return file

    def _order(self, seed: int) -> list[int]:
        from training.exact import EpochOrder

        return list(EpochOrder(range(self.rows), [], seed, group=None, batch_size=self.batch_size))

    def lengths(self) -> list[int]:
        """Tokens of each row that is learnt from, by the base's own template."""
        return [len(example.input_ids) for example in self.examples("train", self.rows)]

    def loss(self, adapter: Path, threads: int | None = None) -> float:
        """Nats a token of the validation rows' answers, the end of the turn included and nothing behind it, in
        float32, by the base with the PEFT folder `adapter`, whoever trained that.
        """
        import torch
        from peft import PeftModel
        from transformers import AutoModelForCausalLM

        if threads is not None:
            torch.set_num_threads(threads)
        whole = AutoModelForCausalLM.from_pretrained(self.base, dtype=torch.float32)
        model = PeftModel.from_pretrained(whole, str(adapter)).eval()
        return mean_loss(model, self.examples("validation", self.validation))

    def examples(self, part: str, count: int) -> list[Any]:
        """The first rows of a part, as they are trained."""
        from lifecycle.conversation import Conversation
        from lifecycle.rows.files import Reading
        from training.tokens import ChatTokenizer

        rows = [row for row in Reading(ROWS / f"{part}.jsonl") if isinstance(row, Conversation)][:count]
        return ChatTokenizer.load(self.base).examples(rows, "", self.max_length)


def mean_loss(model: Any, examples: Sequence[Any]) -> float:
    """Nats a learnt token: of all of them, whichever row they stand in."""
    import torch

    total, learnt = 0.0, 0
    with torch.no_grad():
        for example in examples:
            logits = model(torch.tensor([example.input_ids], device=model.device)).logits[0, :-1].float()
            labels = torch.tensor(example.labels[1:], device=model.device)
            total += float(torch.nn.functional.cross_entropy(logits, labels, reduction="sum"))
            learnt += int((labels != -100).sum())
    return total / learnt


def clinic() -> TrainingTask:
    """On the clinic's tiny base."""
    return TrainingTask("clinic", TINY, rows=320, validation=80, lr=2e-3)


def tasks() -> dict[str, TrainingTask]:
    """By name. Unpacks SmolLM2 where `examples.reviews.base` has not done so yet."""
    return {
        "clinic": clinic(),
        "smollm2": TrainingTask("smollm2", prepare(), rows=40, validation=24, lr=1e-3),
    }


def _copied(part: str, count: int, folder: Path, order: Sequence[int] | None = None) -> Path:
    lines = (ROWS / f"{part}.jsonl").read_text(encoding="utf-8").splitlines()[:count]
    file = folder / f"{part}.jsonl"
    file.write_text("".join(lines[at] + "\n" for at in order or range(count)), encoding="utf-8")
    return file
