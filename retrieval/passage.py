"""The passage: the piece of a document that is found, shown to the model and cited by its id."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, overload

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
    why: dict[str, int] = Field(default_factory=dict)
    """Its rank, from 1, in each ranking that holds it."""


class LeftOut(Frozen):
    """A passage that the token budget kept from being shown, or from being shown whole."""

    id: str
    tokens: int
    """Of the passage."""
    kept: int = 0
    """Tokens of it that are shown: 0 for one that is left out, fewer than `tokens` for one that is cut."""


class _Candidate(Protocol):
    @property
    def chunk(self) -> Chunk: ...
    @property
    def score(self) -> float: ...
    @property
    def ranks(self) -> Mapping[str, int]: ...


@dataclass(frozen=True)
class Retrieved(Sequence[Passage]):
    """The passages of one search, best first, and what was left out of them."""

    passages: tuple[Passage, ...] = ()
    left_out: tuple[LeftOut, ...] = field(default=())

    @classmethod
    def of(cls, candidates: Iterable[_Candidate], left_out: tuple[LeftOut, ...] = ()) -> Retrieved:
        passages = (
            Passage(id=c.chunk.id, text=c.chunk.text, score=c.score, source=c.chunk.source, why=dict(c.ranks))
            for c in candidates
        )
        return cls(tuple(passages), left_out)

    @overload
    def __getitem__(self, at: int) -> Passage: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Passage]: ...
    def __getitem__(self, at: int | slice) -> Passage | Sequence[Passage]:
        return self.passages[at]

    def __len__(self) -> int:
        return len(self.passages)

    def __iter__(self) -> Iterator[Passage]:
        return iter(self.passages)
