"""How long a load takes, part by part. Read `residency.py` for what a load is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.observability.spans import span


class Stopwatch:
    """How long a load and each part of it took, for the log and the trace of the request that caused it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._started = clock()
        self.parts: dict[str, float] = {}
        """Seconds, by `<part>_seconds`."""

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        began = self._clock()
        with span(name):
            yield
        self.parts[f"{name}_seconds"] = round(self._clock() - began, 4)

    @property
    def total(self) -> float:
        return self._clock() - self._started
