"""LoRA, QLoRA and full fine-tuning of a base of half a billion random weights, on a GPU: at most eight minutes.

    python -m benchmarks.training --device cuda
    python -m benchmarks.training --device cpu --quick    # the same on the tiny base, to see that all works
    python -m benchmarks.training --device cpu --quick --busy    # where the machine has other work

The weights mean nothing; their arithmetic is real. Needs no hub and no network: see the guide of benchmarks for the
packages that a machine without them must be brought.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.bases import TINY, large
from benchmarks.our_run import Ran, run
from benchmarks.tables import markdown

_ROWS = Path(__file__).parents[1] / "examples" / "clinic" / "data" / "handbook"
_LAST_START = 360.0
"""Seconds on a GPU after which no further run begins: the slowest takes less than two minutes."""
RUNS: dict[str, dict[str, Any]] = {
    "lora": {"method": "lora", "optimisation": {"lr": 2e-4}},
    "lora, not packed": {"method": "lora", "optimisation": {"lr": 2e-4, "packing": False}},
    "qlora": {"method": "qlora", "optimisation": {"lr": 2e-4}},
    "full": {"method": "full", "optimisation": {"lr": 2e-5}},
}
HEADER = ("Method", "Tokens a second", "GPU memory", "Peak memory", "Training loss", "Training", "Start to draft")


def table(work: Path, device: str, quick: bool, busy: bool) -> str:
    """The table in Markdown, under the name of what it was measured on. `quick` takes the tiny base and few rows, and
    `busy` is that of `our_run.run`."""
    began = time.monotonic()
    base, rows, few = (TINY, 32, 8) if quick else (large(work), 512, 16)
    lines, card, left_out = [], "", []
    with tempfile.TemporaryDirectory(dir=work, prefix="device-") as folder:
        place = Path(folder)
        for part, count in (("train", rows), ("validation", few)):
            text = (_ROWS / f"{part}.jsonl").read_text(encoding="utf-8").splitlines()[:count]
            (place / f"{part}.jsonl").write_text("\n".join(text) + "\n", encoding="utf-8")
        tokens = _tokens(base, place / "train.jsonl")
        for name, asked in RUNS.items():
            if device == "cuda" and time.monotonic() - began > _LAST_START:
                left_out.append(name)
                continue
            ran = run(place / name.replace(", ", "-"), _configuration(place, base, asked), device, busy=busy)
            card = ran.card
            lines.append(_line(name, ran, tokens))
    told = f"{card or 'the processor'}: {base.name}, {rows} rows, {tokens} tokens, one epoch"
    late = f"\n\nnot measured, for lack of time: {', '.join(left_out)}" if left_out else ""
    return f"{told}\n\n{markdown(HEADER, lines)}{late}"


def _line(name: str, ran: Ran, tokens: int) -> Sequence[str]:
    return [
        f"`{name}`",
        f"{tokens / ran.seconds:.0f}",
        f"{ran.card_mib:.0f} MiB" if ran.card else "",
        f"{ran.peak_mib:.0f} MiB",
        f"{ran.metrics['train_loss']:.3f}",
        f"{ran.seconds:.0f} s",
        f"{ran.whole:.0f} s",
    ]


def _configuration(place: Path, base: Path, asked: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": "measured",
        "base": str(base),
        "data": {"train": str(place / "train.jsonl"), "validation": str(place / "validation.jsonl"), "checks": "off"},
        "method": asked["method"],
        "optimisation": {"epochs": 1, "batch_size": 8, "max_length": 512, **asked["optimisation"]},
    }


def _tokens(base: Path, file: Path) -> int:
    from lifecycle.conversation import Conversation
    from lifecycle.rows.files import Reading
    from training.tokens import ChatTokenizer

    rows = [row for row in Reading(file) if isinstance(row, Conversation)]
    return sum(len(example.input_ids) for example in ChatTokenizer.load(base).examples(rows, "", 512))
