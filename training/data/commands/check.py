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
    redact: Annotated[Path | None, typer.Option(help="Write a copy of the rows as `dabt data redact` does.")] = None,
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
    from lifecycle.commands.terminal import open_console
    from lifecycle.errors import InvalidData
    from lifecycle.home import Home
    from training.data import looking
    from training.data.commands.redact import refuse_inputs, rows_of, summary, write_redacted
    from training.data.commands.shown import show

    options = {"against": tuple(against or ()), "base": base, "similarity": similarity, "words": words}
    task = looking.task_of((train,), **options)
    if redact is not None:
        refuse_inputs(redact, [train, *task.files, *task.against])
    with working(f"looking at {train}"):
        report = looking.look(task, home=Home.at())
    if redact is not None:
        try:
            made = write_redacted(redact, rows_of(task.files), names=None)
        except InvalidData:  # each of its rows is in the report
            print(f"nothing was written to {redact}: some rows cannot be read", file=sys.stderr)
        else:
            for line in summary(made, redact, names=None):
                print(line, file=sys.stderr)
    if as_json:
        print(report.model_dump_json(indent=2))
    else:
        show(report, str(train), f"{train.parent}/", open_console())
    if report.of("error") or (strict and report.of("warning")):
        raise typer.Exit(1)
