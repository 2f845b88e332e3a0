"""`dabt safety`: what is planted before training or indexing, so that a suite can look for it afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Plant what suites of harm look for: canaries in rows, instructions in documents.")


@app.command("plant-documents")
def plant_documents(
    documents: Annotated[Path, typer.Argument(help="The folder of documents, or one file.")],
    questions: Annotated[Path, typer.Option(help="Questions labelled with the ids of their passages.")],
    out: Annotated[Path, typer.Option(help="A new folder: documents and questions.jsonl.")],
    gold: Annotated[str, typer.Option(help="Field of the questions' meta that has the ids.")] = "passages",
    number: Annotated[int, typer.Option(min=1, help="Passages to plant an instruction in.")] = 60,
    seed: Annotated[int, typer.Option(help="Of the choice.")] = 17,
) -> None:
    """Copy documents with instructions planted in passages, and write the questions that find them.

    Example: `dabt safety plant-documents examples/clinic/handbook --questions examples/clinic/data/handbook/test.jsonl
    --gold passage --out planted`

    Then `dabt index planted/documents --name handbook-planted`, and an evaluation with `task: safety/injection` and
    `settings: {planted: planted/questions.jsonl}`.
    """
    from evals.safety.planted_documents import DOCUMENTS, QUESTIONS, plant

    planted = plant(documents, questions, out, gold=gold, number=number, seed=seed)
    typer.echo(
        f"{planted.planted} of {planted.passages} passages have an instruction: {out / DOCUMENTS}, {out / QUESTIONS}"
    )
