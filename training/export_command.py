"""`dabt export`: options in, words out. The work is in `export.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lifecycle.commands.lines import working
from lifecycle.commands.terminal import HomeOption, this_user


def export(
    version: Annotated[str, typer.Argument(help="A trained version, such as triage:3, or an alias.")],
    out: Annotated[Path, typer.Option(help="A new folder.")],
    merged: Annotated[bool, typer.Option("--merged", help="The whole model, with the adapter merged into it.")] = False,
    base: Annotated[
        str | None,
        typer.Option(
            envvar="DABT_BASE", help="The base that it was trained from: folder or hub id. The card names its licence."
        ),
    ] = None,
    push: Annotated[
        str | None, typer.Option(help="Upload it too, to this repository of a model hub: owner/name.")
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="Let everybody see what is uploaded.")] = False,
    home: HomeOption = None,
) -> None:
    """Write a version's weights as a folder that PEFT or transformers load alone, with a model card.

    Example: `dabt export triage:3 --out triage-adapter`
    """
    from lifecycle.home import Home
    from lifecycle.models.base import resolve_base
    from lifecycle.publishing import Shelf
    from training.export import export as write
    from training.export import push as upload

    shelf = Shelf.at(Home.at(home), actor=this_user())
    with shelf.registry, working(f"writing {version}"):
        write(version, out, shelf, base=None if base is None else resolve_base(base), merged=merged)
    typer.echo(f"{version} is in {out}; {out / 'README.md'} says how to load it")
    if push is not None:
        with working(f"uploading {out}"):
            address = upload(out, push, private=not public)
        typer.echo(f"it is at {address}")
