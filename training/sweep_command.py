"""`dabt sweep`: options in, words out. The work is in `sweep.py`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lifecycle.commands.terminal import HomeOption, this_user

if TYPE_CHECKING:
    from training.sweep import Swept


def sweep(
    config: Annotated[Path, typer.Argument(help="A run's YAML file with `sweep:`, which says what to try.")],
    base: Annotated[str | None, typer.Option(help="Another base than the file names: folder or hub id.")] = None,
    home: HomeOption = None,
) -> None:
    """Try several settings, one run each, and publish the best by the validation rows as a draft.

    A sweep that was stopped goes on where it was. The test rows are never read.

    Example: `dabt sweep run.yaml`
    """

    from lifecycle.commands.lines import Lines
    from lifecycle.home import Home
    from lifecycle.publishing import Shelf
    from training.progress import Told
    from training.sweep import Sweep, search

    told = Sweep.load(config, base=base)
    place = Home.at(home)
    swept = search(told, place, Shelf.at(place, actor=this_user()), lambda name: Told(name, Lines(typer.echo)))
    _show(swept, told.settings.metric)
    chosen = ", ".join(f"{key} {value}" for key, value in swept.chosen.items())
    for line in (
        f"the best of {swept.tried}: {chosen}",
        f"{swept.result.version.ref} is a draft: {told.settings.metric} {swept.value:.3f}",
        f"  trials: {swept.folder / 'trials.json'}",
        "  next: dabt eval, which compares it with what needs no training",
    ):
        typer.echo(line)


def _show(swept: Swept, metric: str) -> None:
    from rich.table import Table

    from lifecycle.commands.terminal import print_table
    from training.sweep import short

    keys = list(swept.chosen)
    table = Table("trial", *keys, metric, "came to", "run")
    for trial in swept.trials:
        figure = "" if trial.value is None else f"{trial.value:.4f}"
        chosen = [short(trial.settings.get(key, "")) for key in keys]
        table.add_row(str(trial.number), *chosen, figure, trial.came_to, trial.run)
    print_table(table)
