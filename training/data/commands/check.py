"""`dabt data check`: what is wrong with training rows, before they are trained on. `../looking.py` does the work."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from lifecycle.commands.lines import working

Train = Annotated[
    Path, typer.Argument(help="Rows to train on, in any form and container; or the YAML file of a training run.")
]
Against = Annotated[
    list[Path] | None,
    typer.Option(help="Rows that must be unseen in training: validation, test, an evaluation's YAML. Repeatable."),
]
Base = Annotated[
    str | None, typer.Option(help="A base, folder or hub id, by which tokens, time and memory of a run are told.")
]
Similarity = Annotated[
    float, typer.Option(min=0.5, max=1.0, help="Jaccard similarity from which questions are near duplicates.")
]
Words = Annotated[Path | None, typer.Option(help="A YAML file of toxic words in place of the one that is shipped.")]


def check(
    train: Train,
    against: Against = None,
    redact: Annotated[
        Path | None, typer.Option(help="Write a copy with personal data replaced by [EMAIL], [PHONE], …")
    ] = None,
    base: Base = None,
    similarity: Similarity = 0.85,
    words: Words = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything found as JSON.")] = False,
) -> None:
    """Say what is wrong with training rows: leaks, duplicates, personal data, toxic words, imbalance, size.

    Ends with 1 when there is an error.

    Example: dabt data check data/train.jsonl --against data/test.jsonl --redact data/clean.jsonl
    """
    from rich.console import Console

    from lifecycle.conversation import Conversation
    from lifecycle.home import Home
    from lifecycle.rows.writing import write_rows
    from training.data import checks, looking
    from training.data.commands.shown import show

    options = {"against": tuple(against or ()), "base": base, "similarity": similarity, "words": words}
    task = looking.task_of((train,), **options)
    rows: list[Conversation] = []

    def keep(row: object) -> None:
        if redact is not None and isinstance(row, Conversation):
            rows.append(row)

    with working(f"looking at {train}"):
        report = looking.look(task, home=Home.at(), also=keep)
    if redact is not None:
        cleaned, replaced = checks.cleaned(rows)
        write_rows(redact, cleaned)
        print(f"{replaced} values replaced; {len(cleaned)} rows written to {redact}", file=sys.stderr)
    if as_json:
        print(report.model_dump_json(indent=2))
    else:
        show(report, str(train), f"{train.parent}/", Console())
    if report.of("error") or (strict and report.of("warning")):
        raise typer.Exit(1)
