"""How near an answer's meaning is to the target's, by a sentence-embedding model on this machine."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

from pydantic import Field

from evals.sample import Sample
from evals.scorers.scorer import Figure, Kind, Score, ScoringContext
from evals.scorers.texts import TextScorer
from evals.solvers.solver import Attempt
from retrieval import dense
from retrieval.analysis import is_arabic
from retrieval.packaged import PACKAGED_MODEL


class Similarity(TextScorer):
    """`similarity`: the cosine of both texts' vectors, 0 where it is negative.

    Unscored is what the model cannot read: Arabic, unless `reads_arabic` says that it can, and a text that is longer
    than the model reads, of which it would drop the rest in silence.
    """

    type: Literal["similarity"] = "similarity"
    model: str = Field(default=PACKAGED_MODEL, min_length=1)
    """A sentence-transformers model: the packaged one, which is English, a hub id or a folder."""
    reads_arabic: bool = False

    def figures(self) -> tuple[Figure, ...]:
        return (Figure(name="similarity", kind=Kind.MEAN),)

    async def score(self, sample: Sample, attempt: Attempt, context: ScoringContext) -> Score:
        texts = [attempt.text, sample.target]
        if not attempt.text.strip():
            return Score({"similarity": 0.0})
        if not self.reads_arabic and any(map(is_arabic, texts)):
            return Score(unscored={"similarity": f"{self.model} does not read Arabic"})
        encoder = _encoder(self.model)
        limit = encoder.max_tokens
        if limit is not None and max(encoder.count_tokens(texts)) > limit:
            return Score(unscored={"similarity": f"a text is longer than the {limit} tokens that {self.model} reads"})
        answer, target = encoder.documents(texts)
        return Score({"similarity": min(max(float(answer @ target), 0.0), 1.0)})

    def described(self) -> Any:
        """The model counts by its bytes."""
        settings = self.model_dump(mode="json") | {"model": dense.fingerprint(dense.locate(self.model))}
        return {"settings": settings, "version": self.version}


@cache
def _encoder(model: str) -> dense.Encoder:
    return dense.Encoder(dense.locate(model))
