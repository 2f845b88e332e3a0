"""`dabt data redact`: a copy of a file of rows without personal data. `../personal/redaction.py` does the work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
    looked at, whatever their form, also where they have none yet, and the form stays. Nothing is written when a row is
    no JSON.

    Example: dabt data redact data/train.jsonl --out data/clean.jsonl
    """
    from lifecycle.commands.lines import working

    refuse_inputs(out, [source])
    with working(f"redacting {source}"):
        made = write_redacted(out, rows_of([source]), names=names)
    for line in summary(made, out, names=names):
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


@dataclass
class Redacted:
    """What was written."""

    rows: int
    replaced: Counter[Kind]
    """Places that were replaced, by kind."""
    formless: int
    """Rows that have no form, such as raw records: they are redacted too, and cannot be trained on as they are."""


def write_redacted(out: Path, rows: Iterator[Any], *, names: bool | None) -> Redacted:
    """Raises `InvalidInput`."""
    from lifecycle.rows import forms
    from lifecycle.rows.faults import Unreadable
    from lifecycle.rows.writing import write
    from training.data.personal import Redactor
    from training.data.personal.names import names_detector

    redactor = Redactor(names_detector(names))
    made = Redacted(0, redactor.replaced, 0)

    def clean() -> Iterator[Any]:
        for row in rows:
            redacted = redactor.row(row)
            try:
                forms.read(redacted, "")
            except Unreadable:
                made.formless += 1
            yield redacted

    made.rows = write(out, clean())
    return made


def summary(made: Redacted, out: Path, *, names: bool | None) -> Iterator[str]:
    from training.data.personal.names import MISSING, available

    kinds = ", ".join(f"{kind} {count:,}" for kind, count in made.replaced.most_common())
    values, rows = counted(made.replaced.total(), "value"), counted(made.rows, "row")
    yield f"{values} replaced{f' ({kinds})' if kinds else ''}; {rows} written to {out}"
    if made.formless:
        yield f"{counted(made.formless, 'row')} of them cannot be trained on as written: dabt data check {out} says why"
    if names is None and not available():
        yield MISSING
