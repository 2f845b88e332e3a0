"""The passage: the piece of a document that is found, shown to the model and cited by its id."""

from __future__ import annotations

from pydantic import Field

from lifecycle.version import Frozen


class Chunk(Frozen):
    """A passage as the index keeps it. `text` is one line: a line break inside it could pose as another passage."""

    id: str = Field(min_length=1)
    text: str = Field(min_length=1)
    source: str
    """`file:line`, relative to the documents' folder."""


class Passage(Frozen):
    """A chunk that answers a query."""

    id: str
    text: str
    score: float
    """The fused score, the sum of 1 / (k + rank) over the rankings: it orders one answer, no more than that."""
    source: str
