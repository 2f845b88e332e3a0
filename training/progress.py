"""What a run tells while it goes on: a bar on a terminal, lines elsewhere, and a log in its folder.

`curves.py` draws the log; `tracking/` tells it elsewhere.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from lifecycle.commands.lines import Lines
from training import processes


@dataclass(frozen=True, slots=True)
class Point:
    """A loss after `step` optimiser steps (`epoch` epochs): mean negative log-likelihood, nats per learnt token."""

    step: int
    epoch: float
    loss: float
    beside: Mapping[str, float] = field(default_factory=dict)
    """What else was measured there: `learning_rate`, `grad_norm`, `tokens_per_second`, the task's own metrics."""

    @property
    def figures(self) -> dict[str, float]:
        """The loss, and what is beside it."""
        return {"loss": self.loss, "epoch": self.epoch, **self.beside}


@dataclass
class Curve:
    """Both losses of a run, in order."""

    train: list[Point] = field(default_factory=list)
    validation: list[Point] = field(default_factory=list)
    """Starts with the base's own loss, at step 0."""


class Watcher(Protocol):
    """Is told what a run does. Anything may implement it.

    What `stage` or `step` raises ends the run there, and it can be gone on with; the others must not raise.
    """

    def stage(self, text: str) -> None:
        """A new part of the run begins."""

    def step(self, done: int, total: int) -> None:
        """`done` of `total` optimiser steps are behind us."""

    def loss(self, kind: str, point: Point) -> None:
        """A `train` or `validation` loss."""

    def say(self, text: str) -> None:
        """Something that a person should read, and that stays to be read."""

    def saved(self, step: int, folder: Path) -> None:
        """A checkpoint is whole; the run removes it in its own time."""


class Silent:
    """A `Watcher` that says nothing."""

    def stage(self, text: str) -> None: ...

    def step(self, done: int, total: int) -> None: ...

    def loss(self, kind: str, point: Point) -> None: ...

    def say(self, text: str) -> None: ...

    def saved(self, step: int, folder: Path) -> None: ...


class Pace:
    """How fast steps go by, and how long the rest takes at that: since the first one seen, whatever came before it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._first: tuple[int, float] | None = None
        self._each: float | None = None
        self._left = 0

    def step(self, done: int, total: int) -> None:
        """`done` of `total` are behind us. Fewer than before, or as many: another run begins."""
        now = self._clock()
        if self._first is None or done <= self._first[0]:
            self._first, self._each = (done, now), None
        else:
            self._each = (now - self._first[1]) / (done - self._first[0])
        self._left = max(total - done, 0)

    @property
    def rate(self) -> str:
        """`2.4 steps/s`, `3.1 s/step`; empty before the second step."""
        if not self._each:
            return ""
        return f"{self._each:.1f} s/step" if self._each > 1 else f"{1 / self._each:.1f} steps/s"

    @property
    def seconds(self) -> float | None:
        """That the rest takes; None before the second step."""
        return self._each * self._left if self._each else None

    @property
    def left(self) -> str:
        """`7:05 left`; empty before the second step."""
        if (rest := self.seconds) is None:
            return ""
        minutes, seconds = divmod(round(rest), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{seconds:02} left" if hours else f"{minutes}:{seconds:02} left"


class Bar(Silent):
    """A `Watcher` with one line on the terminal; use it as a context."""

    def __init__(self, name: str, console: Console | None = None) -> None:
        self._name = name
        self._pace = Pace()
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[said]}"),
        )
        self._progress = Progress(*columns, TimeRemainingColumn(), console=console)
        self._task: TaskID = self._progress.add_task(name, total=None, said="")
        self._losses: dict[str, float] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress.tasks[0].total is None:
            self._progress.remove_task(self._task)  # nothing was trained, so there is no bar to leave
        elif error is None:
            self.stage("done")
        self._progress.stop()

    def stage(self, text: str) -> None:
        self._progress.update(self._task, description=f"{self._name}: {text}")

    def step(self, done: int, total: int) -> None:
        self._pace.step(done, total)
        self._progress.update(self._task, completed=done, total=total, said=self._said())

    def loss(self, kind: str, point: Point) -> None:
        self._losses[kind] = point.loss
        self._progress.update(self._task, said=self._said())

    def say(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _said(self) -> str:
        losses = (f"{name} {loss:.3f}" for name, loss in self._losses.items())
        return "  ".join(filter(None, (self._pace.rate, *losses)))


class Told(Silent):
    """A `Watcher` for where there is no terminal: lines, the newest of them at least every ten seconds."""

    def __init__(self, name: str, lines: Lines, pace: Pace | None = None) -> None:
        self._name, self._lines, self._pace = name, lines, pace or Pace()
        self._stage, self._far = "", ""
        self._losses: dict[str, float] = {}

    def __enter__(self) -> Self:
        self._lines.__enter__()
        self.stage("loading PyTorch")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and self._far:
            self.stage(f"done, {self._far}")
        self._lines.__exit__(kind, error, trace)

    def stage(self, text: str) -> None:
        self._stage = text
        self._lines.step(f"{self._name}: {text}")

    def step(self, done: int, total: int) -> None:
        self._pace.step(done, total)
        losses = (f"{name} {loss:.3f}" for name, loss in self._losses.items())
        self._far = ", ".join((f"step {done} of {total}", *losses))
        parts = (f"{self._name}: {self._stage}", self._far, self._pace.rate, self._pace.left)
        self._lines.far(", ".join(filter(None, parts)))

    def loss(self, kind: str, point: Point) -> None:
        self._losses[kind] = point.loss

    def say(self, text: str) -> None:
        self._lines.step(f"{self._name}: {text}")


def watcher(name: str, console: Console) -> Bar | Told:
    """What suits the place where `console` writes."""
    return Bar(name, console) if console.is_terminal else Told(name, Lines(partial(print, flush=True)))


def keep(curve: Curve, log: Path) -> Callable[[str, Point], None]:
    """A function that adds each point to `curve` and, as one JSON line, to `log`; what is not finite is null there."""

    def add(kind: str, point: Point) -> None:
        (curve.train if kind == "train" else curve.validation).append(point)
        if not processes.is_first():
            return
        figures = {"step": point.step, "epoch": point.epoch, "loss": point.loss, **point.beside}
        line = {name: value if math.isfinite(value) else None for name, value in figures.items()}
        with log.open("a", encoding="utf-8") as out:
            out.write(json.dumps({"kind": kind, **line}, ensure_ascii=False) + "\n")

    return add
