"""How far an evaluation is, told to whoever watches: a bar per arm on a terminal, or nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

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


class Bars:
    """One bar per arm, with the time left. A context manager; draws nothing but lines where there is no terminal."""

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
