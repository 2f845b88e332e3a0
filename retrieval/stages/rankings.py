"""Finding by words, finding by meaning, and the fusion of both: what every index does unless told otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, Literal

from pydantic import Field

from retrieval.fusion import reciprocal_rank_fusion
from retrieval.stages.stage import Search, Stage, Step, Surroundings

Role = Literal["asks", "finds", "orders"]


class Lexical(Stage):
    """BM25 (`lexical.py`), once for each query."""

    type: Literal["lexical"] = "lexical"
    depth: int | None = Field(default=None, ge=1, le=1000)
    """How many passages a query finds; the index's own number unless given."""

    def load(self, surroundings: Surroundings) -> Step:
        return _finding("lexical", surroundings, surroundings.corpus.by_words, self.depth)


class Dense(Stage):
    """Sentence embeddings (`dense.py`), once for each query that the index's model reads."""

    type: Literal["dense"] = "dense"
    depth: int | None = Field(default=None, ge=1, le=1000)
    long_queries: Literal["windows", "cut"] = "windows"
    """A query that is longer than the model reads counts by the best of its windows. `cut` reads its beginning alone,
    as versions without stages do: theirs must find what they found when they were evaluated."""

    def unfit(self, facts: Mapping[str, Any]) -> str:
        return "" if facts.get("dense_model", "?") else "the index was made without an embedding model"

    def load(self, surroundings: Surroundings) -> Step:
        rank = partial(surroundings.corpus.by_meaning, whole=self.long_queries == "windows")
        return _finding("dense", surroundings, rank, self.depth)


def _finding(
    name: str, surroundings: Surroundings, rank: Callable[[str, int], Sequence[int]], depth: int | None
) -> Step:
    corpus = surroundings.corpus
    many = depth or corpus.config.depth

    def step(search: Search) -> Search:
        for number, query in enumerate(search.queries, start=1):
            ranking = name if number == 1 else f"{name} {number}"
            search = search.ranked(ranking, rank(query, many), corpus.chunks)
        return search

    return step


class Fusion(Stage):
    """Reciprocal ranks of every ranking so far, added up (`fusion.py`)."""

    type: Literal["fusion"] = "fusion"
    role: ClassVar[Role] = "orders"
    k: int | None = Field(default=None, ge=1)
    """The constant; the index's own unless given."""

    def load(self, surroundings: Surroundings) -> Step:
        k = self.k or surroundings.corpus.config.rrf_k

        def step(search: Search) -> Search:
            names = list(dict.fromkeys(name for candidate in search.candidates for name in candidate.ranks))
            rankings = [
                [
                    number
                    for _, number in sorted((c.ranks[name], c.number) for c in search.candidates if name in c.ranks)
                ]
                for name in names
            ]
            by_number = {candidate.number: candidate for candidate in search.candidates}
            fused = reciprocal_rank_fusion(rankings, k)
            return replace(search, candidates=tuple(replace(by_number[n], score=score) for n, score in fused))

        return step
