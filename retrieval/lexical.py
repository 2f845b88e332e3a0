"""The ranking by words: BM25 over the terms of `analysis.py`, computed by bm25s.

It is rebuilt from the passages when an index is loaded (about 10,000 passages a second) and not stored: the index
then has one truth, and its bytes do not depend on the format of bm25s.
"""

from __future__ import annotations

from collections.abc import Sequence

from lifecycle.version import Frozen
from retrieval.analysis import Analyser, analyse, analyser

K1, B, METHOD = 1.5, 0.75, "lucene"
"""BM25's, as bm25s names them."""


class WordRanking(Frozen):
    """How passages are ranked by words. An index says it, and is searched in no other way."""

    analyser: Analyser
    k1: float
    b: float
    method: str


def word_ranking() -> WordRanking:
    """The one here."""
    return WordRanking(analyser=analyser(), k1=K1, b=B, method=METHOD)


class LexicalRanking:
    """BM25 as in Lucene. Read-only after it is made, so threads may share it."""

    def __init__(self, texts: Sequence[str]) -> None:
        import bm25s

        terms = [analyse(text) for text in texts]
        # bm25s numbers words in the order of a set, which differs from run to run; sums of floats would follow it.
        self._vocabulary = {term: number for number, term in enumerate(sorted({t for row in terms for t in row}))}
        self._bm25 = None
        if self._vocabulary:
            self._bm25 = bm25s.BM25(k1=K1, b=B, method=METHOD)
            ids = [[self._vocabulary[term] for term in row] for row in terms]
            self._bm25.index((ids, dict(self._vocabulary)), show_progress=False)

    def search(self, query: str, depth: int) -> list[int]:
        """Numbers of the at most `depth` passages that share a term with `query`, best first."""
        import numpy as np

        known = [self._vocabulary[term] for term in analyse(query) if term in self._vocabulary]
        if self._bm25 is None or not known:
            return []
        scores = self._bm25.get_scores(known)
        best = np.argsort(-scores, kind="stable")[:depth]
        return [int(number) for number in best if scores[number] > 0]
