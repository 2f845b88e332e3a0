"""`dabt page` writes the page of a kept evaluation again, in a language; `dabt report-schema` prints JSON schemas."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer


def page(
    report: Annotated[
        str,
        typer.Argument(help="The evaluation's folder, or its name, as `dabt reports` takes it."),
    ],
    language: Annotated[str, typer.Option(help="en or ar.")] = "en",
    home: Annotated[
        Path | None, typer.Option(envvar="DABT_HOME", help="Where things are kept; .dabt by default.")
    ] = None,
) -> None:
    """Write report.html and report.md of a kept evaluation again, in English or Arabic. Nothing is asked or decided.

    People's votes are shown as they are now. An imported report has a page too, of what its files have.

    Example: `dabt page triage:latest --language ar`
    """
    from evals.archive.library import Library
    from evals.people.in_report import votes_now
    from evals.report import write_texts
    from evals.report.stored import read
    from evals.report.words import Words
    from lifecycle.home import Home
    from lifecycle.registry import Registry

    words, there = Words.of(language), Home.at(home)
    with Registry.open(there.registry_url) as registry:
        place = Library(registry, there).folder_named(report)
        kept = read(place)
        votes = votes_now(kept.report, kept.verdicts, registry, datetime.now(UTC))
    write_texts(replace(kept, votes=votes), words)
    typer.echo(place / "report.html")


def report_schema(
    folder: Annotated[Path | None, typer.Option("--out", help="Write them into this folder.")] = None,
) -> None:
    """Print the JSON schemas of evaluation.json and of the lines of items.jsonl, or write them with --out."""
    from evals.report.stored import schema_text, schemas
    from lifecycle.errors import InvalidInput
    from lifecycle.rows.writing import replaced

    if folder is None:
        for name in schemas():
            typer.echo(schema_text(name), nl=False)
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(f"--out: {folder} can hold no files ({error.strerror}): name another folder") from error
    for name in schemas():
        with replaced(folder / name) as out:
            out.write(schema_text(name).encode())
