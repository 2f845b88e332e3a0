"""A cross-encoder reads the question and each passage together and orders the best of them anew.

Nogueira & Cho, "Passage re-ranking with BERT" (arXiv 1901.04085). A passage that is longer than the model reads counts
as its best window (`windows.py`).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from lifecycle.imports import to_stay
from retrieval import dense
from retrieval.stages.stage import Search, Stage, Step, Surroundings
from retrieval.threads import one_thread
from retrieval.windows import Windows


class CrossEncoder:
    """A sentence-transformers CrossEncoder, shared by threads, one search at a time. Loading it takes seconds."""

    def __init__(self, folder: Path) -> None:
        with to_stay("sentence_transformers"):
            from sentence_transformers import CrossEncoder as Model

        self._lock = threading.Lock()
        self._windows = Windows(folder)
        # Always on the processor, as the embedding model is: the accelerator is the engine's.
        self._model: Any = Model(str(folder), device="cpu", local_files_only=True)

    def scores(self, query: str, texts: Sequence[str]) -> list[float]:
        """How well each text answers `query`, higher is better."""
        queries = self._windows.of(query, self._windows.room_of_pair // 2)
        room = self._windows.room_of_pair - max(map(self._windows.count, queries))
        pairs = [
            (at, (asked, window))
            for at, text in enumerate(texts)
            for window in self._windows.of(text, room)
            for asked in queries
        ]
        with self._lock, one_thread():
            given = self._model.predict([pair for _, pair in pairs], show_progress_bar=False)
        best = [float("-inf")] * len(texts)
        for (at, _), score in zip(pairs, given, strict=True):
            best[at] = max(best[at], float(score))
        return best


class Rerank(Stage):
    """The first `depth` candidates by the model's score; those after them keep their order behind."""

    type: Literal["rerank"] = "rerank"
    role: ClassVar[Literal["asks", "finds", "orders"]] = "orders"
    model: str = Field(min_length=1)
    """A sentence-transformers CrossEncoder with one score: a hub id or a folder."""
    depth: int = Field(default=20, ge=1, le=200)
    """Passages that it reads for a question: its time grows with them."""

    def fingerprint(self) -> str:
        return dense.fingerprint(self._folder())

    def load(self, surroundings: Surroundings) -> Step:
        encoder = CrossEncoder(self._folder())
        encoder.scores("warm", ["warm"])

        def step(search: Search) -> Search:
            first, rest = search.candidates[: self.depth], search.candidates[self.depth :]
            if not first:
                return search
            scores = encoder.scores(search.query, [candidate.chunk.text for candidate in first])
            order = sorted(range(len(first)), key=lambda at: -scores[at])
            read = (
                replace(first[at], score=scores[at], ranks={**first[at].ranks, self.type: rank})
                for rank, at in enumerate(order, start=1)
            )
            return replace(search, candidates=(*read, *rest))

        return step

    def _folder(self) -> Path:
        return dense.locate(self.model, "model", "cross-encoder")
