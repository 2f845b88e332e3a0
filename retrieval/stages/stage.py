"""The seam of retrieval: a stage takes a search (its queries and candidates) and gives the search as it goes on.

`asks` stages add queries, `finds` stages add candidates, `orders` stages sort, cut or leave out what was found. A
candidate carries the rank that each ranking gave it, so that a fusion needs nothing else and a reader sees why it is
there. Read `rankings.py` next: the three stages of an index that says nothing of stages.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from lifecycle.errors import InvalidConfig, Problem
from lifecycle.version import Frozen
from retrieval.config import IndexConfig
from retrieval.passage import Chunk, LeftOut
from retrieval.tokens import token_counter


@dataclass(frozen=True, slots=True)
class Candidate:
    """A passage that may be shown."""

    number: int
    """In the index."""
    chunk: Chunk
    score: float = 0.0
    """Of the last stage that scored it: it orders one search, no more than that."""
    ranks: Mapping[str, int] = field(default_factory=dict)
    """Why it is here: its rank, from 1, in each ranking that holds it."""


@dataclass(frozen=True, slots=True)
class Search:
    """One search on its way through the stages."""

    query: str
    top_k: int
    """How many passages will be shown at most. The pipeline cuts to it after the last stage."""
    variants: tuple[str, ...] = ()
    """Further queries for the same need."""
    candidates: tuple[Candidate, ...] = ()
    """Best first."""
    left_out: tuple[LeftOut, ...] = ()
    """Passages that would have been shown, and are not or not whole. The answer tells its caller of them."""

    @property
    def queries(self) -> tuple[str, ...]:
        return (self.query, *self.variants)

    def ranked(self, name: str, numbers: Sequence[int], chunks: Sequence[Chunk]) -> Search:
        """With one more ranking: known candidates get a rank more, new ones stand behind them."""
        rank = {number: at for at, number in enumerate(numbers, start=1)}
        known = [
            replace(one, ranks={**one.ranks, name: rank.pop(one.number)}) if one.number in rank else one
            for one in self.candidates
        ]
        new = [Candidate(number, chunks[number], 1.0 / at, {name: at}) for number, at in rank.items()]
        return replace(self, candidates=(*known, *new))


class Corpus(Protocol):
    """What stages search: an index. A ranking is numbers of `chunks`, best first."""

    config: IndexConfig

    @property
    def chunks(self) -> Sequence[Chunk]: ...
    def by_words(self, query: str, depth: int) -> list[int]: ...
    def by_meaning(self, query: str, depth: int, whole: bool) -> list[int]: ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a stage may use: the index, and the folder of the base model that will read the passages."""

    corpus: Corpus
    base: Path | None = None

    def token_counter(self) -> Callable[[str], int]:
        """By the base's tokenizer. Raises `InvalidConfig` where no base is known, or it has no tokenizer."""
        if self.base is None:
            problem = Problem(
                "base", "a stage counts the base's tokens, and no base is given", "name it: --base FOLDER"
            )
            raise InvalidConfig("The stages cannot be loaded", [problem])
        return token_counter(self.base)


Step = Callable[[Search], Search]
"""A loaded stage. Threads may share it."""


class Stage(Frozen, ABC):
    """One stage. The fields are its settings: the keys beside `type` in an arm's `knowledge.stages`.

    A package brings its own by an entry point of the group `dabt.stages`, named as `type` is.
    """

    type: str
    role: ClassVar[Literal["asks", "finds", "orders"]] = "finds"

    def fingerprint(self) -> str:
        """Of what decides its result beside its settings: the bytes of a model, the version of a rule. It is in the
        version's digest, and a stage that gives another one later is refused. Raises `InvalidConfig` for a model that
        is not to be had.
        """
        return "1"

    def unfit(self, facts: Mapping[str, Any]) -> str:
        """Why it cannot work on an index of these `IndexFacts`; empty when it can."""
        return ""

    @abstractmethod
    def load(self, surroundings: Surroundings) -> Step:
        """Make it ready. It may take seconds; the step that it gives must not."""
