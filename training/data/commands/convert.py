"""`dabt data convert`: rows of one form and file into another, one at a time; what would be lost is an error."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from lifecycle.text.counting import counted


def convert(
    source: Annotated[Path, typer.Argument(help="JSONL, JSON, CSV, TSV or Parquet, or one of these packed by gzip.")],
    out: Annotated[
        Path, typer.Argument(help="Its name says what it becomes: .jsonl, .json, .csv, .tsv, .parquet, .gz")
    ],
    to: Annotated[str, typer.Option(help="The form of its rows.")] = "",
    meta: Annotated[
        list[str] | None, typer.Option(help="A key that no form has: put it under meta. Repeatable.")
    ] = None,
    ignore: Annotated[list[str] | None, typer.Option(help="A key that no form has: leave it out. Repeatable.")] = None,
) -> None:
    """Write the rows of a file in another form, or another kind of file.

    Without --to, the form is `messages` for conversations, and what the rows are for others. Nothing is written when
    a row cannot be read, or has something that the other form has no place for.

    Example: dabt data convert alpaca.csv train.jsonl --meta source
    """
    from lifecycle.errors import InvalidConfig, Problem
    from lifecycle.rows.conversions import TARGETS, converted, usual_form
    from lifecycle.rows.faults import Unreadable, nothing_done
    from lifecycle.rows.files import Reading
    from lifecycle.rows.writing import write

    if to and to not in TARGETS:
        raise InvalidConfig("nothing was converted", [Problem("--to", f"there is no form {to}", ", ".join(TARGETS))])
    if out.exists() and source.exists() and out.samefile(source):
        raise InvalidConfig("nothing was converted", [Problem(str(out), "is the file that is read", "name another")])
    reading = Reading(source, put={**dict.fromkeys(meta or (), "meta"), **dict.fromkeys(ignore or (), "")})

    def rows() -> Iterator[dict[str, Any]]:
        for row in reading:
            try:
                yield converted(row, to or usual_form(row))
            except Unreadable as unreadable:
                for fault in unreadable.faults:
                    reading.told.add(fault, int(row.place.rpartition(":")[2]))
        if reading.told.count:
            raise nothing_done(reading.told.lines, str(source), list(reading.told))

    count = write(out, rows())
    for form in reading.summary:
        typer.echo(f"read: {form}")
    typer.echo(f"{counted(count, 'row')} written to {out}")
