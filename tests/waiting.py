"""How a test waits for something that is to come: it looks again and again, and does not take the core of what it
waits for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")


def pauses() -> Iterator[float]:
    """Seconds between two looks: each is about a twentieth of all before it, so that what comes soon is seen soon, and
    what takes seconds has the processor for itself.
    """
    pause = 0.001
    while True:
        yield pause
        pause = min(1.05 * pause, 0.25)


def seen(look: Callable[[], T]) -> T:
    """What `look()` says once it is true. A test's own time limit is the only one."""
    for pause in pauses():
        if told := look():
            return told
        time.sleep(pause)
    raise AssertionError("there is always another look")
