"""What a trainer of transformers' logs beside its loss, by the names that a run's log and its trackers have."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

_NO_FIGURES = ("epoch", "step", "total_flos", "num_input_tokens_seen")
_SPEEDS = ("runtime", "_per_second")
"""Of validation, and averages since the run began; `Speed` has the one that is worth a curve."""
_SPEED = "tokens_per_second"


def beside(kind: str, logs: Mapping[str, float]) -> dict[str, float]:
    """The figures of a training or a validation log, without its loss and the trainer's own prefix."""
    prefix = "" if kind == "train" else "eval_"
    named = {name.removeprefix(prefix): value for name, value in logs.items() if name.startswith(prefix)}
    return {
        name: float(value)
        for name, value in named.items()
        if name != "loss"
        and name not in _NO_FIGURES
        and (name == _SPEED or not name.endswith(_SPEEDS))
        and isinstance(value, int | float)
    }


class Speed:
    """Tokens a second over the steps since it was last asked: without validation and saving between them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began: float | None = None
        self._seconds, self._tokens = 0.0, 0

    def begins(self) -> None:
        """A step of the optimiser begins."""
        self._began = self._clock()

    def ends(self) -> None:
        """It is over."""
        if self._began is not None:
            self._seconds += self._clock() - self._began
            self._began = None

    def take(self, tokens: int) -> dict[str, float]:
        """`tokens_per_second`, where `tokens` were seen since the run began; empty before anything was."""
        new, seconds = tokens - self._tokens, self._seconds
        self._tokens, self._seconds = tokens, 0.0
        return {_SPEED: new / seconds} if new > 0 and seconds > 0 else {}
