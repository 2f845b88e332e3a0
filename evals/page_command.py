"""`dabt page` writes the page of a kept evaluation again, in a language; `dabt report-schema` prints JSON schemas."""

from __future__ import annotations

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

    What was imported from another tool has a page too, of what its files have.

    Example: `dabt page triage:latest --language ar`
    """
    from evals.archive.library import folder_named
    from evals.report import write_texts
    from evals.report.stored import read
    from evals.report.words import Words
    from lifecycle.home import Home

    words = Words.of(language)
    place = folder_named(report, Home.at(home))
    write_texts(read(place), words)
    typer.echo(place / "report.html")


def report_schema(
    folder: Annotated[Path | None, typer.Option("--out", help="Write them into this folder.")] = None,
) -> None:
    """Print the JSON schemas of evaluation.json and of the lines of items.jsonl, or write them with --out."""
    from evals.report.stored import schema_text, schemas

    for name in schemas():
        if folder is None:
            typer.echo(schema_text(name), nl=False)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(schema_text(name), encoding="utf-8")
