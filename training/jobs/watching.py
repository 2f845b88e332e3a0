"""What a job's run tells: events with figures, how far it is, checkpoints put aside; and how a run is stopped.

A run is stopped between two steps, by an error out of `step`: what was saved last stays, and the run goes on from it.
"""

from __future__ import annotations

import shutil
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from lifecycle.jobs.nouns import Hyperparameters, Job, JobEvent, JobProgress
from training.progress import Pace, Point

KEPT = 3
"""Checkpoints: those of the last epochs, as at OpenAI."""
_BASES = "base_valid_loss"


class Interrupted(Exception):
    """Not an error: somebody has asked for the run to stop."""


@dataclass
class Epoch:
    """What was left at the end of one."""

    step: int
    folder: Path
    metrics: dict[str, float]


@dataclass
class JobWatcher:
    """A `training.progress.Watcher`. The run calls it; the thread that holds the lease reads it."""

    job: Job
    folder: Path
    """Where checkpoints are put aside."""
    hyper: Hyperparameters
    seal: Callable[[], None]
    """Called before anything is published."""
    tell: Callable[[], None] = lambda: None
    """Has the `events` told, also those that are being told just now. Raises `LeaseLost`."""
    stop: threading.Event = field(default_factory=threading.Event)
    events: deque[JobEvent] = field(default_factory=deque)
    """Not told yet."""
    keep: Callable[[int, Path], None] = lambda step, folder: None
    """Called with each checkpoint, once what belongs to it has been put aside."""
    told: Mapping[str, int] = field(default_factory=dict)
    """Figures, and the last step at which the job's events have each: by whichever worker."""
    pace: Pace = field(default_factory=Pace)
    figures: dict[int, dict[str, float]] = field(default_factory=dict)
    """By step, as `figures_of` names them."""
    _step: int = 0
    _total: int = 0
    _finish: datetime | None = None

    def stage(self, text: str) -> None:
        self._check()
        if text == "publishing":
            self.seal()
        self.events.append(JobEvent(message=f"{text[:1].upper()}{text[1:]}"))

    def say(self, text: str) -> None:
        self.events.append(JobEvent(level="warn", message=text))

    def step(self, done: int, total: int) -> None:
        self._step, self._total = done, total
        self.pace.step(done, total)
        if self.pace.seconds is not None:
            self._finish = datetime.now(UTC) + timedelta(seconds=self.pace.seconds)
        self._check()

    def loss(self, kind: str, point: Point) -> None:
        new = figures_of(kind, point.figures)
        self.figures.setdefault(point.step, {}).update(new)
        if not point.step:  # the base's own, before any training
            if "valid_loss" in new and _BASES not in self.told:
                # No step of the training, so none of the events that OpenAI's clients know as metrics.
                message = f"Before training: validation loss={point.loss:.2f}"
                self.events.append(JobEvent(message=message, data={_BASES: new["valid_loss"]}))
            return
        data: dict[str, Any] = {"step": point.step, "total_steps": self._total or None, **new}
        said = "training" if kind == "train" else "validation"
        if all(point.step <= self.told.get(name, 0) for name in new):
            return  # by the worker that had the job
        of = f"/{self._total}" if self._total else ""
        self.events.append(JobEvent(message=f"Step {point.step}{of}: {said} loss={point.loss:.2f}", data=data))

    @property
    def trained(self) -> bool:
        """Whether this job's run took steps, by whichever worker; else an equal job's run stands for it."""
        return bool(self._step or self.job.progress.step or self.epochs())

    def again(self) -> list[JobEvent]:
        """The figures of the equal job's run, which took the steps, as this job's own."""
        events = [JobEvent(message="A job with the same rows and settings has trained this model before")]
        for step in sorted(self.figures):
            told = self.figures[step]
            for said, name in (("training", "train_"), ("validation", "valid_")):
                if step and (loss := told.get(f"{name}loss")) is not None:
                    figures = {key: value for key, value in told.items() if key.removeprefix("full_").startswith(name)}
                    data = {"step": step, "total_steps": max(self.figures), **figures}
                    events.append(JobEvent(message=f"Step {step}: {said} loss={loss:.2f}", data=data))
        return events

    def saved(self, step: int, folder: Path) -> None:
        if "valid_loss" in self.figures.get(step, {}):
            self._put_aside(step, folder)
        self.keep(step, folder)

    def _put_aside(self, step: int, folder: Path) -> None:
        """At the end of an epoch its adapter is put aside: the run removes its own when it is done."""
        from lifecycle.models.peft_config import CONFIG_FILE
        from lifecycle.models.preflight import WEIGHTS_FILE

        aside = self.folder / f"step-{step}"
        part = aside.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        for name in (CONFIG_FILE, WEIGHTS_FILE):
            shutil.copyfile(folder / name, part / name)
        shutil.rmtree(aside, ignore_errors=True)
        part.rename(aside)
        for old in self.epochs()[:-KEPT]:
            shutil.rmtree(old.folder)

    def epochs(self) -> list[Epoch]:
        """Those that were put aside, in order; by whichever worker."""
        folders = {int(path.name.removeprefix("step-")): path for path in self.folder.glob("step-*[0-9]")}
        return [Epoch(step, folders[step], self._at(step)) for step in sorted(folders)]

    def progress(self) -> JobProgress:
        return JobProgress(
            step=self._step, total_steps=self._total, estimated_finish=self._finish, hyperparameters=self.hyper
        )

    def _at(self, step: int) -> dict[str, float]:
        """What is known there; of the training's figures, the last before."""
        before = [told for at, told in sorted(self.figures.items()) if at <= step and "train_loss" in told]
        trained = {name: value for name, value in before[-1].items() if name.startswith("train_")} if before else {}
        return {**trained, **self.figures.get(step, {})}

    def _check(self) -> None:
        if self.stop.is_set():
            raise Interrupted(f"{self.job.id} is to stop")


def figures_of(kind: str, told: Mapping[str, float | None]) -> dict[str, float]:
    """What a run measured at a step, by OpenAI's names: the loss and the share of tokens that it would have written.

    Here every validation is over all of its rows, which OpenAI calls `full_valid_`.
    """
    measured = {"loss": told.get("loss"), "mean_token_accuracy": told.get("mean_token_accuracy")}
    starts = ("train_",) if kind == "train" else ("valid_", "full_valid_")
    return {f"{start}{name}": value for start in starts for name, value in measured.items() if value is not None}
