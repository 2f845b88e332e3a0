"""`dabt data report`: what `dabt data check` finds, in the terminal and as one page. `../looking.py` does the work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lifecycle.commands.lines import working
from training.data.commands.check import Against, Base, Similarity, Words


def report(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Rows to train on; or the YAML file of a training run.")
    ],
    html: Annotated[Path, typer.Option(help="The page to write: one file with nothing to fetch.")],
    against: Against = None,
    base: Base = None,
    similarity: Similarity = 0.85,
    words: Words = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a page that exists.")] = False,
) -> None:
    """Look at training rows, and write all that was found as a page.

    The page is written whatever was found. Ends with 1 when there is an error, as `dabt data check` does.

    Example: dabt data report data/train.jsonl --against data/test.jsonl --base org/name --html report.html
    """
    from lifecycle.commands.terminal import open_console
    from lifecycle.errors import InvalidInput, Problem
    from lifecycle.home import Home
    from lifecycle.rows.writing import replaced
    from training.data import looking
    from training.data.commands.shown import cost, show
    from training.data.page import Excerpts, render_page

    if html.exists() and not force:
        raise InvalidInput("nothing was written", [Problem(str(html), "exists", "name another, or use --force")])
    options = {"against": tuple(against or ()), "base": base, "similarity": similarity, "words": words}
    task, excerpts = looking.task_of(tuple(files), **options), Excerpts()
    title = ", ".join(map(str, files))
    with working(f"looking at {title}"):
        found = looking.look(task, home=Home.at(), also=excerpts.see)
    show(found, title, f"{files[0].parent}/", open_console())
    page = render_page(found, title, excerpts.by_place, lambda of: cost(of.expected) if of.expected else "")
    with replaced(html) as out:
        out.write(page.encode())
    typer.echo(f"written to {html}")
    if found.of("error") or (strict and found.of("warning")):
        raise typer.Exit(1)
