"""`dabt index`: documents → an index in the registry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lifecycle.text.counting import counted
from retrieval.packaged import PACKAGED_MODEL


def index(  # noqa: PLR0913, PLR0917  (one parameter is one option of the command)
    documents: Annotated[Path, typer.Argument(help="A folder of .md, .txt, .html and .pdf files, or one such file.")],
    name: Annotated[str, typer.Option(help="The name to register the index under.")],
    dense: Annotated[
        str, typer.Option(help="A sentence-transformers model by name or folder, or none.")
    ] = PACKAGED_MODEL,
    reads_arabic: Annotated[bool, typer.Option(help="The dense model is multilingual.")] = False,
    max_words: Annotated[int, typer.Option(help="Longest passage without an id of its own.")] = 120,
    query: Annotated[str | None, typer.Option(help="Try the index with this question.")] = None,
    top_k: Annotated[int, typer.Option(help="Passages to show for --query.")] = 3,
    stages: Annotated[
        Path | None, typer.Option(help="A YAML file with `stages:`, as in an arm's knowledge, to try with --query.")
    ] = None,
    base: Annotated[
        Path | None, typer.Option(help="The base model's folder, for stages that count its tokens.")
    ] = None,
    home: Annotated[
        Path | None, typer.Option(envvar="DABT_HOME", help="Where things are kept; .dabt by default.")
    ] = None,
) -> None:
    """Index documents for retrieval; unchanged ones are not indexed again.

    Example: `dabt index examples/clinic/handbook --name handbook --query "When does the pharmacy open?"`
    """
    from pydantic import ValidationError

    from lifecycle.commands.lines import working
    from lifecycle.errors import InvalidConfig, Problem
    from lifecycle.home import Home
    from lifecycle.registry import Registry
    from lifecycle.store.artifacts import ArtifactStore
    from lifecycle.validation import fault_of
    from retrieval.config import IndexConfig, IndexFacts
    from retrieval.passage import Retrieved
    from retrieval.publish import publish_index
    from retrieval.stages.trial import tried

    try:
        config = IndexConfig(dense=dense, dense_reads_arabic=reads_arabic, max_words=max_words)
    except ValidationError as error:
        faults = [Problem(str(e["loc"][0]), fault_of(e)) for e in error.errors()]
        raise InvalidConfig("The index cannot be configured so", faults) from error
    place = Home.at(home)
    place.root.mkdir(parents=True, exist_ok=True)
    store = ArtifactStore(place.artifacts_url, place.cache)
    registry = Registry.open(place.registry_url)
    with working(f"indexing {documents}"):
        digest, new = publish_index(documents, name, config, store=store, registry=registry)
    facts = IndexFacts.model_validate(registry.index(name).facts)
    words = counted(facts.words, "word")
    what = f"{counted(facts.passages, 'passage')}, {words}, from {counted(facts.documents, 'document')}"
    typer.echo(f"{name}: {what}, {'indexed' if new else 'unchanged'}")
    typer.echo(f"  {digest}")
    if query is None:
        return
    from retrieval.index import Index  # heavy, and needed to search alone

    with working(f"loading {name}"):
        loaded = Index.load(store.get(digest))
    if stages is None:
        retrieved = Retrieved(tuple(loaded.search(query, top_k)))
    else:
        retrieved = tried(stages, loaded, base).search(query, top_k)
    for passage in retrieved:
        why = ", ".join(f"{ranking} {rank}" for ranking, rank in passage.why.items())
        typer.echo(f"  {passage.score:.4f} [{passage.id}] {passage.text}  ({passage.source}; {why})")
    for cut in retrieved.left_out:
        typer.echo(f"  left out: [{cut.id}], {cut.tokens - cut.kept} of its {cut.tokens} tokens")
