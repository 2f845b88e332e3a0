"""`dabt page` writes the page of a kept evaluation again, in a language; `dabt report-schema` prints JSON schemas."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def page(
    folder: Annotated[Path, typer.Argument(help="The evaluation's folder, or its name under the home.")],
    language: Annotated[str, typer.Option(help="en or ar.")] = "en",
    home: Annotated[
        Path | None, typer.Option(envvar="DABT_HOME", help="Where things are kept; .dabt by default.")
    ] = None,
) -> None:
    """Write report.html and report.md of a kept evaluation again, in English or Arabic. Nothing is asked or decided.

    Example: `dabt page triage-eaf935b90b35 --language ar`
    """
    from evals.report import write_texts
    from evals.report.stored import read
    from evals.report.words import Words
    from lifecycle.home import Home

    words = Words.of(language)
    place = folder if folder.is_dir() else Home.at(home).evaluations / folder
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
