"""`dabt data split`: rows into files of which none holds what another asks. `../split_files.py` does the work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lifecycle.commands.lines import working

Size = Annotated[float | None, typer.Option(help="A share below 1, or a count of rows.")]


def split(  # noqa: PLR0913, PLR0917 - options, not parameters that anyone passes by place
    source: Annotated[Path, typer.Argument(help="Rows in any form: JSONL, JSON, CSV, TSV or Parquet, also .gz.")],
    train: Annotated[Path | None, typer.Option(help="The file of rows to train on: the rest.")] = None,
    validation: Annotated[Path | None, typer.Option(help="The file of rows that choose the checkpoint.")] = None,
    test: Annotated[Path | None, typer.Option(help="The file of rows to evaluate on.")] = None,
    train_size: Size = None,
    validation_size: Size = 0.1,
    test_size: Size = 0.1,
    group_by: Annotated[str, typer.Option(help="A field of meta: rows that share its value stay together.")] = "",
    stratify: Annotated[
        str, typer.Option(help="A field of meta or of JSON answers that each file has its share of; else the label.")
    ] = "",
    similarity: Annotated[
        float, typer.Option(min=0.5, max=1.0, help="Jaccard similarity from which questions stay together.")
    ] = 0.85,
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives another split; the same gives the same.")] = 17,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")] = False,
) -> None:
    """Split rows, as they stand, so that no question has an equal or a near one in another file.

    Example: dabt data split rows.jsonl --train train.jsonl --test test.jsonl --test-size 200 --stratify urgency
    """
    from lifecycle.text.counting import counted
    from training.data.split_files import Side, Way
    from training.data.split_files import split as split_rows

    named = (("train", train, train_size), ("validation", validation, validation_size), ("test", test, test_size))
    sides = [Side(name, path, size) for name, path, size in named if path is not None]
    with working(f"splitting {source}"):
        told = split_rows(source, sides, Way(group_by, stratify, similarity, seed), force=force)
    for side in sides:
        labels = told.labels[side.name]
        shares = "  ".join(f"{label or '(none)'} {count:,}" for label, count in sorted(labels.items()))
        more = f": {shares}" if set(labels) != {""} else ""
        typer.echo(f"{side.path}: {counted(labels.total(), 'row')}{more}")
    typer.echo(f"{counted(told.groups, 'group')} of rows that ask the same or nearly; the largest has {told.largest:,}")
