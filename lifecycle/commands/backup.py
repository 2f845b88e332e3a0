"""`dabt backup` and `dabt restore`: the registry and the store into a folder, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lifecycle.commands.terminal import HomeOption, JsonOption, this_user, to_json
from lifecycle.text.counting import counted


def backup(
    to: Annotated[Path, typer.Argument(help="A folder; what an earlier backup left there is not copied again.")],
    keep: Annotated[int | None, typer.Option(min=1, help="Let go of all but the newest so many backups there.")] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Read what is there already once more.")] = False,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Also when the store lacks what the registry needs.")
    ] = False,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Back up the registry and the store into a folder, while services run. A killed backup is none.

    It holds API keys as digests of their secrets: keep it as you keep the registry.

    Example: `dabt backup /mnt/backup/dabt --keep 14`
    """
    from lifecycle.commands.lines import working
    from lifecycle.home import Home
    from lifecycle.upkeep.backup import back_up

    with working("backing up") as tell:
        done = back_up(
            Home.at(home), to.expanduser().resolve(), keep=keep, allow_missing=allow_missing, verify=verify, tell=tell
        )
    made = done.backup
    if as_json:
        typer.echo(to_json({**done.model_dump(mode="json"), "folder": str(done.folder)}))
        return
    typer.echo(
        f"{made.name}: {counted(made.rows, 'row')} of {made.registry}, {counted(len(made.artifacts), 'artifact')}"
    )
    typer.echo(f"{done.copied} artifacts copied ({done.copied_bytes} bytes); the others were there")
    typer.echo(
        f"it holds the digests of {made.keys} API keys' secrets, and no secret: keep it as you keep the registry"
    )
    for digest, who in made.missing.items():
        typer.echo(f"missing: {digest}, which {who} needs", err=True)
    for name in done.dropped:
        typer.echo(f"let go: {name}")


def restore(
    source: Annotated[Path, typer.Argument(metavar="FROM", help="The folder that `dabt backup` was given.")],
    at: Annotated[str, typer.Option(help="The backup's name; the newest by default.")] = "",
    artifacts: Annotated[
        bool, typer.Option("--artifacts", help="Only put back what this home's store lacks; the registry stays.")
    ] = False,
    list_: Annotated[bool, typer.Option("--list", help="Only list the backups there.")] = False,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Put a backup into an empty home, or into an empty registry and a store of another kind by their URLs.

    Example: `dabt restore /mnt/backup/dabt --home new-home`
    """
    from lifecycle.commands.lines import working
    from lifecycle.home import Home
    from lifecycle.upkeep.backup import backups
    from lifecycle.upkeep.restore import mend
    from lifecycle.upkeep.restore import restore as put_back

    folder = source.expanduser().resolve()
    if list_:
        there = backups(folder)
        if as_json:
            typer.echo(to_json([each.model_dump(mode="json") for each in there]))
        for each in [] if as_json else there:
            held = f"{counted(each.rows, 'row')}, {counted(len(each.artifacts), 'artifact')}"
            typer.echo(f"{each.name}  {held}, release {each.release}")
        return
    if artifacts:
        with working("looking at the store"):
            back = mend(Home.at(home), folder)
        if as_json:
            typer.echo(to_json(back))
            return
        for digest, who in back.items():
            typer.echo(f"back: {digest}, which {who} needs")
        typer.echo(f"{counted(len(back), 'artifact')} restored")
        return
    with working("restoring") as tell:
        done = put_back(Home.at(home), folder, at=at, actor=this_user(), tell=tell)
    if as_json:
        typer.echo(to_json(done.model_dump(mode="json")))
        return
    typer.echo(f"{done.backup.name}: {counted(done.rows, 'row')} and {counted(done.artifacts, 'artifact')} are back")
    if done.backup.keys:
        typer.echo(f"{done.backup.keys} API keys are as they were: those that were revoked since then are good again")
    for digest, who in done.backup.missing.items():
        typer.echo(f"missing: {digest}, which {who} needs", err=True)
