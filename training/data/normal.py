"""Text reduced to what makes two questions the same: case, width, Arabic spelling and punctuation put aside."""

from __future__ import annotations

import unicodedata

_ARABIC = str.maketrans({
    "أ": "ا", "إ": "ا", "آ": "ا", "ٱ": "ا",  # alef with hamza or madda
    "ى": "ي", "ی": "ي", "ئ": "ي", "ؤ": "و", "ة": "ه", "ک": "ك", "ھ": "ه",
    "\u0640": None, "\u0670": None,  # the tatweel, which only stretches a word, and the superscript alef
})  # fmt: skip
_ARABIC_MARKS = ((0x0610, 0x061A), (0x064B, 0x065F), (0x06D6, 0x06ED))
"""Harakat and Quranic signs."""


class _Folding(dict[int, str | int | None]):
    """A `str.translate` table that works out each character once, the first time that it is met."""

    def __missing__(self, code: int) -> str | int | None:
        char = chr(code)
        to: str | int | None = code
        if code in _ARABIC:
            to = _ARABIC[code]
        elif any(low <= code <= high for low, high in _ARABIC_MARKS):
            to = None
        elif unicodedata.category(char) == "Nd":
            to = str(unicodedata.digit(char))
        elif unicodedata.category(char)[0] not in "LMN":
            to = " "
        self[code] = to
        return to


_FOLDING = _Folding()


def normalised(text: str) -> str:
    """NFKC and lower case, one form of each Arabic letter, no diacritics or tatweel, ASCII digits, words by one space.

    The light normalisation usual for Arabic retrieval (Larkey, Ballesteros & Connell, SIGIR 2002, section 3).
    Text without any word, such as "!?", stays as it is, so that it equals only itself.
    """
    folded = unicodedata.normalize("NFKC", text).casefold().translate(_FOLDING)
    return " ".join(folded.split()) or text.strip()


def ascii_digits(text: str) -> str:
    """`text` with the digits of every script in ASCII, one character to one character, so that positions hold."""
    return "".join(str(unicodedata.digit(c)) if not c.isascii() and c.isdecimal() else c for c in text)
