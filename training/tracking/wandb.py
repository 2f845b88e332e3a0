"""Weights & Biases: a project at its server, or offline in the run's folder, to be sent later by `wandb sync`.

What it would collect by itself stays here: host, command, packages, code and the terminal's lines.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

from lifecycle.errors import Problem
from training.tracking.tracker import RunFacts, TrackedRun, Tracker


class Wandb(Tracker):
    """Settings under `tracking:` beside `type: wandb`. The key is read from where `wandb login` leaves it."""

    type: Literal["wandb"] = "wandb"
    project: str = "dabt"
    entity: str | None = None
    """The team or user; None is the key's own."""
    name: str | None = None
    """Of the run there; None is this run's own."""
    tags: tuple[str, ...] = ()
    mode: Literal["online", "offline"] | None = None
    """None takes `WANDB_MODE`, or online."""

    package: ClassVar[str] = "wandb"

    @classmethod
    def can_send(cls) -> bool:
        """Whether there is a key of theirs here."""
        return bool(os.environ.get("WANDB_API_KEY")) or _logged_in()

    @property
    def _mode(self) -> Any:
        return self.mode or os.environ.get("WANDB_MODE") or "online"

    def problems(self) -> list[Problem]:
        problems = super().problems()
        if self._mode == "online" and not self.can_send():
            cure = "run `wandb login`, set WANDB_API_KEY, or write mode: offline"
            problems.append(Problem("tracking.wandb", "there is no key of Weights & Biases here", cure))
        return problems

    def begin(self, run: RunFacts, known: str) -> TrackedRun:
        import wandb

        settings = wandb.Settings(
            x_disable_meta=True,
            x_disable_stats=True,
            x_save_requirements=False,
            disable_git=True,
            disable_code=True,
            console="off",
            silent=True,
        )
        opened = wandb.init(
            project=self.project,
            entity=self.entity,
            name=self.name or run.name,
            tags=self.tags,
            id=known or secrets.token_hex(8),
            resume="allow",
            mode=self._mode,
            dir=str(run.folder),
            config={**run.facts, **run.settings},
            settings=settings,
            reinit="create_new",
        )
        return _LoggedRun(opened)


class _LoggedRun:
    def __init__(self, opened: Any) -> None:
        self._opened, self.id = opened, str(opened.id)
        opened.define_metric("step", hidden=True)
        opened.define_metric("*", step_metric="step")

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        # Its own step only rises, and a training and a validation loss belong to one: `step` is a figure like another.
        self._opened.log({"step": step, **figures})

    def end(self, said: Mapping[str, str | float], *, whole: bool) -> None:
        self._opened.summary.update(dict(said))
        self._opened.finish(exit_code=0 if whole else 1)


def _logged_in() -> bool:
    """Whether a .netrc has their server's name, as `wandb login` writes it."""
    host = urlsplit(os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai").hostname or ""
    netrc = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    try:
        return host in netrc.read_text(encoding="utf-8")
    except OSError:
        return False
