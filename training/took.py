"""How long a run trained, and on what: for what it costs (`evals/cost/`). Nothing of the result depends on it."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lifecycle.manifests import Spent
from training import processes
from training.curves import LOG

_FILE = "took.json"
_CPU = Path("/proc/cpuinfo")


@contextmanager
def timed(folder: Path) -> Iterator[None]:
    """Adds the block's seconds to those of the run's earlier stretches. Of a stretch that was killed, so much counts as
    its log shows."""
    if not processes.is_first():
        yield
        return
    before, began = _before(folder), time.time()
    _keep(folder, before, began)
    try:
        yield
    finally:
        _keep(folder, before + max(0.0, time.time() - began), None)


def taken(folder: Path) -> Spent | None:
    """What the run took, once it has trained; its own note of that is removed. None where nobody timed it."""
    file = folder / _FILE
    if not file.is_file():
        return None
    seconds = _before(folder)
    file.unlink()
    return Spent(seconds=round(seconds, 1), machine=machine())


def keep_so_far(folder: Path, copy: Path) -> None:
    """In a copy that another machine will go on from: no moments, since its clock is another."""
    if (folder / _FILE).is_file():
        _keep(copy, _before(folder), None)


def with_teacher(spent: Spent | None, rows: Iterable[Any]) -> Spent | None:
    """The same with the tokens of a teacher that labelled some of the rows (`dabt data distill` writes them there)."""
    notes = [note for row in rows if isinstance(note := getattr(row, "meta", {}).get("distilled"), dict)]
    prompt, completion = (
        sum(count for note in notes if isinstance(count := note.get(key), int))
        for key in ("prompt_tokens", "completion_tokens")
    )
    if not prompt and not completion:
        return spent
    told = {"teacher_prompt": prompt, "teacher_completion": completion}
    return (spent or Spent()).model_copy(update=told)


def machine() -> str:
    """What trains here, in words."""
    import torch

    if torch.cuda.is_available() and os.environ.get("DABT_DEVICE") != "cpu":
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    lines = _CPU.read_text(encoding="utf-8").splitlines() if _CPU.is_file() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return f"{os.cpu_count()} cores of {model or platform.machine()}"


def _before(folder: Path) -> float:
    with suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        seconds, began = float(kept["seconds"]), kept["began"]
        if began is not None and (log := folder / LOG).is_file():
            seconds += max(0.0, log.stat().st_mtime - float(began))
        return seconds
    return 0.0


def _keep(folder: Path, seconds: float, began: float | None) -> None:
    (folder / _FILE).write_text(json.dumps({"seconds": seconds, "began": began}), encoding="utf-8")
