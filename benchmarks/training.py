"""Our training and that of TRL, PEFT and LLaMA-Factory, side by side in one run; and our methods, side by side.

    python -m benchmarks.training                          # the clinic's base and SmolLM2
    python -m benchmarks.training --only clinic --quick    # to see that all works
    python -m benchmarks.training --llama-factory /tmp/llama-factory/bin/python
    python -m benchmarks.training --methods                # every method's quality, time and memory
    python -m benchmarks.training --device cuda            # LoRA, QLoRA and full on a GPU, in eight minutes

Every side gets the same rows in the same order, hyperparameters, seed and number of steps, and keeps its own defaults
otherwise, in a process of its own, by turns. Prints tokens a second, peak memory and validation loss, their ratios with
bars, and writes JSON and a plot. Ends with 1 when a bar does not hold. Read `training_tasks.py` for what is learnt,
`trainers.py` for the sides, `methods.py` and `accelerated.py` for the last two, `orders.py` for what an order decides.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, Literal

import typer
from rich.console import Console

from benchmarks import accelerated, apart, machine, methods, report
from benchmarks.figures import Bar, Figure, ratio
from benchmarks.plan import by_turns
from benchmarks.tables import markdown
from benchmarks.training_tasks import TrainingTask, tasks

FASTER = Bar(at_least=1.3)
"""Tokens a second over the other's."""
AS_GOOD = Bar(at_most=1.02)
"""Validation loss over the other's."""
OURS = ("Dabt", "Dabt bfloat16")
"""Our defaults; and the setting that is there for speed."""
OTHERS = ("TRL", "TRL float32", "PEFT")


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

    @property
    def speed(self) -> float:
        """Tokens a second, without padding."""
        return self.tokens / self.seconds


def main(  # noqa: PLR0913, PLR0917  (one parameter is one option of the command)
    only: Annotated[list[str] | None, typer.Option(help="clinic or smollm2; may be repeated.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often each side trains, by turns.")] = 2,
    quick: Annotated[bool, typer.Option("--quick", help="A quarter of the rows.")] = False,
    others: Annotated[
        list[str] | None, typer.Option("--beside", help=f"Of {', '.join(OTHERS)}; may be repeated. All without.")
    ] = None,
    llama_factory: Annotated[
        Path | None, typer.Option(help="The python of an environment that has LLaMA-Factory.")
    ] = None,
    every_method: Annotated[bool, typer.Option("--methods", help="Measure our methods instead.")] = False,
    device: Annotated[
        Literal["cuda", "cpu"] | None, typer.Option(help="Measure LoRA, QLoRA and full on it instead.")
    ] = None,
    busy: Annotated[
        bool, typer.Option("--busy", help="For a machine with other work: one thread, and its processor time counts.")
    ] = False,
    work: Annotated[Path, typer.Option(help="Where logs and results are kept.")] = Path(".dabt/benchmarks"),
) -> None:
    """Measure, print the table, write JSON and a plot."""
    console = Console()
    work = work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    facts: dict[str, object] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": quick,
        "busy": busy,
        "machine": machine.facts(),
    }
    if every_method or device:
        console.print_json(data=facts)
        print(methods.table(work, quick, busy) if every_method else accelerated.table(work, str(device), quick, busy))
        return
    all_tasks = tasks()
    if unknown := set(only or ()) - set(all_tasks):
        raise typer.BadParameter(f"there is no task {', '.join(sorted(unknown))}", param_hint="--only")
    chosen = [task.shorter() if quick else task for name, task in all_tasks.items() if name in (only or all_tasks)]
    if unknown := set(others or ()) - set(OTHERS):
        raise typer.BadParameter(f"there is no {', '.join(sorted(unknown))}", param_hint="--beside")
    pythons = dict.fromkeys((*OURS, *(others or OTHERS)), Path(sys.executable))
    if llama_factory is not None:
        pythons["LLaMA-Factory"] = llama_factory
    facts |= {"sides": list(pythons), "rounds": rounds}
    console.print_json(data=facts)
    figures: list[Figure] = []
    for task in chosen:
        began = time.monotonic()
        sides = compared(task, pythons, rounds, work, busy=busy)
        lengths = task.lengths()
        print(f"\n{task.name}: {task.rows} rows of {min(lengths)} to {max(lengths)} tokens, {task.steps} steps\n")
        print(beside(sides))
        made = ratios(task.name, sides)
        report.show(made, console)
        console.print(f"[dim]{task.name}: {time.monotonic() - began:.0f} s[/]\n")
        figures += [*absolute(task.name, sides), *made]
    result = work / f"training-{'-'.join(task.name for task in chosen)}.json"
    report.write_json(figures, facts, result)
    report.plot(figures, "Training beside " + ", ".join(list(pythons)[2:]), result.with_suffix(".png"))
    console.print(f"written: {result} and .png")
    if any(figure.passed is False for figure in figures):
        sys.exit(1)


