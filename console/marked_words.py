"""A text in pieces, with the words marked that a question has too, as the search by words sees them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

_WORDS = re.compile(r"\w+|\W+")


@dataclass(frozen=True, slots=True)
class Piece:
    text: str
    shared: bool


def marked(text: str, question: str) -> Sequence[Piece]:
    """The pieces of `text` in order; a word is `shared` when it stems to a term of the question."""
    from retrieval.analysis import analyse

    wanted = set(analyse(question))
    words = ((word, bool(wanted and wanted.intersection(analyse(word)))) for word in _WORDS.findall(text))
    return [
        Piece("".join(word for word, _ in group), shared) for shared, group in groupby(words, key=lambda pair: pair[1])
    ]
