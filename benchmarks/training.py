"""Our training and that of TRL, PEFT and LLaMA-Factory, side by side in one run.

    python -m benchmarks.training                          # the clinic's base and SmolLM2
    python -m benchmarks.training --only clinic --quick    # to see that all works
    python -m benchmarks.training --llama-factory /tmp/llama-factory/bin/python

Every side gets the same rows and hyperparameters and keeps its own defaults otherwise, in a process of its own, by
turns. Prints tokens a second, peak memory and validation loss as ratios with their bars, and writes JSON and a plot.
Ends with 1 when a bar does not hold. Read `training_tasks.py` for what is learnt, `trainers.py` for the sides.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks import machine, report
from benchmarks.figures import Bar, Figure, ratio
from benchmarks.plan import by_turns
from benchmarks.training_tasks import TrainingTask, tasks

FASTER = Bar(at_least=1.3)
"""Tokens a second over the other's."""
AS_GOOD = Bar(at_most=1.02)
"""Validation loss over the other's. Two orders of the same rows differ by so much."""
OURS = "dabt"


@dataclass(frozen=True)
class Measured:
    """One training by one side."""

    tokens: int
    seconds: float
    """Of the steps."""
    whole: float
    """Seconds from the first import to the saved adapter."""
    peak_mib: float
    loss: float


def main(
    only: Annotated[list[str] | None, typer.Option(help="clinic or smollm2; may be repeated.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often each side trains, by turns.")] = 2,
    quick: Annotated[bool, typer.Option("--quick", help="A quarter of the rows, one epoch, one round.")] = False,
    llama_factory: Annotated[
        Path | None, typer.Option(help="The python of an environment that has LLaMA-Factory.")
    ] = None,
    work: Annotated[Path, typer.Option(help="Where logs and results are kept.")] = Path(".dabt/benchmarks"),
) -> None:
    """Measure, print the table, write JSON and a plot."""
    console = Console()
    work = work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    all_tasks = tasks()
    if unknown := set(only or ()) - set(all_tasks):
        raise typer.BadParameter(f"there is no task {', '.join(sorted(unknown))}", param_hint="--only")
    chosen = [task.shorter() if quick else task for name, task in all_tasks.items() if name in (only or all_tasks)]
    pythons = {OURS: Path(sys.executable), "TRL": Path(sys.executable), "PEFT": Path(sys.executable)}
    if llama_factory is not None:
        pythons["LLaMA-Factory"] = llama_factory
    rounds = 1 if quick else rounds
    facts: dict[str, object] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "sides": list(pythons),
        "rounds": rounds,
        "quick": quick,
        "machine": machine.facts(),
    }
    console.print_json(data=facts)
    figures: list[Figure] = []
    for task in chosen:
        began = time.monotonic()
        made = compared(task, pythons, rounds, work)
        report.show(made, console)
        console.print(f"[dim]{task.name}: {time.monotonic() - began:.0f} s[/]\n")
        figures += made
    result = work / f"training-{'-'.join(task.name for task in chosen)}.json"
    report.write_json(figures, facts, result)
    report.plot(figures, "Training beside " + ", ".join(list(pythons)[1:]), result.with_suffix(".png"))
    console.print(f"written: {result} and .png")
    if any(figure.passed is False for figure in figures):
        sys.exit(1)


def compared(task: TrainingTask, pythons: dict[str, Path], rounds: int, work: Path) -> list[Figure]:
    """The figures of one task: ours over each of the others."""
    lengths = task.lengths()
    with tempfile.TemporaryDirectory(dir=work, prefix="training-") as place:
        turns = [
            partial(_measured, task, side, python, sum(lengths) * task.epochs, Path(place))
            for side, python in pythons.items()
        ]
        sides = dict(zip(pythons, by_turns(rounds, *turns), strict=True))
    spread = f"{task.rows} rows of {min(lengths)} to {max(lengths)} tokens, {task.epochs} epochs"
    return figures(task.name, sides, spread)


def figures(scenario: str, sides: dict[str, list[Measured]], note: str = "") -> list[Figure]:
    """Ratios of ours, the first of `sides`, over each other one, and what every side did. Pure."""
    mine = sides[OURS]
    made = []
    for side, theirs in sides.items():
        speeds = [run.tokens / run.seconds for run in theirs]
        made += [
            Figure(scenario, f"{side}: tokens a second", tuple(speeds), note=note if side == OURS else ""),
            Figure(scenario, f"{side}: peak memory", tuple(run.peak_mib for run in theirs), "MiB"),
            Figure(scenario, f"{side}: validation loss", tuple(run.loss for run in theirs)),
            Figure(scenario, f"{side}: from start to adapter", tuple(run.whole for run in theirs), "s"),
        ]
    for side, theirs in sides.items():
        if side == OURS:
            continue
        speeds = [run.tokens / run.seconds for run in theirs]
        made += [
            ratio(scenario, f"tokens a second / {side}", [run.tokens / run.seconds for run in mine], speeds, FASTER),
            ratio(scenario, f"peak memory / {side}", [run.peak_mib for run in mine], [run.peak_mib for run in theirs]),
            ratio(scenario, f"validation loss / {side}", _losses(mine), _losses(theirs), AS_GOOD),
        ]
    return made


def _losses(runs: Sequence[Measured]) -> list[float]:
    return [run.loss for run in runs]


def _measured(task: TrainingTask, side: str, python: Path, tokens: int, place: Path) -> Measured:
    number = len(list(place.glob(f"{task.name}/*-{side}")))
    file = task.written(place, side, number)
    run_side(python, side, file)
    out = file.parent
    told = json.loads((out / "figures.json").read_text(encoding="utf-8"))
    loss = task.loss(out / "adapter")
    shutil.rmtree(out / "adapter")
    return Measured(tokens, told["seconds"], told["whole"], told["peak_mib"], loss)


def run_side(python: Path, side: str, file: Path) -> None:
    """In a process of its own, with every core. Raises `RuntimeError` with the end of what it said where it fails."""
    root = Path(__file__).parents[1]
    environment = {name: value for name, value in os.environ.items() if name not in ("OMP_NUM_THREADS", "PYTHONPATH")}
    environment |= {"HF_HUB_OFFLINE": "1", "DABT_DEVICE": "cpu", "HF_DATASETS_CACHE": str(file.parent / "datasets")}
    command = [str(python), "-m", "benchmarks.trainers", side, str(file)]
    ended = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(f"{side} ended with {ended.returncode}:\n{(ended.stdout + ended.stderr)[-3000:]}")


if __name__ == "__main__":
    typer.run(main)
