"""Writes the clinic's datasets, handbook, prompts and few-shot examples, all from one seed.

    python -m examples.clinic.tasks

The three tasks are `triage.py`, `handbook.py` and `digest.py`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

from examples.clinic import digest, handbook, triage
from examples.clinic.rows import SPLITS, Row, Split

HERE = Path(__file__).parent
SIZES: dict[str, dict[Split, int]] = {
    "triage": {"train": 1200, "validation": 120, "test": 200},
    "handbook": {"train": 1200, "validation": 120, "test": 200},
    "digest": {"train": 1200, "validation": 120, "test": 150},
}
SYSTEMS = {"triage": triage.SYSTEM, "handbook": handbook.SYSTEM, "digest": digest.SYSTEM}
SHOTS = 4


def _distinct(draw: Callable[[random.Random, Split], Row], split: Split, count: int, rng: random.Random) -> list[Row]:
    drawn: dict[str, Row] = {}
    while len(drawn) < count:
        row = draw(rng, split)
        drawn.setdefault(row.user, row)
    return list(drawn.values())


def rows(task: str, split: Split) -> list[Row]:
    """The rows of one file; the same every time."""
    rng = random.Random(f"{task}-{split}-1")
    count = SIZES[task][split]
    if task == "handbook":
        return handbook.rows(split, count, rng)
    return _distinct(triage.draw if task == "triage" else digest.draw, split, count, rng)


def shots(task: str, train: list[Row]) -> list[Row]:
    """Few-shot examples from train: both languages, and what a glance would not guess."""
    wishes: dict[str, list[Callable[[Row], bool]]] = {
        "triage": [
            lambda row: (
                row.meta["language"] == "en" and '"symptom"' in row.assistant and "Hello, " not in row.assistant
            ),
            lambda row: row.meta["language"] == "ar" and bool(row.meta["emergency"]),
            lambda row: row.meta["language"] == "en" and bool(row.meta["emergency"]),
            lambda row: row.meta["language"] == "ar" and '"symptom"' in row.assistant and '"soon"' in row.assistant,
        ],
        "handbook": [
            _asks("en", True),
            _asks("ar", True),
            _asks("en", False),
            _asks("ar", True),
        ],
        "digest": [lambda row, kind=kind: row.meta["kind"] == kind for kind in (0, 1, 3, 4)],  # type: ignore[misc]
    }
    chosen: list[Row] = []
    for wish in wishes[task]:
        chosen.append(next(row for row in train if wish(row) and row not in chosen))
    return chosen


def _asks(lang: str, known: bool) -> Callable[[Row], bool]:
    return lambda row: (
        row.meta["language"] == lang and row.meta["answerable"] is known and not row.meta["passages_given"]
    )


def _lines(values: list[dict[str, object]]) -> str:
    return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)


def main() -> None:
    handbook.write_documents(HERE / "handbook")
    (HERE / "prompts").mkdir(exist_ok=True)
    for task, system in SYSTEMS.items():
        folder = HERE / "data" / task
        folder.mkdir(parents=True, exist_ok=True)
        for split in SPLITS:
            drawn = rows(task, split)
            (folder / f"{split}.jsonl").write_text(
                _lines([row.as_json(f"{task}-{split}-{n:04d}", system) for n, row in enumerate(drawn)])
            )
            if split == "train":
                examples: list[dict[str, object]] = [
                    {"user": row.user, "assistant": row.assistant} for row in shots(task, drawn)
                ]
                (HERE / "prompts" / f"{task}.shots.jsonl").write_text(_lines(examples))
            print(f"{task} {split}: {len(drawn)} rows")
        (HERE / "prompts" / f"{task}.txt").write_text(system + "\n")


if __name__ == "__main__":
    main()
