"""Which values of a label have series of their own, so that a page of metrics stays of a size whatever happens.

The first `limit` values have, and those past it share `other`. A value that nobody used for a while gives its place,
and its series, to the next new one: versions come and go for as long as a service runs. One in use never gives way, or
with more values than places every count would begin again and again.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from prometheus_client.metrics import MetricWrapperBase

OTHER = "other"
IDLE_SECONDS = 3600.0
"""Longer than the longest range that the alerts look at for one version."""


class Bounded:
    """The values of the label `name`. Belongs to one thread."""

    def __init__(self, name: str, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._limit = limit
        self._clock = clock
        self._used: OrderedDict[str, float] = OrderedDict()  # the longest unused first
        self._series: list[MetricWrapperBase] = []

    def covers(self, *series: MetricWrapperBase) -> None:
        """These have the label; a value leaves them with its place."""
        self._series += series

    def __call__(self, value: str) -> str:
        """`value`, or `other` when all places are taken."""
        now = self._clock()
        if value not in self._used and len(self._used) >= self._limit and not self._made_room(now):
            return OTHER
        self._used[value] = now
        self._used.move_to_end(value)
        return value

    def _made_room(self, now: float) -> bool:
        oldest, used = next(iter(self._used.items()))
        if now - used < IDLE_SECONDS:
            return False
        del self._used[oldest]
        for series in self._series:
            series.remove_by_labels({self._name: oldest})
        return True
