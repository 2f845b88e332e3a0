"""Which of many patterns may fit a text: those that have a word which the text has too.

A pattern is filed under the rarest of its own words, so a text is tried against a few patterns and not against all, and
a long text that fits none is given up soon. Pure. `sentences.py` and `console/heard.py` keep their patterns so.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Generic, TypeVar

Kept = TypeVar("Kept")
PLACE = "\0"
"""Stands in a pattern's text for whatever is put there."""
_WORD = re.compile(r"\w+")
_OWN = re.compile(rf"(?<![\w{PLACE}])\w+(?![\w{PLACE}])")
"""A word that no value stands against: it is a word of every text that fits."""


class Likely(Generic[Kept]):
    def __init__(self, patterns: Iterable[tuple[str, Kept]]) -> None:
        """Each with its text, places as `PLACE`; in the order in which they are to be tried."""
        filed = [(set(_OWN.findall(text)), pattern) for text, pattern in patterns]
        often = Counter(word for words, _ in filed for word in words)
        self._by_word: dict[str, list[tuple[int, Kept]]] = defaultdict(list)
        for at, (words, pattern) in enumerate(filed):
            rarest = min(words, key=lambda word: (often[word], word), default=PLACE)
            self._by_word[rarest].append((at, pattern))

    def of(self, text: str) -> Sequence[Kept]:
        """In their order; those without a word of their own are always among them."""
        words = self._by_word.keys() & _words(text)
        return [pattern for _, pattern in sorted((it for word in words for it in self._by_word[word]), key=_place)]


@lru_cache(maxsize=64)
def _words(text: str) -> frozenset[str]:
    """Kept for the next row of patterns, which is asked about the same text as a rule."""
    return frozenset({PLACE, *_WORD.findall(text)})


def _place(filed: tuple[int, object]) -> int:
    return filed[0]
