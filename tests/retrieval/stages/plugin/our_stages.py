"""A package of somebody else: a stage, as its users would install it."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

from retrieval.stages.stage import Search, Stage, Step, Surroundings


class Shortest(Stage):
    """The shortest passages first, as long as they have `words` words."""

    type: Literal["shortest"] = "shortest"
    role: ClassVar[Literal["asks", "finds", "orders"]] = "orders"
    words: int = 1

    def load(self, surroundings: Surroundings) -> Step:
        def step(search: Search) -> Search:
            enough = [c for c in search.candidates if len(c.chunk.text.split()) >= self.words]
            return replace(search, candidates=tuple(sorted(enough, key=lambda c: len(c.chunk.text))))

        return step


NOT_A_STAGE = 5
