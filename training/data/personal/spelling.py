"""A text in the one spelling that the detectors look at, and where in the text each of its characters stands.

Digits of every script are 0-9, spaces and dashes are plain ones, full-width signs are ASCII, Arabic letters have one
form; direction marks, zero-width characters, diacritics and tatweel are gone. Nothing becomes longer.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from lifecycle.text.letters import Table, ascii_digits, one_spelling, visible

_DASHES = "\u2212\u2043\u02d7\u30fc"  # minus, bullet, modifier and the kana mark: dashes that Unicode files elsewhere


def _plain(character: str) -> str:
    character = one_spelling(visible(character))
    if not character:
        return ""
    category = unicodedata.category(character)
    if category == "Zs":
        return " "
    if category == "Pd" or character in _DASHES:
        return "-"
    narrow = unicodedata.normalize("NFKC", character)
    return narrow if len(narrow) == 1 and narrow.isascii() else ascii_digits(character)


_TABLE = Table(_plain)


@dataclass(frozen=True, slots=True)
class Spelling:
    """`text` and, for each of its characters, where it starts and ends in the original; None where that is the same."""

    text: str
    starts: Sequence[int] | None = None
    ends: Sequence[int] = ()

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The characters of the original that `text[start:end]` was. `start` is before `end`."""
        if self.starts is None:
            return start, end
        return self.starts[start], self.ends[end - 1]


def spelling(text: str) -> Spelling:
    """The one spelling of `text`."""
    if text.isascii():
        return Spelling(text)
    plain = text.translate(_TABLE)
    if len(plain) == len(text):
        return Spelling(plain)
    starts = [at for at, character in enumerate(text) if _TABLE[ord(character)]]
    return Spelling(plain, starts, [at + 1 for at in starts])


_ESCAPE = re.compile(r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)", re.DOTALL)
_SHORT = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def unescaped(text: str) -> Spelling:
    """The inside of a JSON string as what it says. Half of a surrogate pair stays half of one."""
    if "\\" not in text:
        return Spelling(text)
    parts: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    at = 0
    for escape in _ESCAPE.finditer(text):
        start, end = escape.span()
        parts += [text[at:start], _said(escape[0])]
        starts += [*range(at, start), start]
        ends += [*range(at + 1, start + 1), end]
        at = end
    parts.append(text[at:])
    starts += range(at, len(text))
    ends += range(at + 1, len(text) + 1)
    return Spelling("".join(parts), starts, ends)


def _said(escape: str) -> str:
    if len(escape) == 2:
        return _SHORT.get(escape[1], escape[1])
    if len(escape) == 6:
        return chr(int(escape[2:], 16))
    high, low = int(escape[2:6], 16), int(escape[8:], 16)
    return chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
