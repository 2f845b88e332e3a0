"""Which script a text is written in: the same word in reports on data and in evaluations."""

from __future__ import annotations

import unicodedata
from functools import lru_cache


def language(text: str) -> str:
    """The script that has at least 70 % of the letters, otherwise `mixed`; `none` without letters.

    A script is not a language, but it is what tells Arabic from English without a model.
    """
    if text.isascii():
        return "latin" if any(map(str.isalpha, text)) else "none"
    letters: dict[str, int] = {}
    for char in set(text):
        if script := _script(char):
            letters[script] = letters.get(script, 0) + text.count(char)
    if not letters:
        return "none"
    most = max(letters, key=letters.__getitem__)
    return most if letters[most] >= 0.7 * sum(letters.values()) else "mixed"


@lru_cache(maxsize=4096)
def _script(char: str) -> str:
    """Of a letter; empty for what is none."""
    return unicodedata.name(char, "unknown").split()[0].split("-")[0].lower() if char.isalpha() else ""
