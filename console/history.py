"""What the service did in the last hours, kept in the process: the screen Watch needs no Prometheus.

Every ten seconds the telemetry's own series are read; what has come since the last reading is a tick. An hour of ticks
is kept, and a day of their sums over two minutes. Of one tick the busiest versions are told apart, the rest is summed
up, so the memory is bounded. A quantile is of one tick's own histogram, or of several ticks' together: means of
quantiles mean nothing. Where nothing was measured there is no number, and no line is drawn.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import structlog

from service.observability.counted import NOTHING, Counted
from service.observability.telemetry import Telemetry

STEP, COARSE_STEP = 10.0, 120.0
"""Seconds of a tick."""
_FINE, _COARSE = 360, 720
"""Ticks that are kept: an hour, and a day."""
MOST_VERSIONS = 20
"""Told apart in one tick."""
REST = "other"
"""The others, and what the telemetry itself does not tell apart."""
_LATE = 2.5
"""So many times its length, a tick is taken for a pause in which nobody looked."""
WINDOWS = {"15m": 900, "1h": 3600, "6h": 21600, "24h": 86400}
"""Seconds, by the word in the address."""
_WORST: dict[str, Callable[[Sequence[float]], float]] = {"engine_up": min, "ready": min, "registry_age_seconds": max}
"""How several readings of a gauge become one; their mean otherwise."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Tick:
    at: float
    """Its end, in seconds since 1970."""
    seconds: float
    """Its length by the counting clock."""
    versions: dict[str, Counted]
    """Of those that were asked."""
    gauges: dict[str, float]

    @property
    def total(self) -> Counted:
        return together(self.versions.values())

    def of(self, version: str) -> Counted:
        return self.versions.get(version, NOTHING) if version else self.total


class History:
    """Belongs to one event loop; `take` is told of readings, by `run` as a rule."""

    def __init__(self) -> None:
        self._fine: deque[Tick] = deque(maxlen=_FINE)
        self._coarse: deque[Tick] = deque(maxlen=_COARSE)
        self._since_coarse: list[Tick] = []
        self._before: tuple[float, dict[str, Counted]] | None = None
        self._task: asyncio.Task[None] | None = None
        self.counted: dict[str, Counted] = {}
        """By version, since the service began."""

    def start(self, telemetry: Telemetry) -> None:
        self._task = asyncio.create_task(self._run(telemetry), name="history")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self, telemetry: Telemetry) -> None:
        while True:
            try:
                gauges = telemetry.gauges()
                # In a thread: with all places of the telemetry taken it is some milliseconds' work.
                self.take(await asyncio.to_thread(telemetry.counted), gauges, time.time(), time.monotonic())
            except Exception as error:  # a reading less is a gap, and not the end of the history
                log.warning("the series cannot be read for the history", error=f"{type(error).__name__}: {error}")
            await asyncio.sleep(STEP)

    def take(self, counts: dict[str, Counted], gauges: dict[str, float], at: float, clock: float) -> None:
        """One reading, at the moment `at` and at `clock` of the counting clock. The first has nothing before it."""
        before, self._before, self.counted = self._before, (clock, counts), counts
        if before is None:
            return
        come = {version: told - before[1].get(version, NOTHING) for version, told in counts.items()}
        busy = sorted(((v, c) for v, c in come.items() if c != NOTHING), key=lambda pair: -pair[1].requests)
        kept = dict(busy[:MOST_VERSIONS])
        for _, rest in busy[MOST_VERSIONS:]:
            kept[REST] = kept.get(REST, NOTHING) + rest
        tick = Tick(at, clock - before[0], kept, gauges)
        self._fine.append(tick)
        self._since_coarse.append(tick)
        if sum(tick.seconds for tick in self._since_coarse) >= COARSE_STEP - STEP / 2:
            self._coarse.append(joined(self._since_coarse))
            self._since_coarse = []

    @property
    def newest(self) -> float:
        """The moment of the last tick; 0 before there is one."""
        return self._fine[-1].at if self._fine else 0.0

    def ticks(self, window: str) -> list[Tick]:
        """Of the last `window`, oldest first; past an hour the coarse ones."""
        seconds = WINDOWS[window]
        since = self.newest - seconds
        if seconds <= _FINE * STEP:
            return [tick for tick in self._fine if tick.at > since]
        rest = [joined(self._since_coarse)] if self._since_coarse else []
        return [tick for tick in [*self._coarse, *rest] if tick.at > since]


def together(counts: Iterable[Counted]) -> Counted:
    return reduce(add, counts, NOTHING)


def joined(ticks: Sequence[Tick]) -> Tick:
    """Several that follow each other, as one. A pause among them is a part of it."""
    versions: dict[str, Counted] = {}
    for tick in ticks:
        for version, told in tick.versions.items():
            versions[version] = versions.get(version, NOTHING) + told
    busy = sorted(versions, key=lambda version: (version == REST, -versions[version].requests))
    kept = {version: versions[version] for version in busy[:MOST_VERSIONS]}
    if rest := [versions[version] for version in busy[MOST_VERSIONS:]]:
        kept[REST] = kept.get(REST, NOTHING) + together(rest)
    gauges: dict[str, float] = {}
    for name in ticks[-1].gauges:
        values = [tick.gauges[name] for tick in ticks if name in tick.gauges]
        gauges[name] = _WORST[name](values) if name in _WORST else sum(values) / len(values)
    return Tick(ticks[-1].at, sum(tick.seconds for tick in ticks), kept, gauges)


GAUGES = ("requests_in_flight", "waiting_for_slot", "slots_taken", "resident_adapters", "registry_age_seconds")


def series(ticks: Sequence[Tick], version: str = "", step: float = STEP) -> dict[str, list[Any]]:
    """Columns to draw: `at`, and per tick rates a second, quantiles in seconds and gauges; None where nothing was.

    A pause between two readings that is far longer than `step` is a point of its own without numbers.
    """
    columns: dict[str, list[Any]] = {name: [] for name in ("at", *_FIGURES, *GAUGES)}
    for tick in ticks:
        if tick.seconds > _LATE * step:
            for name, column in columns.items():
                column.append(tick.at - tick.seconds / 2 if name == "at" else None)
        told = tick.of(version)
        values = {"at": tick.at, **figures(told, tick.seconds), **{name: tick.gauges.get(name) for name in GAUGES}}
        for name, column in columns.items():
            column.append(values[name])
    return columns


_FIGURES = ("requests", "errors", "tokens", "ttft_p50", "ttft_p95", "itl_p50", "itl_p95", "queue_p50", "queue_p95")


def figures(told: Counted, seconds: float) -> dict[str, float | None]:
    """Of one stretch of time: rates a second, and quantiles in seconds."""
    rates = {"requests": told.requests, "errors": told.errors, "tokens": told.completion_tokens}
    timed = (("ttft", "first_token"), ("itl", "per_token"), ("queue", "queue"))
    return {
        **{name: count / seconds if seconds else 0.0 for name, count in rates.items()},
        **{f"{name}_p{part}": told.quantile(place, part / 100) for name, place in timed for part in (50, 95)},
    }
