"""What every command of the registry shares: its options, where the registry is, who is asking, how JSON is printed."""

from __future__ import annotations

import errno
import getpass
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from lifecycle.errors import DabtError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console
    from rich.table import Table

    from lifecycle.registry import Registry
    from lifecycle.registry.readable import LeftOut

HomeOption = Annotated[Path | None, typer.Option(envvar="DABT_HOME", help="Where things are kept; .dabt by default.")]
ReasonOption = Annotated[str, typer.Option(help="Why; it is kept in the audit trail.")]
AliasOption = Annotated[str, typer.Option(help="The alias to move.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Past the gate; needs --reason and is recorded.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


_UNBOUNDED = 1_000_000
"""Wider than any row."""


_INTERRUPTED = 130
_FULL = (errno.ENOSPC, errno.EDQUOT)
_CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM)
_NO_PLACE = "No usable temporary directory"
"""What Python says where every folder for temporary files is full."""


def run(command: Callable[[], None]) -> None:
    """A command line from its words to its exit code: our errors are one message, and so are a full disk or memory and
    a file that is closed to us, which any line of a command may meet; no other error is hidden.
    """
    try:
        command()
    except DabtError as error:
        _fail(str(error))
    except OSError as error:
        if error.errno in _CLOSED and error.filename:
            _fail(f"{error.filename} is closed to this user ({error.strerror}): allow it, or name another place")
        if error.errno not in _FULL and _NO_PLACE not in str(error):
            raise
        what = f"{error.filename or 'a file'} cannot be written ({error.strerror})"
        where = "" if _NO_PLACE in str(error) else f", which lie in {tempfile.gettempdir()} now"
        cure = f"free some room, or name a folder that has it for temporary files{where}, with TMPDIR"
        _fail(f"{what}: {cure}; then run the same command again")
    except MemoryError:
        _fail("memory ran out: end other programs, or take a machine with more, and run the same command again")
    except KeyboardInterrupt:
        _say_interrupted()
        sys.exit(_INTERRUPTED)
    except SystemExit as leaving:  # Typer takes the interruption for itself, and leaves without a word
        if leaving.code == _INTERRUPTED:
            _say_interrupted()
        raise


def _say_interrupted() -> None:
    typer.echo("interrupted; nothing is half done: run the same command to go on", err=True)


def _fail(message: str) -> NoReturn:
    typer.echo(f"error: {message}", err=True)
    sys.exit(1)


def open_registry(home: Path | None) -> Registry:
    from lifecycle.home import Home
    from lifecycle.registry import Registry

    return Registry.open(Home.at(home).registry_url)


def say_left_out(left_out: Iterable[LeftOut]) -> None:
    """On standard error, so that what is listed can still be read by a program."""
    for row in left_out:
        typer.echo(f"left out: {row.kind} {row.ref}: {row.why}", err=True)


def this_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "unknown"


def open_console(*, stderr: bool = False) -> Console:
    """Where every command prints what people read: as wide as the terminal.

    A pipe or a file has no width to heed, whatever `COLUMNS` says of the terminal around it: a sentence or a row that
    was cut at 80 characters could neither be searched nor copied.
    """
    from rich.console import Console

    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=_UNBOUNDED, soft_wrap=True)


def print_table(table: Table) -> None:
    show(table, open_console())


def show(table: Table, console: Console) -> None:
    """The table where it fits; else each row as lines of its own, so that no digest or name is cut.

    Title and caption have the terminal's width: a table of two arms is narrow, and what stands around it is prose.
    """
    title, caption, table.title, table.caption = table.title, table.caption, None, None
    if title:
        console.print(title, style="table.title", highlight=False)
    if fits := _width(table, console) <= console.width:
        console.print(table)
    else:
        _show_rows(table, console)
    if caption:
        if not fits:
            console.print()
        console.print(caption, style="table.caption", highlight=False)


def _show_rows(table: Table, console: Console) -> None:
    from rich.table import Table

    for row in zip(*(column.cells for column in table.columns), strict=True):
        lines = Table.grid(padding=(0, 2))
        lines.add_column(no_wrap=True, style="dim")
        lines.add_column(overflow="fold")
        for column, cell in zip(table.columns, row, strict=True):
            if cell != "" and str(cell) != "":
                lines.add_row(column.header, cell)
        console.print()
        console.print(lines)


def _width(table: Table, console: Console) -> int:
    """Columns that the table takes when nothing is wrapped."""
    from rich.measure import Measurement

    return Measurement.get(console, console.options.update(max_width=_UNBOUNDED), table).maximum


def to_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)
