"""What `dabt data report` expects of a run, beside what the run takes: seconds and memory, method by method.

    python -m benchmarks.estimate [--base DIR] [--rows 240] [--methods "lora;full;…"]

Each run is a process of its own over rows of mixed length, from its start to the draft, and each estimate is made just
before it. Both work in one thread; the run's seconds are those of its core, so that others on the machine count less.
Those before the first batch and after the last, which hardly depend on the rows, stand apart as the start.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.bases import TINY
from examples.reviews.base import encoder
from lifecycle.rows.files import read_rows
from lifecycle.text.script import language
from training.progress import Silent

_ROWS = Path(__file__).parents[1] / "examples" / "clinic" / "data" / "handbook"
METHODS: dict[str, dict[str, Any]] = {
    **{name: {"type": name} for name in ("lora", "full", "last_layers", "merged_lora", "qlora", "dpo", "text")},
    "classification": {"type": "classification"},
    "classification, lora": {"type": "classification", "lora": {}},
    **{f"{name}, checkpointed": {"type": name} for name in ("lora", "full", "dpo")},
}


def configured(method: Mapping[str, Any], base: Path, rows: int, folder: Path, *, checkpointing: bool = False) -> Path:
    """The file of one run, with its rows beside it. Classifiers have the encoder of the reviews as their base."""
    for part, count in (("train", rows), ("validation", max(8, rows // 10))):
        (talks,) = read_rows(_ROWS / f"{part}.jsonl")
        lines = [_row(method["type"], talk.question, talk.answer) for talk in talks[:count]]
        text = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)
        (folder / f"{part}.jsonl").write_text(text, encoding="utf-8")
    told = {
        "name": "estimate",
        "base": str(encoder() if method["type"] == "classification" else base.resolve()),
        "data": {"train": "train.jsonl", "validation": "validation.jsonl", "checks": "off"},
        "method": method,
        "optimisation": {
            "epochs": 1,
            "batch_size": 8,
            "max_length": 512,
            "gradient_checkpointing": checkpointing,
        },
        "tracking": "none",
    }
    file = folder / "run.yaml"
    file.write_text(json.dumps(told), encoding="utf-8")  # JSON is YAML
    return file


def _row(method: str, question: str, answer: str) -> dict[str, Any]:
    if method == "dpo":
        return {"prompt": question, "chosen": answer, "rejected": f"{answer[::-1]}."}
    if method == "classification":
        return {"text": f"{question} {answer}", "label": language(question)}
    return {"text": f"{question}\n{answer}"} if method == "text" else {"prompt": question, "completion": answer}


def expect(file: Path) -> tuple[float, float, int]:
    """(seconds of training, of its start, bytes), by the report's estimate."""
    from training.data.looking import Task, look

    expected = look(Task.of_run(file, similarity=None)).expected
    assert expected is not None
    return expected.seconds - expected.start, expected.start, expected.memory


def run(file: Path) -> tuple[float, float, int]:
    """(seconds of a core that training takes, that all else takes, bytes at most), of this process, which does it."""
    from lifecycle.home import Home
    from lifecycle.publishing import Shelf
    from lifecycle.registry.registry import Registry
    from lifecycle.store.artifacts import ArtifactStore
    from training.config import TrainJob
    from training.run import train

    home = Home.at(file.parent / "home")
    store = ArtifactStore(home.artifacts_url, home.cache)
    stages = Stages()
    shelf = Shelf(Registry.open(home.registry_url), store, actor="benchmark")
    train(TrainJob.load(file), home, shelf, watch=stages)
    used = resource.getrusage(resource.RUSAGE_SELF)
    return stages.trained, used.ru_utime + used.ru_stime - stages.trained, used.ru_maxrss * 1024


class Stages(Silent):
    """How many seconds of a core the stage `training` takes."""

    def __init__(self) -> None:
        self.trained = 0.0
        self._began: float | None = None

    def stage(self, text: str) -> None:
        if self._began is not None:
            self.trained += time.process_time() - self._began
        self._began = time.process_time() if text.startswith("training") else None


def beside(what: str, file: Path) -> tuple[float, float, float]:
    """(seconds of training, of its start, MiB), of a process of its own."""
    command = [sys.executable, "-m", "benchmarks.estimate", "--one", what, str(file)]
    alone = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    output = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, env=alone).stdout
    seconds, start, memory = map(float, output.split()[-3:])
    return seconds, start, memory / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, default=TINY)
    parser.add_argument("--rows", type=int, default=240)
    parser.add_argument("--methods", default=";".join(METHODS), help="names of the table, with ; between them")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        what, file = options.one
        print(*{"run": run, "expect": expect}[what](Path(file)))
        return
    print(f"{'':22}" + "".join(f"{of:>9}{'expected':>9}{'ratio':>7}" for of in ("seconds", "start", "MiB")))
    for name in options.methods.split(";"):
        with tempfile.TemporaryDirectory() as folder:
            saving = name.endswith("checkpointed")
            file = configured(METHODS[name], options.base, options.rows, Path(folder), checkpointing=saving)
            guesses, figures = beside("expect", file), beside("run", file)
            told = (
                f"{figure:>9,.0f}{guess:>9,.0f}{guess / figure:>7.2f}"
                for figure, guess in zip(figures, guesses, strict=True)
            )
            print(f"{name:22}{''.join(told)}", flush=True)


if __name__ == "__main__":
    main()
