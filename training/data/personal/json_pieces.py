"""The parts of a text to look at one by one: the whole of it, or the strings and numbers of its JSON.

An answer is often JSON, bare or in a fence of Markdown. Its numbers have no quotes, its strings have escapes, and its
keys say what a value is; what replaces a value must leave it JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from training.data.personal.spelling import Spelling, unescaped

_TOKEN = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"(\s*:)?|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?', re.DOTALL)
_FENCE = "```"
_LANGUAGE = re.compile(r"[A-Za-z]{0,20}\d?\s*\n")
"""No longer number: what stands there is not looked at."""
_DEEPEST = 3
"""JSON inside a string of JSON, and again inside that."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a text: what it says, where that stands, and the JSON key before it."""

    said: Spelling
    start: int
    """Where the part begins in the text."""
    key: str = ""
    quotes: str = ""
    """What a placeholder must stand between here; empty but for a number of JSON."""

    def span(self, start: int, end: int) -> tuple[int, int]:
        first, last = self.said.span(start, end)
        return self.start + first, self.start + last


def pieces(text: str) -> Iterator[Piece]:
    """The pieces of `text`, in order. Together they hold all of its strings and numbers."""
    if _is_json(text):
        yield from _values(text, 0)
        return
    at = 0
    for number, part in enumerate(text.split(_FENCE)):
        language = _LANGUAGE.match(part) if number % 2 else None
        if language and _is_json(part[language.end() :]):
            for piece in _values(part[language.end() :], 0):
                yield Piece(piece.said, at + language.end() + piece.start, piece.key, piece.quotes)
        else:
            yield Piece(Spelling(part), at)
        at += len(part) + len(_FENCE)


def _is_json(text: str) -> bool:
    if not text.lstrip().startswith(("{", "[")):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _values(text: str, depth: int) -> Iterator[Piece]:
    quote = '"'
    for _ in range(depth):
        quote = json.dumps(quote)[1:-1]
    key = ""
    for token in _TOKEN.finditer(text):
        if token[1] is None:
            yield Piece(Spelling(token[0]), token.start(), key, quote)
            continue
        said = unescaped(token[1])
        if depth < _DEEPEST and _is_json(said.text):
            for piece in _values(said.text, depth + 1):
                yield Piece(_within(said, piece), token.start(1), piece.key or key, piece.quotes)
        else:
            yield Piece(said, token.start(1), key)
        if token[2]:
            key = said.text


def _within(outer: Spelling, piece: Piece) -> Spelling:
    """What `piece` says of the text of `outer`, placed in what `outer` was made of."""
    spans = [outer.span(*piece.span(at, at + 1)) for at in range(len(piece.said.text))]
    return Spelling(piece.said.text, [start for start, _ in spans], [end for _, end in spans])
