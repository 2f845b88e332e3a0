"""Passages within a number of the base's tokens: what does not fit is left out whole, or cut at a sentence's end.

Both are told in the answer (`left_out`), since a model that was not shown a passage did not fail to read it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field

from retrieval.chunks import SENTENCE_END
from retrieval.passage import LeftOut, Passage
from retrieval.prompting import render
from retrieval.stages.stage import Candidate, Search, Stage, Step, Surroundings


class TokenBudget(Stage):
    """Takes passages best first. One that does not fit is not shown; a shorter one behind it may still be."""

    type: Literal["token_budget"] = "token_budget"
    role: ClassVar[Literal["asks", "finds", "orders"]] = "orders"
    tokens: int = Field(ge=1)
    """Of all passages together, as the prompt writes them: `[id] text`, one a line."""
    over: Literal["drop", "cut"] = "drop"
    """`cut` keeps as many whole sentences of a passage as fit."""

    def load(self, surroundings: Surroundings) -> Step:
        count = surroundings.token_counter()

        def fits(candidates: list[Candidate]) -> bool:
            return count(_rendered(candidates)) <= self.tokens

        def step(search: Search) -> Search:
            shown: list[Candidate] = []
            left_out = list(search.left_out)
            for candidate in search.candidates[: search.top_k]:
                if fits([*shown, candidate]):
                    shown.append(candidate)
                    continue
                kept = 0
                for shorter in _shorter(candidate) if self.over == "cut" else ():
                    if fits([*shown, shorter]):
                        shown.append(shorter)
                        kept = count(shorter.chunk.text)
                        break
                left_out.append(LeftOut(id=candidate.chunk.id, tokens=count(candidate.chunk.text), kept=kept))
            return replace(search, candidates=tuple(shown), left_out=tuple(left_out))

        return step


def _rendered(candidates: list[Candidate]) -> str:
    return render([Passage(id=c.chunk.id, text=c.chunk.text, score=c.score, source="") for c in candidates])


def _shorter(candidate: Candidate) -> list[Candidate]:
    """It without its last sentence, without its last two, and so on."""
    ends = [match.start() for match in SENTENCE_END.finditer(candidate.chunk.text)]
    texts = (candidate.chunk.text[:end] for end in reversed(ends))
    return [replace(candidate, chunk=candidate.chunk.model_copy(update={"text": text})) for text in texts]
