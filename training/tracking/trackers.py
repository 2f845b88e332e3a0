"""A run's trackers together: each is told what the run tells, and none can cost the run anything.

A tracker that raises is told nothing more, and that is said once. A run that goes on after it was stopped goes on in
the same run of each tracker, and no step is told twice: how far each was told is written down before it is told.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from training.progress import Point, Watcher
from training.tracking.mlflow import MLflow
from training.tracking.tensorboard import TensorBoard
from training.tracking.tracker import RunFacts, TrackedRun, Tracker
from training.tracking.wandb import Wandb

AnyTracker = TensorBoard | MLflow | Wandb
_KINDS: Mapping[str, type[AnyTracker]] = {"tensorboard": TensorBoard, "mlflow": MLflow, "wandb": Wandb}
_TOLD = "tracked.json"


def as_settings(value: Any) -> Any:
    """What stands under `tracking:` as a list of mappings: a name, a mapping with its type, a list of them, or none.

    Raises `ValueError` for a name that is no tracker, and for one that comes twice, to the same place.
    """
    entries = value if isinstance(value, list | tuple) else [] if value in (None, False, "none") else [value]
    made = [{"type": entry} if isinstance(entry, str) else entry for entry in entries]
    names = [entry.get("type") if isinstance(entry, Mapping) else getattr(entry, "type", None) for entry in made]
    if unknown := [name for name in names if name not in _KINDS]:
        raise ValueError(f"{unknown[0]!r} is no tracker; write {', '.join(_KINDS)}, a list of them, or none")
    # Several of wandb's are several runs there, in projects of their own; of the others one run is all there is.
    places = [entry if name == "wandb" else name for entry, name in zip(made, names, strict=True)]
    if any(place in places[:at] for at, place in enumerate(places)):
        raise ValueError("a tracker is named twice")
    return made


class Trackers:
    """A `Watcher` between a run and the one that watches it. Use it as a context, which closes them all."""

    def __init__(self, trackers: Sequence[Tracker], watch: Watcher) -> None:
        self._trackers, self._watch = trackers, watch
        self._open: dict[str, TrackedRun] = {}
        self._marks: dict[str, dict[str, Any]] = {}
        self._folder = Path()
        self._said: dict[str, str | float] = {}
        self._whole = False
        self.notes: list[str] = []
        """Which tracker was given up, and why."""

    def begin(self, run: RunFacts) -> None:
        """Open the run at every tracker, or go on there. Of several processes, the first is to."""
        self._folder = run.folder
        self._marks = _read(run.folder / _TOLD)
        for at, tracker in enumerate(self._trackers):
            before = sum(other.type == tracker.type for other in self._trackers[:at])
            name = f"{tracker.type} {before + 1}" if before else tracker.type
            self._safely(name, partial(self._begin, name, tracker, run))

    def _begin(self, name: str, tracker: Tracker, run: RunFacts) -> None:
        mark = self._marks.setdefault(name, {"id": "", "told": {}})
        self._open[name] = opened = tracker.begin(run, mark["id"])
        mark["id"] = opened.id
        self._write()

    def done(self, figures: Mapping[str, float], **said: str) -> None:
        """The run is whole. `said` is what came of it, such as the version that was published."""
        self._whole = True
        self._said = {**said, **{f"final/{name}": value for name, value in figures.items()}}

    def stage(self, text: str) -> None:
        self._watch.stage(text)

    def say(self, text: str) -> None:
        self._watch.say(text)

    def saved(self, step: int, folder: Path) -> None:
        self._watch.saved(step, folder)

    def step(self, done: int, total: int) -> None:
        self._watch.step(done, total)

    def loss(self, kind: str, point: Point) -> None:
        self._watch.loss(kind, point)
        figures = {f"{kind}/{name}": value for name, value in point.figures.items()}
        for name in list(self._open):
            self._safely(name, partial(self._tell, name, kind, point.step, figures))

    def _tell(self, name: str, kind: str, step: int, figures: Mapping[str, float]) -> None:
        told = self._marks[name]["told"]
        if step > told.get(kind, -1):
            told[kind] = step
            self._write()
            self._open[name].figures(step, figures)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name, run in list(self._open.items()):
            self._safely(name, partial(run.end, self._said, whole=self._whole))

    def _safely(self, name: str, do: Callable[[], None]) -> None:
        """Where it raises, this tracker is told nothing more."""
        try:
            do()
        except Exception as error:  # a tracker's own code, and its server's, may raise anything
            self._open.pop(name, None)
            why = (str(error).splitlines() or [""])[0][:200] or type(error).__name__
            self.notes.append(f"{name} is told nothing more of this run: {why}")
            self._watch.say(self.notes[-1])

    def _write(self) -> None:
        part = self._folder / f"{_TOLD}.part"
        part.write_text(json.dumps(self._marks), encoding="utf-8")
        part.replace(self._folder / _TOLD)


def _read(path: Path) -> dict[str, dict[str, Any]]:
    try:
        marks = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return marks if isinstance(marks, dict) else {}
