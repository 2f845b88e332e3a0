"""What a long step says where no terminal draws it: a line when it changes, and one at least every ten seconds.

A reader of a CI log takes silence for a hang. `training`, `evals` and the demo tell their progress through it; a
terminal gets their bars. `service` has an event loop and says the same in its log (`service/engine/supervise.py`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.console import Console

SECONDS = 8.0
"""Between two lines; a busy machine may be late by one or two."""


class Lines:
    """One step after another. A context: its thread says the newest line again for as long as nothing else is said."""

    def __init__(
        self, say: Callable[[str], None], *, every: float = SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._say, self._every, self._clock = say, every, clock
        self._began = self._said = clock()
        self._text = ""
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lines", daemon=True)

    def step(self, text: str) -> None:
        """A new step begins: said at once."""
        with self._lock:
            self._text, self._began = text, self._clock()
            self._tell(text)

    def far(self, text: str) -> None:
        """How far the step is: said when it is time for a line."""
        with self._lock:
            self._text = text

    def look(self) -> None:
        """Say the newest line if it is time."""
        with self._lock:
            now = self._clock()
            if self._text and now - self._said >= self._every:
                self._tell(f"{self._text} ({now - self._began:.0f} s)")

    def _tell(self, text: str) -> None:
        self._said = self._clock()
        self._say(text)

    def _run(self) -> None:
        while not self._over.wait(self._every / 8):
            self.look()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()


@contextmanager
def lines(console: Console) -> Iterator[Lines]:
    """On the console, unless it is a terminal: there something else shows that the work goes on."""

    def say(text: str) -> None:
        if not console.is_terminal:
            console.print(text, markup=False, highlight=False, soft_wrap=True)

    with Lines(say) as said:
        yield said


@contextmanager
def working(text: str) -> Iterator[Callable[[str], None]]:
    """While a command works without a figure to show: a spinner on a terminal, lines elsewhere. On stderr.

    Gives what takes the name of a further step.
    """
    from lifecycle.commands.terminal import open_console

    console = open_console(stderr=True)
    if console.is_terminal:
        with console.status(text) as status:
            yield status.update
    else:
        with lines(console) as said:
            said.step(text)
            yield said.step
