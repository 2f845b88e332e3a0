"""`dabt data redact`: a copy of a file of rows without personal data. `../personal/redaction.py` does the work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lifecycle.text.counting import counted

if TYPE_CHECKING:
    from collections import Counter

    from training.data.personal import Kind


def redact(
    source: Annotated[Path, typer.Argument(help="JSONL, JSON, CSV, TSV or Parquet, or one of these packed by gzip.")],
    out: Annotated[Path, typer.Option(help="Its name says what it becomes: .jsonl, .json, .csv, .tsv, .parquet, .gz")],
    names: Annotated[
        bool | None, typer.Option("--names/--no-names", help="Names of persons too; by default where it is installed.")
    ] = None,
) -> None:
    """Write a copy with personal data and credentials replaced by [PHONE_1], [EMAIL_2], …

    One value has one number through the file, in whatever spelling it comes. All texts and numbers of the rows are
    looked at, whatever their form, and the form stays. Nothing is written when a row cannot be read.

    Example: dabt data redact data/train.jsonl --out data/clean.jsonl
    """
    from lifecycle.commands.lines import working

    refuse_inputs(out, [source])
    with working(f"redacting {source}"):
        written, replaced = write_redacted(out, rows_of([source]), names=names)
    for line in summary(written, replaced, out, names=names):
        typer.echo(line)


def refuse_inputs(out: Path, sources: Sequence[Path]) -> None:
    """Raises `InvalidConfig` where `out` is one of the files that are read, by whatever name or link."""
    from lifecycle.errors import InvalidConfig, Problem

    for source in sources:
        if out.exists() and source.exists() and out.samefile(source):
            raise InvalidConfig("nothing was done", [Problem(str(out), "is a file that is read", "name another")])


def rows_of(sources: Sequence[Path]) -> Iterator[Any]:
    """All rows of these files. Raises `InvalidData` behind the last of a file where one of its rows cannot be read."""
    from lifecycle.rows.faults import nothing_done
    from lifecycle.rows.files import Reading

    for source in sources:
        reading = Reading(source)
        yield from reading.values()
        if reading.told.count:
            raise nothing_done(reading.told.lines, str(source), list(reading.told))


def write_redacted(out: Path, rows: Iterator[Any], *, names: bool | None) -> tuple[int, Counter[Kind]]:
    """How many rows were written, and how many places were replaced by kind. Raises `InvalidInput`."""
    from lifecycle.rows.writing import write
    from training.data.personal import Redactor
    from training.data.personal.names import names_detector

    redactor = Redactor(names_detector(names))
    return write(out, (redactor.row(row) for row in rows)), redactor.replaced


def summary(written: int, replaced: Counter[Kind], out: Path, *, names: bool | None) -> Iterator[str]:
    from training.data.personal.names import MISSING, available

    kinds = ", ".join(f"{kind} {count:,}" for kind, count in replaced.most_common())
    values, rows = counted(replaced.total(), "value"), counted(written, "row")
    yield f"{values} replaced{f' ({kinds})' if kinds else ''}; {rows} written to {out}"
    if names is None and not available():
        yield MISSING
