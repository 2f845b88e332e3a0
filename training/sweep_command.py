"""`dabt sweep`: options in, words out. The work is in `sweep.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lifecycle.commands.terminal import HomeOption, this_user


def sweep(
    config: Annotated[Path, typer.Argument(help="A run's YAML file with `sweep:`, which says what to try.")],
    base: Annotated[str | None, typer.Option(help="Another base than the file names: folder or hub id.")] = None,
    home: HomeOption = None,
) -> None:
    """Try several settings, one run each, and publish the best by the validation rows as a draft.

    A sweep that was stopped goes on where it was. The test rows are never read.

    Example: `dabt sweep run.yaml`
    """
    from rich.console import Console

    from lifecycle.commands.lines import Lines
    from lifecycle.home import Home
    from lifecycle.publishing import Shelf
    from training.progress import Told
    from training.sweep import Sweep, search

    told = Sweep.load(config, base=base)
    place, console = Home.at(home), Console()
    swept = search(told, place, Shelf.at(place, actor=this_user()), lambda name: Told(name, Lines(typer.echo)))
    chosen = ", ".join(f"{key} {value}" for key, value in swept.chosen.items())
    console.print(f"the best of {swept.tried}: {chosen}", highlight=False)
    console.print(f"{swept.result.version.ref} is a draft: {told.settings.metric} {swept.value:.3f}", highlight=False)
    console.print("  next: dabt eval, which compares it with what needs no training", highlight=False)
