"""What every command of the registry shares: its options, where the registry is, who is asking, how JSON is printed."""

from __future__ import annotations

import getpass
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from lifecycle.registry import Registry

HomeOption = Annotated[Path | None, typer.Option(envvar="DABT_HOME", help="Where things are kept; .dabt by default.")]
ReasonOption = Annotated[str, typer.Option(help="Why; it is kept in the audit trail.")]
AliasOption = Annotated[str, typer.Option(help="The alias to move.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Past the gate; needs --reason and is recorded.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def open_registry(home: Path | None) -> Registry:
    from lifecycle.home import Home
    from lifecycle.registry import Registry

    return Registry.open(Home.at(home).registry_url)


def this_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "unknown"


def print_table(table: Table) -> None:
    from rich.console import Console

    # Into a pipe there is no width to heed, and a wrapped row could not be searched.
    console = Console()
    (console if console.is_terminal else Console(width=240)).print(table)


def to_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)
