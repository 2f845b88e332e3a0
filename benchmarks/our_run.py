"""One `dabt train` in a process of its own, with what it took.

    python -m benchmarks.our_run FOLDER

FOLDER holds `configuration.json`, and gets the run, its home and `figures.json`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import apart
from benchmarks.training_clock import Clock, card_name, peak_mib

if TYPE_CHECKING:
    from training.run import TrainResult


@dataclass(frozen=True)
class Ran:
    """What a run took and left."""

    artifact: Path
    """An adapter's folder, whole weights or a classifier."""
    kind: str
    metrics: dict[str, float]
    """The run's own."""
    steps: int
    seconds: float
    """Of the steps."""
    last: float
    """Of those of the last epoch, by the clock."""
    whole: float
    """Seconds from the process's start to the draft."""
    peak_mib: float
    card: str
    """The GPU's name; empty on a CPU."""
    card_mib: float
    """The most of its memory that training took."""


def run(folder: Path, configuration: Mapping[str, Any], device: str = "cpu", *, busy: bool = False) -> Ran:
    """Train in `folder`, which is made; `busy` has one thread, and counts its processor time as the seconds.

    Raises `RuntimeError` with what the process said where it fails.
    """
    folder.mkdir(parents=True)
    (folder / "configuration.json").write_text(json.dumps(configuration), encoding="utf-8")
    environment = {"DABT_DEVICE": device, **({"OMP_NUM_THREADS": "1"} if busy else {})}
    apart.run(Path(sys.executable), "benchmarks.our_run", str(folder), environment=environment)
    told = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
    wall, of_processor = told.pop("wall"), told.pop("of_processor")
    return Ran(**{**told, **(of_processor if busy else wall), "artifact": Path(told["artifact"])})


def trained(configuration: Mapping[str, Any], folder: Path) -> TrainResult:
    """In this process, in a home of its own."""
    from lifecycle.home import Home
    from lifecycle.publishing import Shelf
    from training.config import TrainJob
    from training.run import train

    root = folder / "home"
    place = Home(root=root, registry_url=f"sqlite:///{root / 'registry.db'}", artifacts_url=str(root / "artifacts"))
    return train(TrainJob.from_mapping(configuration, folder), place, Shelf.at(place))


def main() -> None:
    """Train, and write `figures.json`."""
    folder = Path(sys.argv[1])
    clock, began = Clock(), time.perf_counter()
    result = trained(json.loads((folder / "configuration.json").read_text(encoding="utf-8")), folder)
    figures = {
        "artifact": str(result.folder / result.record.kind),
        "kind": result.record.kind,
        "metrics": result.record.metrics,
        "steps": clock.steps,
        "wall": {"seconds": clock.seconds, "whole": time.perf_counter() - began},
        "of_processor": {"seconds": clock.busy, "whole": time.process_time()},
        "last": clock.last,
        "peak_mib": peak_mib(),
        "card": card_name(),
        "card_mib": clock.card_mib,
    }
    (folder / "figures.json").write_text(json.dumps(figures), encoding="utf-8")


if __name__ == "__main__":
    main()
