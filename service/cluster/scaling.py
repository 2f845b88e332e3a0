"""How many engine replicas a base should have: by the requests under way, and by the adapters that are called. And how
many workers its fine-tuning jobs should have.

Pure: what replicas tell comes in, a number goes out; `ray_scaling.py` gives it to Ray, which keeps it within the file's
`least` and `most` and waits before it follows. Requests alone would leave a thousand adapters, each called now and
then, to one replica that loads one for nearly every request.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lifecycle.version import Digest

LATELY = 60.0
"""Seconds for which an adapter that was called counts as one in use, unless the cluster's file says otherwise."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What one replica's memory is asked to hold."""

    places: int
    """Adapters that it has room for, without those that are pinned: every replica holds these anyway."""
    called: float
    """Different adapters that it was asked for lately, without pinned ones. A mean over some seconds, as a rule."""


def wanted(requests: float, target: float, memories: Sequence[Memory]) -> int:
    """`requests` are under way and waiting, over all replicas, and `target` are meant for each.

    An adapter's requests meet in one replica (`routing.py`), so what replicas were asked for adds up, and is the same
    however many of them there are.
    """
    by_queue = math.ceil(requests / target)
    places = [memory.places for memory in memories if memory.places > 0]
    if not places:
        return by_queue
    by_memory = math.ceil(sum(memory.called for memory in memories) * len(places) / sum(places))
    return max(by_queue, by_memory)


@dataclass(frozen=True, slots=True)
class Jobs:
    """Of the fine-tuning API, over one base. Means over some seconds, as a rule."""

    waiting: float
    held: float
    """A worker has them."""


def workers_wanted(jobs: Jobs, now: int) -> int:
    """`now` are the workers that there are, or are to be.

    One for each job. While a worker has one, none is let go: Ray knows not which of them are idle, and stops any.
    """
    there = math.ceil(round(jobs.waiting + jobs.held, 3))
    return max(there, now) if jobs.held else there


@dataclass(slots=True)
class CalledLately:
    """The adapters that one replica was asked for, the last of them last. Belongs to one event loop."""

    clock: Callable[[], float] = time.monotonic
    _last: OrderedDict[Digest, float] = field(default_factory=OrderedDict)
    """When each was called last; the one that was called longest ago is first."""

    def call(self, digest: Digest) -> None:
        self._last[digest] = self.clock()
        self._last.move_to_end(digest)

    def digests(self, within: float) -> set[Digest]:
        """Those of the last so many seconds, which must be the same at every call: others are forgotten."""
        oldest = self.clock() - within
        while self._last and next(iter(self._last.values())) < oldest:
            self._last.popitem(last=False)
        return {*self._last}
