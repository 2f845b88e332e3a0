"""TensorBoard: event files in the run's folder, with no server. `tensorboard --logdir .dabt/runs` shows all runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from training.tracking.tracker import RunFacts, TrackedRun, Tracker

FOLDER = "tensorboard"


class TensorBoard(Tracker):
    """The default."""

    type: Literal["tensorboard"] = "tensorboard"
    package: ClassVar[str] = "tensorboard"

    def begin(self, run: RunFacts, known: str) -> TrackedRun:
        from torch.utils.tensorboard import SummaryWriter

        writer = SummaryWriter(str(run.folder / FOLDER))
        if not known:
            rows = [f"| {key} | {value} |" for key, value in {**run.facts, **run.settings}.items()]
            writer.add_text("configuration", "\n".join(["| setting | value |", "|---|---|", *rows]))
        return _EventFiles(writer)


class _EventFiles:
    id = FOLDER

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()  # so that a page that is open shows it, and a kill loses nothing

    def end(self, said: Mapping[str, str | float], *, whole: bool) -> None:
        for name, value in said.items():
            if isinstance(value, str):
                self._writer.add_text(name, value)
        self._writer.close()
