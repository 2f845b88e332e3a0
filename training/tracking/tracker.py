"""The seam of tracking: what a tracker is told of a run, and what it gives to tell it by.

Its settings are what a configuration has under `tracking:`. They decide nothing of a run's result.
"""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from lifecycle.errors import Problem
from lifecycle.version import Frozen


@dataclass(frozen=True)
class RunFacts:
    """What is known of a run when it begins."""

    name: str
    """Of the run: `triage-0123456789ab`."""
    folder: Path
    home: Path
    """Where several runs may keep one store."""
    settings: Mapping[str, str | int | float | bool]
    """The run's configuration, one key a setting: `method.r`."""
    facts: Mapping[str, str]
    """The digests of data and base, and the base's name."""


class TrackedRun(Protocol):
    """One run, open at a tracker. Each call may raise anything: `trackers.py` sees to it."""

    id: str
    """By which the tracker knows it; `Tracker.begin` takes it to go on with the same one."""

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        """So many optimiser steps in, these are true: `train/loss`, `validation/exact_match`. They may be NaN."""

    def end(self, said: Mapping[str, str | float], *, whole: bool) -> None:
        """Nothing more will come. `said` are last facts, such as the version that was published.

        Without `whole` the run was stopped, or failed; it may go on later.
        """


class Tracker(Frozen, ABC, allow_inf_nan=False):
    """A tracker by its settings: the keys of one entry under `tracking:`."""

    type: str
    package: ClassVar[str]
    """What must be importable."""
    extra: ClassVar[str] = "tracking"
    """Of this project's optional dependencies: what brings the package."""

    def problems(self) -> list[Problem]:
        """Why it cannot be told anything, as far as that is known here and now. Asked before training."""
        if importlib.util.find_spec(self.package) is not None:
            return []
        cure = f"pip install 'dabt[{self.extra}]', or leave {self.type} out of tracking"
        return [Problem(f"tracking.{self.type}", f"the package {self.package} is not installed", cure)]

    @abstractmethod
    def begin(self, run: RunFacts, known: str) -> TrackedRun:
        """Open the run there. `known` is the `id` that it had before it was stopped; empty where it is new."""


def flat(settings: Mapping[str, Any], above: str = "") -> dict[str, str | int | float | bool]:
    """Nested settings as one key a setting, `method.r`; lists are written out, and what is None is left out."""
    out: dict[str, str | int | float | bool] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            out |= flat(value, f"{above}{key}.")
        elif isinstance(value, str | int | float | bool):
            out[above + key] = value
        elif value is not None:
            out[above + key] = str(value)
    return out
