"""Which script a text is written in: the same word in reports on data and in evaluations."""

from __future__ import annotations

import unicodedata


def language(text: str) -> str:
    """The script that has at least 70 % of the letters, otherwise `mixed`; `none` without letters.

    A script is not a language, but it is what tells Arabic from English without a model.
    """
    if text.isascii():
        return "latin" if any(map(str.isalpha, text)) else "none"
    letters = {_SCRIPTS[char] for char in set(text)} - {""}
    if len(letters) < 2:
        return next(iter(letters), "none")
    counts = dict.fromkeys(letters, 0)
    for char in set(text):
        if script := _SCRIPTS[char]:
            counts[script] += text.count(char)
    most = max(counts, key=counts.__getitem__)
    return most if counts[most] >= 0.7 * sum(counts.values()) else "mixed"


class _Scripts(dict[str, str]):
    """The script of each letter that was met; empty for what is none. Unicode bounds it."""

    def __missing__(self, char: str) -> str:
        name = unicodedata.name(char, "unknown").split()[0].split("-")[0].lower()
        self[char] = script = name if char.isalpha() else ""
        return script


_SCRIPTS = _Scripts()
