"""What stands in the place of Ray's run of a job: functions for `by_devices._drive`, each in a process of its own."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

from lifecycle.errors import InvalidConfig, Problem
from training import by_ray
from training.jobs import by_devices

_drive = by_devices._drive


def ends(*_: Any) -> None:
    os._exit(9)


def waits(*_: Any) -> None:
    threading.Event().wait()


def refuses(*told: Any) -> None:
    _with(_refused, *told)


def fails(*told: Any) -> None:
    _with(_deep_down, *told)


def alone(*told: Any) -> None:
    """One process is all of the group."""
    _with(lambda work, given, *_: work(given), *told)


def on_another_machine(told: Any, *others: Any) -> None:
    """One that does not have the home of the worker."""
    told.files.train.unlink()
    alone(told, *others)


def _with(fit: Callable[..., None], *told: Any) -> None:
    by_ray.cluster, by_ray.wait_for_room, by_ray.fit = nullcontext, _at_once, fit  # type: ignore[assignment]
    _drive(*told)


def _at_once(*_: Any) -> None:
    """There is room."""


def _refused(work: Callable[[Mapping[str, Any]], None], *_: Any) -> None:
    raise InvalidConfig("no", [Problem("optimisation.lr", "is too high")])


def _deep_down(*_: Any) -> None:
    raise KeyError("no such row")
