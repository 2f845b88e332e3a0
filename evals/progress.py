"""How far an evaluation is, told to whoever watches: a bar per arm on a terminal, lines elsewhere, or nobody."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol, Self

from lifecycle.commands.lines import Lines

if TYPE_CHECKING:
    from rich.console import Console


class Progress(Protocol):
    """What `run.evaluate` calls while it works."""

    def note(self, text: str) -> None:
        """A step begins."""

    def begin(self, totals: dict[str, int]) -> None:
        """The requests that each arm has before it."""

    def advance(self, arm: str, count: int) -> None:
        """So many more requests of `arm` are finished, asked or known."""


class Silent:
    """Nobody watches."""

    def note(self, text: str) -> None: ...

    def begin(self, totals: dict[str, int]) -> None: ...

    def advance(self, arm: str, count: int) -> None: ...


class Told:
    """Lines for where there is no terminal: each step, and how many answers there are at least every ten seconds."""

    def __init__(self, title: str, lines: Lines) -> None:
        self._title, self._lines = title, lines
        self._done, self._total = 0, 0

    def __enter__(self) -> Self:
        self._lines.__enter__()
        self._lines.step(f"{self._title}: loading")
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.__exit__(None, None, None)

    def note(self, text: str) -> None:
        self._lines.step(f"{self._title}: {text}")

    def begin(self, totals: dict[str, int]) -> None:
        self._total += sum(totals.values())
        self._lines.step(f"{self._title}: {self._total} requests of {', '.join(totals)}")

    def advance(self, arm: str, count: int) -> None:
        self._done += count
        self._lines.far(f"{self._title}: {self._done} of {self._total} requests")


def shown(title: str, console: Console) -> Bars | Told:
    """What suits the place where `console` writes."""
    return Bars(console, title) if console.is_terminal else Told(title, Lines(partial(print, flush=True)))


class Bars:
    """One bar per arm, with the time left. A context manager."""

    def __init__(self, console: Console, title: str) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._console, self._title = console, title
        self._bars = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            redirect_stderr=False,
        )
        self._rows: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def note(self, text: str) -> None:
        self._console.print(f"[dim]{self._title}[/dim] {text}")

    def begin(self, totals: dict[str, int]) -> None:
        width = max(map(len, totals))
        self._rows |= {arm: int(self._bars.add_task(arm.ljust(width), total=n)) for arm, n in totals.items()}

    def advance(self, arm: str, count: int) -> None:
        from rich.progress import TaskID

        self._bars.advance(TaskID(self._rows[arm]), count)
