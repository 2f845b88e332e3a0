"""What a person asks of `dabt train`, and how it is done: in this process, which may be one of several."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lifecycle.home import Home
    from training.config import TrainJob
    from training.run import TrainResult


@dataclass(frozen=True)
class Asked:
    """The words of the command: a configuration, or a run to do again."""

    config: Path | None
    again: str | None = None
    base: str | None = None
    force: bool = False
    actor: str = "dabt"
    home: Path | None = None

    def anywhere(self) -> Asked:
        """The same, asked from any folder or machine."""
        from lifecycle.home import Home

        config = self.config and self.config.resolve()
        return replace(
            self, config=config, again=_whole(self.again), base=_whole(self.base), home=Home.at(self.home).root
        )

    def job(self, home: Home) -> tuple[TrainJob, str]:
        """What is to be trained, and the name of the run that it must be. Raises `InvalidConfig`, and `NotFound`."""
        from training.again import job_of
        from training.config import TrainJob

        if self.again is not None:
            folder = Path(self.again) if Path(self.again).is_dir() else home.runs / self.again
            return job_of(folder), folder.resolve().name
        assert self.config is not None
        return TrainJob.load(self.config, base=self.base), ""


def _whole(named: str | None) -> str | None:
    """A path from anywhere, where it is one; else the name that it is."""
    return str(Path(named).resolve()) if named and Path(named).exists() else named


def here(asked: Asked) -> TrainResult:
    """Train in this process, alone or together with the others; what comes of it is the same in all of them."""
    from lifecycle.commands.terminal import open_console
    from lifecycle.home import Home
    from lifecycle.publishing import Shelf
    from training import processes
    from training.progress import Silent, watcher

    home = Home.at(asked.home)
    job, same_as = asked.job(home)
    quiet = nullcontext(Silent())
    with watcher(job.config.name, open_console()) if processes.is_first() else quiet as watch:
        from training.run import train  # this takes a moment

        shelf = processes.in_turn(lambda: Shelf.at(home, actor=asked.actor))
        return train(job, home, shelf, force=asked.force, same_as=same_as, watch=watch)
