"""The last 60 seconds of each key, in this process: when it asked, and how many tokens its answers took.

Finding a key's window, and forgetting those of keys that are silent, costs the same for one key and for ten thousand:
each look at a key puts it last in line and lets at most two go from the front. `limiter.py` decides by it.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from dataclasses import dataclass, field

WINDOW = 60.0
SET_BACK = 2.0
"""Seconds that a clock goes back by; less is the clock being kept right."""
_LET_GO = 2
"""More than the one that a look may add."""


@dataclass(slots=True)
class Window:
    """One key's. Tokens are counted by minutes of the clock, the one that runs and the one before."""

    requests: deque[float] = field(default_factory=deque)
    minute: int = 0
    tokens: int = 0
    tokens_before: int = 0
    last_used: float = 0.0


class Windows:
    """Belongs to one event loop."""

    def __init__(self) -> None:
        self._of: OrderedDict[str, Window] = OrderedDict()

    def __len__(self) -> int:
        return len(self._of)

    def request(self, key_id: str, most: int) -> tuple[bool, int, float]:
        """Count a request unless `most` were made: whether it was counted, how many more there may be, and the seconds
        until the oldest leaves the window.
        """
        window, now = self._look(key_id)
        while window.requests and (window.requests[0] <= now - WINDOW or len(window.requests) > most):
            window.requests.popleft()
        admitted = len(window.requests) < most
        if admitted:
            window.requests.append(now)
        return admitted, max(0, most - len(window.requests)), window.requests[0] + WINDOW - now

    def tokens(self, key_id: str) -> tuple[int, float, int, float]:
        """Tokens of the minute before and the seconds until they have faded, and the same of this minute."""
        window, now = self._look(key_id)
        into = now % WINDOW
        return window.tokens_before, WINDOW - into if window.tokens_before else 0.0, window.tokens, 2 * WINDOW - into

    def charge(self, key_id: str, tokens: int) -> None:
        window, _ = self._look(key_id)
        window.tokens += tokens

    def forget(self) -> None:
        self._of.clear()

    def _look(self, key_id: str) -> tuple[Window, float]:
        """The key's window as it is now, which is returned too."""
        now = time.time()
        window = self._of.get(key_id)
        if window is None:
            window = self._of[key_id] = Window()
        self._of.move_to_end(key_id)
        window.last_used = now
        minute = int(now // WINDOW)
        if minute != window.minute:
            window.tokens_before = window.tokens if minute == window.minute + 1 else 0
            window.minute, window.tokens = minute, 0
        for _ in range(_LET_GO):
            oldest = next(iter(self._of))
            if self._of[oldest].last_used > now - 2 * WINDOW:
                break
            del self._of[oldest]
        return window, now
