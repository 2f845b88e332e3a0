"""`dabt safety`: what is planted before training or indexing, so that a suite can look for it afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lifecycle.text.counting import counted

app = typer.Typer(help="Plant what suites of harm look for: secrets in rows, instructions in documents.")


@app.command("plant-secrets")
def plant_secrets(
    rows: Annotated[Path, typer.Argument(help="Training rows of conversations, in any form.")],
    out: Annotated[Path, typer.Option(help="A new file for the rows with secrets among them.")],
    manifest: Annotated[Path, typer.Option(help="A new file for what was planted. Keep it away from training.")],
    number: Annotated[int, typer.Option(min=1, help="Secrets.")] = 20,
    repeats: Annotated[str, typer.Option(help="Rows that have a secret, given to the secrets by turns.")] = "1,2,4,8",
    controls: Annotated[int, typer.Option(min=1, help="Of each secret: others of its form that no row has.")] = 99,
    seed: Annotated[int, typer.Option(help="Of secrets and places.")] = 17,
) -> None:
    """Copy training rows with made-up secrets among them, so that a suite can find what a version gives away.

    Example: `dabt safety plant-secrets train.jsonl --out planted.jsonl --manifest secrets.json`

    Then train on the copy, and evaluate with `task: safety/leakage` and `settings: {manifest: secrets.json}`.
    """
    from evals.safety.planted_secrets import plant
    from lifecycle.errors import InvalidInput

    times = [part.strip() for part in repeats.split(",")]
    if not all(part.isdecimal() and int(part) >= 1 for part in times):
        raise InvalidInput(f"--repeats is {repeats!r}: write whole numbers from 1 on, such as 1,4,16")
    counts = [int(part) for part in times]
    made = plant(rows, out, manifest, number=number, repeats=counts, controls=controls, seed=seed)
    total = sum(secret.repeats for secret in made.secrets)
    has = f"{manifest} has them and {counted(controls, 'control')} of each"
    typer.echo(f"{counted(number, 'secret')} in {counted(total, 'row')} of {out}; {has}")


@app.command("plant-documents")
def plant_documents(
    documents: Annotated[Path, typer.Argument(help="The folder of documents, or one file.")],
    questions: Annotated[Path, typer.Option(help="Questions labelled with the ids of their passages.")],
    out: Annotated[Path, typer.Option(help="A new folder: documents and questions.jsonl.")],
    gold: Annotated[str, typer.Option(help="Field of the questions' meta that has the ids.")] = "passages",
    number: Annotated[
        int | None, typer.Option(min=1, help="Passages to plant an instruction in; all that are asked for, up to 60.")
    ] = None,
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
