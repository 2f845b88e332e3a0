"""One question that holds several → a query for each of them, by rules that give the same parts every time.

A question such as "When does the pharmacy open, and who signs form QX-71?" has its answers in two passages, and each
ranks low for the whole. No model is asked: its answer would differ from engine to engine, and the version with it.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field

from retrieval.analysis import analyse
from retrieval.stages.stage import Search, Stage, Step, Surroundings

_ENGLISH = "who|whom|whose|what|when|where|which|why|how|is|are|do|does|did|can|could|may|must|should|will"
_ARABIC = "ما|ماذا|متى|أين|كيف|كم|هل|من|لماذا|أي|أية|بكم"
_ENDS = re.compile(r"(?<=[.!?؟…])\s+|[;؛\n]+")
_JOINTS = re.compile(
    rf",?\s+(?:and|or|but|also)\s+(?=(?:{_ENGLISH})\b)|[،,]?\s+(?:أو\s+|ثم\s+|و\s?)(?=(?:{_ARABIC})\b)", re.IGNORECASE
)


def parts_of(question: str) -> list[str]:
    """Its sentences and the questions joined in them by "and", "or", و, each once and in order; the whole is not among
    them."""
    pieces = (piece.strip(" ,،") for sentence in _ENDS.split(question) for piece in _JOINTS.split(sentence))
    return [part for part in dict.fromkeys(pieces) if part != question.strip() and analyse(part)]


class MultiQuery(Stage):
    """Searches for the question, and for each part of it that asks something of its own."""

    type: Literal["multi_query"] = "multi_query"
    role: ClassVar[Literal["asks", "finds", "orders"]] = "asks"
    most: int = Field(default=4, ge=1, le=16)
    """Parts that are searched for; those after them are covered by the whole question alone."""

    def load(self, surroundings: Surroundings) -> Step:
        def step(search: Search) -> Search:
            parts = [part for part in parts_of(search.query) if part not in search.queries]
            return replace(search, variants=(*search.variants, *parts[: self.most]))

        return step
