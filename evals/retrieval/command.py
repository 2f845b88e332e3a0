"""`dabt measure-index`: how well an index finds what is right, with no model asked and no service running."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lifecycle.commands.terminal import HomeOption, open_console


def measure_index(
    questions: Annotated[Path, typer.Argument(help="Rows with a question and the ids of the passages that are right.")],
    index: Annotated[list[str], typer.Option(help="An index by name or digest; again to compare several.")],
    gold: Annotated[str, typer.Option(help="The field of a row, or of its meta, that has the ids.")] = "passages",
    cluster: Annotated[
        str | None, typer.Option(help="A field of meta that says which questions belong together.")
    ] = None,
    k: Annotated[str, typer.Option("--k", "-k", help="How many passages are looked at.")] = "1,3,10",
    by: Annotated[str, typer.Option(help="passage, or document where the labels name documents.")] = "passage",
    home: HomeOption = None,
) -> None:
    """Measure what an index finds by words, by meaning and by both: recall, precision, MRR, nDCG, for each language.

    Example: `dabt measure-index questions.jsonl --index handbook --gold passage`
    """
    from evals.retrieval.measured import Unit, measure_indexes
    from evals.retrieval.questions import read_questions
    from evals.retrieval.shown import folder_of, terminal_table, write
    from lifecycle.commands.lines import working
    from lifecycle.commands.terminal import show
    from lifecycle.errors import InvalidInput
    from lifecycle.home import Home
    from lifecycle.registry import Registry
    from lifecycle.store.artifacts import ArtifactStore
    from retrieval.index import Index

    if by not in {"passage", "document"}:
        raise InvalidInput(f"--by is passage or document, not {by!r}")
    if not all(cut.strip().isdecimal() for cut in k.split(",")):
        raise InvalidInput(f"-k is a list of whole numbers from 1, such as 1,3,10, not {k!r}")
    rows = read_questions(questions, gold, cluster)
    place = Home.at(home)
    store = ArtifactStore(place.artifacts_url, place.cache)
    with Registry.open(place.registry_url) as registry, working(f"searching for {len(rows)} questions"):
        records = [registry.index(name) for name in dict.fromkeys(index)]
        known = [(record.name, record.digest, Index.load(store.get(record.digest))) for record in records]
        cuts = [int(cut) for cut in k.split(",")]
        unit: Unit = "document" if by == "document" else "passage"
        report = measure_indexes(questions.name.partition(".")[0], rows, known, cuts=cuts, unit=unit)
    folder = folder_of(place.root, report)
    write(report, folder)
    console = open_console()
    show(terminal_table(report), console)
    console.print(f"report: {folder / 'retrieval.md'}", soft_wrap=True, highlight=False)
