"""Trains the demo's adapters side by side, one process on each core.

A model this small gains little from a second core, because its matrices are small; two runs at once use both.
"""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing.queues import Queue
from pathlib import Path
from queue import Empty
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TaskID, TextColumn, TimeRemainingColumn

from lifecycle.commands.lines import lines
from lifecycle.home import Home

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from training.progress import Point
    from training.run import TrainResult

HERE = Path(__file__).parent
_events: Queue[tuple[str, str, Any]]


class _Teller:
    """A `training.progress.Watcher` that tells the parent process."""

    def __init__(self, task: str) -> None:
        self._task = task

    def stage(self, text: str) -> None:
        _events.put((self._task, "stage", text))

    def step(self, done: int, total: int) -> None:
        _events.put((self._task, "step", (done, total)))

    def loss(self, kind: str, point: Point) -> None:
        _events.put((self._task, "loss", f"{kind} {point.loss:.3f}"))

    def say(self, text: str) -> None:
        _events.put((self._task, "told", text))

    def saved(self, step: int, folder: Path) -> None: ...


def _begin(events: Queue[tuple[str, str, Any]], cores: Queue[int]) -> None:
    global _events  # noqa: PLW0603 - a pool hands a queue to its processes in no other way
    _events = events
    os.sched_setaffinity(0, {cores.get()})


def _train(task: str, base: str, home: Home, actor: str) -> TrainResult:
    from lifecycle.publishing import Shelf
    from training.config import TrainJob
    from training.run import train

    _events.put((task, "stage", "loading PyTorch"))
    job = TrainJob.load(HERE / "training" / f"{task}.yaml", base=base)
    return train(job, home, Shelf.at(home, actor=actor), watch=_Teller(task))


def _work(task: str) -> float:
    """In proportion to the time that a run takes: the text that it goes through."""
    from training.config import TrainJob

    job = TrainJob.load(HERE / "training" / f"{task}.yaml")
    return sum(path.stat().st_size for path in job.train_paths) * job.config.optimisation.epochs


def train_adapters(
    tasks: tuple[str, ...], base: str, home: Home, actor: str, console: Console, core_is_free: Callable[[], None]
) -> list[TrainResult]:
    """One adapter per task, in the order of `tasks`. `core_is_free` is called when the last run has a core to spare.

    Raises what `training.run.train` raises; runs that have ended stay, and are reused the next time.
    """
    context = multiprocessing.get_context("spawn")
    cores, events = context.Queue(), context.Queue()
    free = sorted(os.sched_getaffinity(0))
    for core in free:
        cores.put(core)
    columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[said]}"))
    pool = ProcessPoolExecutor(min(len(tasks), len(free)), context, initializer=_begin, initargs=(events, cores))
    bars = Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal)
    with pool, bars as progress, lines(console) as said:
        rows = {task: progress.add_task(f"{task}: waiting", total=None, said="") for task in tasks}
        # The longest first, so that the last one to end is a short one.
        longest_first = sorted(tasks, key=_work, reverse=True)
        runs = {task: pool.submit(_train, task, base, home, actor) for task in longest_first}
        left: set[Future[TrainResult]] = set(runs.values())
        told = False
        while left:
            _show(events, progress, rows)
            said.far("; ".join(map(_far, progress.tasks)))
            done, left = wait(left, timeout=0.2, return_when=FIRST_COMPLETED)
            for run in done:
                if run.exception():
                    pool.shutdown(wait=False, cancel_futures=True)
                    return [run.result()]  # raises
            if not told and len(left) < len(free):
                told = True
                core_is_free()
        _show(events, progress, rows)
        return [runs[task].result() for task in tasks]


def _far(task: Task) -> str:
    steps = f", step {task.completed:.0f} of {task.total:.0f}" if task.total else ""
    return f"  {task.description}{steps}" + (f", {task.fields['said']}" if task.fields["said"] else "")


def _show(events: Queue[tuple[str, str, Any]], progress: Progress, rows: dict[str, TaskID]) -> None:
    while True:
        try:
            task, kind, what = events.get_nowait()
        except Empty:
            return
        row = rows[task]
        if kind == "stage":
            progress.update(row, description=f"{task}: {what}")
        elif kind == "step":
            progress.update(row, completed=what[0], total=what[1])
        elif kind == "told":
            progress.console.print(f"{task}: {what}", markup=False, highlight=False)
        else:
            progress.update(row, said=what)
