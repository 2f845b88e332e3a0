"""A small run of each method, for tests that stop it or share it among processes, and a process that does so.

torchrun … -m tests.training.methods_at_work FOLDER CASE…   each case by all processes together; after CASE@STEP it is
                                                            stopped, and goes on as CASE
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tests.training.conftest import COLOURS, chat, import_libraries
from tests.training.test_train import Place, place_at
from tests.training.tiny_bert import make_encoder, sentences
from training import adapter_folder, supervised
from training.progress import Silent

SHAPE = {"r": 8, "alpha": 16}
HOW = {"lr": 1e-2, "epochs": 2, "batch_size": 4, "max_length": 128, "seed": 3, "save_minutes": 0}
ANSWERED = {"best_by": "chrf", "best_by_rows": 5, "best_by_max_tokens": 8}
PAIRS = {"train": "pairs.jsonl", "validation": "more_pairs.jsonl"}
TEXTS = {"train": "texts.jsonl", "validation": "more_texts.jsonl"}
MIXED = [{"path": "train.jsonl", "weight": 2}, {"path": "more.jsonl", "weight": 1}]


@dataclass(frozen=True)
class Case:
    """What a run is told besides what all are told, and when it dies."""

    method: dict[str, Any]
    data: dict[str, Any] | None = None
    how: dict[str, Any] | None = None
    dies: str = "in a step"

    def settings(self) -> dict[str, Any]:
        data = {"data": self.data} if self.data else {}
        prompt = {"prompt": {}} if self.method["type"] in ("text", "classification") else {}
        return {"method": self.method, "optimisation": {**HOW, **(self.how or {})}, **data, **prompt}


CASES = {
    "lora": Case({"type": "lora", **SHAPE}, how={"accumulation": 2}),
    "packing and a mixture": Case(
        {"type": "lora", **SHAPE}, {"train": MIXED, "validation": "validation.jsonl"}, {"packing": True}
    ),
    "early stopping": Case(
        {"type": "lora", **SHAPE}, how={"lr": 0.1, "epochs": 8, "early_stopping": 1}, dies="before the artifact"
    ),
    "max_steps": Case({"type": "lora", **SHAPE}, how={"max_steps": 4}, dies="before the artifact"),
    "qlora": Case({"type": "qlora", **SHAPE}),
    "full": Case({"type": "full"}, how={"lr": 1e-3, "accumulation": 2, **ANSWERED}),
    "last_layers": Case({"type": "last_layers", "layers": 1}, how={"lr": 1e-3}),
    "grouped by length": Case({"type": "lora", **SHAPE}, how={"group_by_length": True, "packing": False}),
    "dpo": Case({"type": "dpo", **SHAPE}, PAIRS, {"accumulation": 2, "group_by_length": True}),
    "text": Case({"type": "text", **SHAPE}, TEXTS),
    "classification": Case(
        {"type": "classification", "class_weights": "balanced"},
        {"train": "moods.jsonl", "validation": "more_moods.jsonl"},
        {"lr": 1e-3, "accumulation": 2, "max_length": 32, "group_by_length": True},
    ),
}


def prepare(folder: Path, base: Path) -> Path:
    """The files of all cases, beside a link to the base."""
    folder.mkdir(parents=True)
    (folder / "base").symlink_to(base)
    make_encoder(folder / "encoder")
    (folder / "system.txt").write_text("أجب بلون واحد", encoding="utf-8")
    for name, count, start in (("train", 21, 0), ("more", 9, 50), ("validation", 7, 100)):
        rows = [
            chat(f"thing {at}? {COLOURS[at % 8]}" + " x" * (at % 5), COLOURS[at % 8]) for at in _numbers(count, start)
        ]
        _write(folder / f"{name}.jsonl", rows)
    for name, count, start in (("pairs", 21, 0), ("more_pairs", 7, 100)):
        _write(folder / f"{name}.jsonl", [_pair(at) for at in _numbers(count, start)])
    for name, count, start in (("texts", 40, 0), ("more_texts", 12, 100)):
        texts = [f"thing {at} is {COLOURS[at % 8]}. " * (1 + at % 5) for at in _numbers(count, start)]
        _write(folder / f"{name}.jsonl", [{"text": text} for text in texts])
    for name, count, start in (("moods", 21, 0), ("more_moods", 7, 100)):
        _write(folder / f"{name}.jsonl", sentences(count, start))
    return folder


def place_of(folder: Path, name: str, home: str) -> tuple[Place, dict[str, Any]]:
    """Where a case runs, in a home of its own, and its settings. `NAME, fsdp` has its weights shared out."""
    base = "encoder" if name == "classification" else "base"
    place = place_at(folder / home / name.replace(" ", "-"), (folder / base).resolve())
    place.raw["prompt"] = {"system": "system.txt"}
    place.folder = folder
    case, _, shared_out = name.partition(", ")
    settings = CASES[case].settings()
    settings["optimisation"]["fsdp"] = bool(shared_out)
    return place, settings


def _numbers(count: int, start: int) -> range:
    return range(start, start + count)


def _pair(at: int) -> dict[str, Any]:
    other = COLOURS[(at + 3) % 8] + " " + "x" * (at % 5)
    return {"prompt": f"thing {at}? {COLOURS[at % 8]}", "chosen": COLOURS[at % 8], "rejected": other}


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


class Dying(Silent):
    """Is gone in the step with this number, without a word."""

    def __init__(self, at: int) -> None:
        self._at = at

    def step(self, done: int, total: int) -> None:
        if done == self._at:
            os._exit(9)


def dies(folder: Path, name: str) -> None:
    """Begin a case and be gone in the middle, with 9."""
    place, settings = place_of(folder, name, "stopped")
    if CASES[name].dies == "before the artifact":
        adapter_folder.save = lambda *_: os._exit(9)  # type: ignore[assignment]
        place.train(**settings)
    else:
        steps = 12 if settings["optimisation"].get("accumulation", 1) == 1 else 6
        place.train(Dying(random.Random(f"{name}/7").randrange(2, steps)), **settings)
    os._exit(0)


class Looking(Silent):
    """Keeps what each checkpoint of a run holds, which is gone afterwards."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def saved(self, step: int, folder: Path) -> None:
        with self._file.open("a") as kept:
            kept.write(f"{step} {' '.join(sorted(path.name for path in folder.iterdir()))}\n")


class StoppedHere(Exception):
    pass


@contextmanager
def stopping(at: int) -> Iterator[None]:
    """Every process of a run stops at the beginning of the step with this number."""
    from transformers import TrainerCallback

    class Stopping(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step + 1 == at:
                raise StoppedHere

    ours = supervised.callbacks
    with patch.object(supervised, "callbacks", lambda *told: [*ours(*told), Stopping()]), suppress(StoppedHere):
        yield


def _by_all(folder: Path, names: list[str]) -> None:
    from training import curves, processes

    import_libraries()
    curves.draw = lambda *_: None  # type: ignore[assignment]
    with processes.together():
        for told in names:
            name, _, at = told.partition("@")
            place, settings = processes.in_turn(lambda name=name: place_of(folder, name, "shared"))
            with stopping(int(at or 0)):
                place.train(Looking(place.home.root / "saved.txt"), **settings)


if __name__ == "__main__":
    _by_all(Path(sys.argv[1]), sys.argv[2:])
