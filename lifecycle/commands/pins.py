"""`dabt pin | unpin`: what every engine loads before it is ready, and keeps. Read `registry/pin_book.py` on."""

from __future__ import annotations

from typing import Annotated

import typer

from lifecycle.commands.terminal import HomeOption, JsonOption, ReasonOption, open_registry, this_user, to_json

_NAMED = "triage, triage:3, triage:canary, or prod for every prod alias."


def pin(
    ref: Annotated[str | None, typer.Argument(help=f"{_NAMED} Without it, list what is pinned.")] = None,
    reason: ReasonOption = "",
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Have every engine of the version's base load it before it is ready, and keep it; those that run follow.

    It holds for all services and clusters of this registry, beside what their own configuration pins.

    Example: `dabt pin triage --reason "the emergency line"`, `dabt pin`
    """
    with open_registry(home) as registry:
        if ref is not None:
            registry.pins.set(ref, actor=this_user(), reason=reason)
        pinned = registry.pins.all()
    if as_json:
        typer.echo(to_json(list(pinned)))
    elif ref is not None:
        typer.echo(f"{ref} is pinned")
    else:
        typer.echo("\n".join(pinned) or "nothing is pinned in the registry; `dabt pin NAME` pins a version")


def unpin(ref: Annotated[str, typer.Argument(help=_NAMED)], reason: ReasonOption = "", home: HomeOption = None) -> None:
    """End a pin: the version may leave memory from now on. A pin of a service's own configuration is ended there.

    Example: `dabt unpin triage --reason "the line is closed"`
    """
    from lifecycle.errors import NotFound

    with open_registry(home) as registry:
        if not registry.pins.end(ref, actor=this_user(), reason=reason):
            pinned = ", ".join(registry.pins.all()) or "none"
            raise NotFound(f"{ref} is not pinned in the registry; pinned are: {pinned}")
    typer.echo(f"{ref} is not pinned any more")
