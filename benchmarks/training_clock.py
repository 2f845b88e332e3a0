"""The time of a training's steps and the most memory of its process, for whichever trainer runs in it.

Imports nothing but Python's own library until it is asked: trainers run in environments of their own.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any


class Clock:
    """Seconds of the epochs of any trainer of transformers': steps, and fetching their rows, without evaluations.

    `busy` are those in which this process had a processor, of all its threads together.
    """

    def __init__(self) -> None:
        from transformers.trainer_callback import CallbackHandler

        self.seconds, self.busy, self.steps = 0.0, 0.0, 0
        begin, end = CallbackHandler.on_epoch_begin, CallbackHandler.on_epoch_end

        def began(*args: Any) -> Any:
            self._since, self._busy_since = time.perf_counter(), time.process_time()
            return begin(*args)

        def ended(handler: Any, args: Any, state: Any, *more: Any) -> Any:
            self.seconds += time.perf_counter() - self._since
            self.busy += time.process_time() - self._busy_since
            self.steps = state.global_step
            return end(handler, args, state, *more)

        CallbackHandler.on_epoch_begin = began
        CallbackHandler.on_epoch_end = ended


def peak_mib() -> float:
    """The most memory that this process has had."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024