def compared(
    task: TrainingTask, pythons: dict[str, Path], rounds: int, work: Path, *, busy: bool = False
) -> dict[str, list[Measured]]:
    """What every side did, by round. `busy` as `main` has it."""
    tokens = sum(task.lengths())
    with tempfile.TemporaryDirectory(dir=work, prefix="training-") as place:
        turns = [partial(_measured, task, side, python, tokens, Path(place), busy) for side, python in pythons.items()]
        return dict(zip(pythons, by_turns(rounds, *turns), strict=True))


def beside(sides: Mapping[str, Sequence[Measured]]) -> str:
    """A table of the sides: medians of the rounds, and how fast ours were beside each other one. Pure."""
    header = ["", "Tokens a second", "Peak memory", "Validation loss", "Start to adapter"]
    rows = []
    for side, runs in sides.items():
        cells = [
            f"{median(run.speed for run in runs):.0f}",
            f"{median(run.peak_mib for run in runs):.0f} MiB",
            f"{median(run.loss for run in runs):.3f}",
            f"{median(run.whole for run in runs):.0f} s",
        ]
        cells += ["" if side in OURS else _spread(ratio("", "", _speeds(sides[mine]), _speeds(runs))) for mine in OURS]
        rows.append([side, *cells])
    return markdown([*header, *(f"{mine} / it" for mine in OURS)], rows)


def ratios(scenario: str, sides: Mapping[str, Sequence[Measured]]) -> list[Figure]:
    """Of ours over each other one, with their bars. Pure."""
    made = []
    for mine in OURS:
        for side, theirs in sides.items():
            if side in OURS:
                continue
            ours = sides[mine]
            memory = [run.peak_mib for run in ours], [run.peak_mib for run in theirs]
            loss = [run.loss for run in ours], [run.loss for run in theirs]
            made += [
                ratio(scenario, f"{mine} / {side}: tokens a second", _speeds(ours), _speeds(theirs), FASTER),
                ratio(scenario, f"{mine} / {side}: peak memory", *memory),
                ratio(scenario, f"{mine} / {side}: validation loss", *loss, AS_GOOD),
            ]
    return made


def absolute(scenario: str, sides: Mapping[str, Sequence[Measured]]) -> list[Figure]:
    """What every side did, for the JSON file. Pure."""
    made = []
    for side, runs in sides.items():
        made += [
            Figure(scenario, f"{side}: tokens a second", tuple(_speeds(runs))),
            Figure(scenario, f"{side}: peak memory", tuple(run.peak_mib for run in runs), "MiB"),
            Figure(scenario, f"{side}: validation loss", tuple(run.loss for run in runs)),
            Figure(scenario, f"{side}: from start to adapter", tuple(run.whole for run in runs), "s"),
        ]
    return made


def _speeds(runs: Sequence[Measured]) -> list[float]:
    return [run.speed for run in runs]


def _spread(figure: Figure) -> str:
    low, high = figure.spread
    return f"{figure.middle:.2f} [{low:.2f}, {high:.2f}]" if len(figure.rounds) > 1 else f"{figure.middle:.2f}"


def _measured(task: TrainingTask, side: str, python: Path, tokens: int, place: Path, busy: bool) -> Measured:
    number = len(list(place.glob(f"{task.name}/*-{side}")))
    file = task.written(place, side, number, shuffled=side not in OURS)
    out = file.parent
    environment = {"DABT_DEVICE": "cpu", "HF_DATASETS_CACHE": str(out / "datasets")}
    environment |= {"OMP_NUM_THREADS": "1"} if busy else {}
    apart.run(python, "benchmarks.trainers", side, str(file), environment=environment)
    told = json.loads((out / "figures.json").read_text(encoding="utf-8"))
    if told["steps"] != task.steps:
        raise RuntimeError(f"{side} took {told['steps']} steps for {task.rows} rows, not {task.steps}")
    loss = task.loss(out / "adapter", threads=1 if busy else None)
    shutil.rmtree(out / "adapter")
    seconds = told["busy" if busy else "seconds"]
    return Measured(tokens, seconds, told["whole"], told["peak_mib"], loss)


if __name__ == "__main__":
    typer.run(main)
