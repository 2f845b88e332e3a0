"""The time of a training's steps and the most memory of its process and its GPU, for whichever trainer runs in it.

Imports nothing but Python's own library until it is asked: trainers run in environments of their own.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any


class Clock:
    """Seconds of the epochs of any trainer of transformers': steps, and fetching their rows, without evaluations.

    `busy` are those in which this process had a processor, of all its threads together. `last` are those of the last
    epoch: a GPU's libraries are set up in the first. `card_mib` is the most that training took of the GPU's memory.
    """

    def __init__(self) -> None:
        from transformers.trainer_callback import CallbackHandler

        self.seconds, self.busy, self.last, self.steps, self.card_mib = 0.0, 0.0, 0.0, 0, 0.0
        begin, end = CallbackHandler.on_epoch_begin, CallbackHandler.on_epoch_end

        def began(*args: Any) -> Any:
            card = _card()
            if card is not None:
                card.synchronize()
                card.reset_peak_memory_stats()
            self._since, self._busy_since = time.perf_counter(), time.process_time()
            return begin(*args)

        def ended(handler: Any, args: Any, state: Any, *more: Any) -> Any:
            card = _card()
            if card is not None:
                card.synchronize()
                self.card_mib = max(self.card_mib, card.max_memory_allocated() / 2**20)
            self.last = time.perf_counter() - self._since
            self.seconds += self.last
            self.busy += time.process_time() - self._busy_since
            self.steps = state.global_step
            return end(handler, args, state, *more)

        CallbackHandler.on_epoch_begin = began
        CallbackHandler.on_epoch_end = ended


def _card() -> Any:
    """PyTorch's module for the GPU, where something was put onto that: the GPU works on after a call of it returns."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None


def card_name() -> str:
    """Of the GPU; empty where nothing was put onto one."""
    card = _card()
    return "" if card is None else str(card.get_device_name())


def peak_mib() -> float:
    """The most memory that this process has had."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024
