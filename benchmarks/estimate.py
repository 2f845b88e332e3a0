"""What `dabt data report` expects of a run, beside what the run takes: seconds and memory, method by method.

    python -m benchmarks.estimate [--base DIR] [--rows 240] [--methods lora,full,…]

Each run is a process of its own over rows of mixed length, and each estimate is made just before it,
on the same machine. Time and memory are those of the whole process, from its start to the draft.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.bases import TINY
from lifecycle.rows.files import read_rows
from training.data.estimate import Expected
from training.data.looking import Task, look

_ROWS = Path(__file__).parents[1] / "examples" / "clinic" / "data" / "handbook"
METHODS = ("lora", "full", "last_layers", "merged_lora", "qlora", "dpo", "text")


def configured(method: str, base: Path, rows: int, folder: Path) -> Path:
    """The file of one run, with its rows beside it."""
    for part, count in (("train", rows), ("validation", max(8, rows // 10))):
        (talks,) = read_rows(_ROWS / f"{part}.jsonl")
        lines = [_row(method, talk.question, talk.answer) for talk in talks[:count]]
        text = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)
        (folder / f"{part}.jsonl").write_text(text, encoding="utf-8")
    told = {
        "name": "estimate",
        "base": str(base.resolve()),
        "data": {"train": "train.jsonl", "validation": "validation.jsonl", "checks": "off"},
        "method": {"type": method},
        "optimisation": {"epochs": 1, "batch_size": 8, "max_length": 512},
        "tracking": "none",
    }
    file = folder / "run.yaml"
    file.write_text(json.dumps(told), encoding="utf-8")  # JSON is YAML
    return file


def _row(method: str, question: str, answer: str) -> dict[str, Any]:
    if method == "dpo":
        return {"prompt": question, "chosen": answer, "rejected": f"{answer[::-1]}."}
    return {"text": f"{question}\n{answer}"} if method == "text" else {"prompt": question, "completion": answer}


def guess(file: Path) -> Expected:
    expected = look(Task.of_run(file, similarity=None)).expected
    assert expected is not None
    return expected


def ran(file: Path) -> None:
    """The run, in this process; prints the seconds since `start` and the most memory in bytes."""
    from lifecycle.home import Home
    from lifecycle.publishing import Shelf
    from lifecycle.registry.registry import Registry
    from lifecycle.store.artifacts import ArtifactStore
    from training.config import TrainJob
    from training.run import train

    home = Home.at(file.parent / "home")
    store = ArtifactStore(home.artifacts_url, home.cache)
    train(TrainJob.load(file), home, Shelf(Registry.open(home.registry_url), store, actor="benchmark"))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, default=TINY)
    parser.add_argument("--rows", type=int, default=240)
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--ran", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ran:
        ran(options.ran)
        return
    print(f"{'':14}{'seconds':>9}{'expected':>9}{'ratio':>7}{'MiB':>9}{'expected':>9}{'ratio':>7}")
    for method in options.methods.split(","):
        with tempfile.TemporaryDirectory() as folder:
            file = configured(method, options.base, options.rows, Path(folder))
            told = guess(file)
            start = time.perf_counter()
            command = [sys.executable, "-m", "benchmarks.estimate", "--ran", str(file)]
            output = subprocess.run(command, check=True, text=True, capture_output=True).stdout
            seconds, memory = time.perf_counter() - start, int(output.split()[-1]) / 2**20
            guessed = told.memory / 2**20
            print(
                f"{method:14}{seconds:>9.0f}{told.seconds:>9.0f}{told.seconds / seconds:>7.2f}"
                f"{memory:>9,.0f}{guessed:>9,.0f}{guessed / memory:>7.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
