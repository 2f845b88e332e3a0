"""`dabt gc`: what the store could let go, and letting it go."""

from __future__ import annotations

from typing import Annotated

import typer

from lifecycle.commands.terminal import HomeOption, JsonOption, this_user, to_json
from lifecycle.text.counting import counted


def gc(
    yes: Annotated[bool, typer.Option("--yes/--dry-run", help="Remove it; without this it is only listed.")] = False,
    grace_days: Annotated[
        float, typer.Option(min=0, help="Keep what was put, or whose version was retired, in the last so many days.")
    ] = 7,
    verdicts: Annotated[
        bool, typer.Option("--keep-judged/--with-judged", help="Whether a verdict keeps a retired version's bytes.")
    ] = True,
    unnamed: Annotated[
        bool | None,
        typer.Option(
            "--unnamed/--keep-unnamed",
            help="Whether what the registry never named goes; by default only from a store in the home.",
        ),
    ] = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """List what the store holds and nothing needs, and how much it would free; with --yes, remove it.

    Nothing goes that an alias, a pin, a lineage, a job, a verdict, a file or a version that is not retired needs.
    Services and trainers may run meanwhile.

    Example: `dabt gc`, `dabt gc --yes`
    """
    from datetime import timedelta

    from lifecycle.commands.lines import working
    from lifecycle.home import Home
    from lifecycle.publishing import Shelf
    from lifecycle.upkeep.collection import Rule, collect, look

    place = Home.at(home)
    if unnamed is None:
        unnamed = place.artifacts_url == str(place.root / "artifacts")
    rule = Rule(grace=timedelta(days=grace_days), verdicts=verdicts, unnamed=unnamed)
    shelf = Shelf.at(place)
    with shelf.registry, working("looking at the store") as tell:
        if yes:
            done = collect(shelf.registry, shelf.store, rule, actor=this_user(), tell=tell)
        else:
            done = look(shelf.registry, shelf.store, rule)
    if as_json:
        typer.echo(to_json({**done.model_dump(mode="json"), "bytes": done.bytes, "removed": yes}))
        return
    for leftover in done.leftovers:
        typer.echo(f"{leftover.digest}  {_size(leftover.bytes):>9}  {leftover.why}")
    count = counted(len(done.leftovers), "folder")
    typer.echo(f"{count}, {_size(done.bytes)} {'freed' if yes else 'would be freed'}")
    typer.echo(f"{done.kept} needed, {_size(done.kept_bytes)}; {done.young} not needed, and younger than the grace")
    if done.strange:
        typer.echo(f"{done.strange} that this registry never named stay; --unnamed if no other registry uses the store")
    if not yes and done.leftovers:
        typer.echo("nothing was removed; `dabt gc --yes` removes them")


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
