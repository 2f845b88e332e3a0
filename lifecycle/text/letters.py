"""One spelling per letter, and nothing of what nobody sees: the tables that the whole house compares texts by.

Read `normaliser.py` next. `retrieval/analysis.py` takes its letters from here.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

ARABIC_LETTERS = {
    **dict.fromkeys("أإآٱٲٳ", "ا"),  # the hamza, madda or wasla on an alef is written or left out at will
    "ؤ": "و",  # and so is the hamza on waw and ya
    **dict.fromkeys("ئىیے", "ي"),  # alef maksura for ya; the Persian ya is another key and the same letter
    **dict.fromkeys("ةھہەۃۀ", "ه"),  # ta marbuta for ha; the other shapes of ha come from Persian and Urdu keyboards
    **dict.fromkeys("کڪ", "ك"),
}
"""Letters that are typed for each other across the Arab world → the one that they are compared as."""

TATWEEL = "\u0640"
"""It stretches a word, and says nothing."""

_MARKS = (
    range(0x0610, 0x061B), range(0x064B, 0x0660), range(0x0670, 0x0671), range(0x06D6, 0x06DD),
    range(0x06DF, 0x06E9), range(0x06EA, 0x06EE), range(0x0898, 0x08A0), range(0x08CA, 0x08E2), range(0x08E3, 0x0900),
)  # fmt: skip
ARABIC_MARKS = frozenset(chr(code) for codes in _MARKS for code in codes)
"""Short vowels, tanween, shadda, sukun, the superscript alef, hamza marks, Quranic signs: all may be left out."""

_UNSEEN = frozenset(
    chr(code)
    for codes in (
        (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x20E3, 0x3164, 0xFFA0),  # joiners and fillers; the frame of a keycap
        range(0x180B, 0x1810), range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0),  # variation selectors
        # Arabic marks that stand alone in text taken out of PDFs: NFKC would put a space before each.
        range(0xFC5E, 0xFC64), (*range(0xFE70, 0xFE80, 2), 0xFE71, 0xFE77, 0xFE79, 0xFE7B, 0xFE7D, 0xFE7F),
    )
    for code in codes
)  # fmt: skip


class Table(dict[int, str]):
    """A `str.translate` table that works out each character by `rule` once, the first time that it is met."""

    def __init__(self, rule: Callable[[str], str]) -> None:
        super().__init__()
        self._rule = rule

    def __missing__(self, code: int) -> str:
        self[code] = to = self._rule(chr(code))
        return to


def _seen(character: str) -> str:
    return "" if unicodedata.category(character) == "Cf" or character in _UNSEEN else character


def _digit(character: str) -> str:
    return str(unicodedata.digit(character)) if unicodedata.category(character) == "Nd" else character


def _letter(character: str) -> str:
    return "" if character in ARABIC_MARKS or character == TATWEEL else ARABIC_LETTERS.get(character, character)


_SEEN, _DIGITS, _LETTERS = Table(_seen), Table(_digit), Table(_letter)


def visible(text: str) -> str:
    """Without the characters that take no room: direction marks, zero-width joiners and spaces, byte-order marks."""
    return text.translate(_SEEN)


def ascii_digits(text: str) -> str:
    """`text` with the digits of every script as 0-9, one character to one character, so that positions hold."""
    return text.translate(_DIGITS)


def one_spelling(text: str) -> str:
    """`text`, in NFKC, with one form of each Arabic letter, no marks and no tatweel."""
    return text.translate(_LETTERS)
