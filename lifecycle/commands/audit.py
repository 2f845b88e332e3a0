"""`dabt audit export`: the trail for other systems. `dabt versions --audit` shows it to people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lifecycle.commands.terminal import HomeOption, open_registry

if TYPE_CHECKING:
    from datetime import datetime


def export(
    name: Annotated[str | None, typer.Argument(help="Only this name, with its versions and aliases.")] = None,
    since: Annotated[str | None, typer.Option(help="A day or moment, such as 2026-11-21 or 2026-11-21T08:00Z.")] = None,
    after: Annotated[int, typer.Option(min=0, help="Only what came after the entry with this id.")] = 0,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of JSON lines.")] = False,
    home: HomeOption = None,
) -> None:
    """Print the trail, oldest first: JSON lines, or CSV. Ids never change, so --after goes on where an export ended.

    Example: `dabt audit export --since 2026-11-01 > november.jsonl`, `dabt audit export --csv > trail.csv`
    """
    from lifecycle.upkeep.trail import lines

    moment = _moment(since) if since else None
    with open_registry(home) as registry:
        for line in lines(registry.listings.trail(after=after, since=moment, name=name), "csv" if as_csv else "jsonl"):
            typer.echo(line, nl=False)


def _moment(text: str) -> datetime:
    """UTC unless it says otherwise."""
    from datetime import UTC, datetime

    from lifecycle.errors import InvalidInput

    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(f"--since {text} is no moment; write 2026-11-21 or 2026-11-21T08:00Z") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
