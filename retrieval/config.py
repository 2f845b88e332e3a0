"""How an index is made (`IndexConfig`) and what came of it (`IndexFacts`)."""

from __future__ import annotations

from pydantic import Field

from lifecycle.version import Digest, Frozen
from retrieval.packaged import PACKAGED_MODEL


class IndexConfig(Frozen):
    """Every choice that changes what is found; it is kept inside the index, and queries obey it."""

    dense: str = Field(default=PACKAGED_MODEL, min_length=1)
    """A sentence-transformers model: the packaged one, a hub id or a folder; `none` for lexical search alone."""
    dense_reads_arabic: bool = False
    """Set it with a multilingual model. The packaged one is English, so an Arabic query is answered by words alone."""
    max_words: int = Field(default=120, ge=10, le=2000)
    """A passage without a mark of its own is cut at a sentence's end before it exceeds this."""
    overlap_sentences: int = Field(default=1, ge=0, le=5)
    """Sentences that two neighbouring pieces of one section share."""
    rrf_k: int = Field(default=60, ge=1)
    """The constant of reciprocal-rank fusion; 60 is the paper's (see `fusion.py`)."""
    depth: int = Field(default=50, ge=1, le=1000)
    """How many passages each ranking hands to the fusion."""


class IndexFacts(Frozen):
    """What an index holds. It is kept beside the index's digest in the registry."""

    documents: int
    passages: int
    words: int
    marked: int
    """Passages whose id was written in the document."""
    dense_model: str | None = None
    dense_model_digest: Digest | None = None
    dimensions: int | None = None
    windowed: dict[int, int] | None = None
    """Passages, by number, that are longer than the model reads, each with how many windows of it were embedded. None
    where there is none, and in an index from before: what was too long for the model was cut off in those."""
    recipe: Digest
    """Of passages, config and embedding model: what was asked for, whatever a processor makes of the last float bit."""
