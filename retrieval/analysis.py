"""Text → terms for the lexical ranking, in English and Arabic; read `lexical.py` next.

Arabic gets light normalisation (one form for alef, ya and ta marbuta; no tatweel, no diacritics) and light stemming:
Larkey, Ballesteros & Connell, "Light stemming for Arabic information retrieval" (2007), the stemmer called light10.
`tests/retrieval/test_arabic.py` measures it against no stemming and against Snowball's stemmer.

What is done here decides what is found, so an index says by which `Analyser` it is to be searched. Whoever changes any
of it raises `VERSION`: `tests/retrieval/test_analyser.py` notices.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache

from lifecycle.text.letters import ARABIC_LETTERS
from lifecycle.version import Digest, Frozen, digest_of

VERSION = 1
"""Grows when a text gives other terms, or counts as another language."""

_MARKS = re.compile("[\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06ed\u200c-\u200f\u202a-\u202e\u2066-\u2069]")
_TANWIN = re.compile("\u064b\u0627|\u0627\u064b")
_FOLDED = "أإآٱىةؤئ"
# Of the house's table the letters that version 1 folds: with all of them, indexes of before would be refused.
_FORMS = str.maketrans(_FOLDED, "".join(ARABIC_LETTERS[letter] for letter in _FOLDED))
_FOREIGN_DIGIT = re.compile(r"(?![0-9])\d")
_TERM = re.compile(r"\w+")
_ARABIC = re.compile("[\u0600-\u06ff\u0750-\u077f\u08a0-\u08ff]")
_LETTER = re.compile(r"[^\W\d_]")

# light10: the article with what may stand before it, then و; the suffixes are stripped one after the other, once each.
_PREFIXES = ("وال", "بال", "كال", "فال", "ال", "لل", "و")
_SUFFIXES = ("ها", "ان", "ات", "ون", "ين", "يه", "ه", "ي")


def normalise(text: str) -> str:
    """One spelling per word: NFKC, lower case, Western digits, no Arabic diacritics, one form per letter."""
    text = unicodedata.normalize("NFKC", text).casefold()
    text = _MARKS.sub("", _TANWIN.sub("", text)).translate(_FORMS)
    return _FOREIGN_DIGIT.sub(lambda digit: str(unicodedata.digit(digit.group())), text)


# Words so common that a match says nothing. Short on purpose: idf does the rest.
_STOP_WORDS = frozenset(
    normalise("""
    a an and are as at be by do does for from how i in is it of on or the to was what when where which who with
    من في على إلى عن هل ما هو هي هذا هذه ذلك التي الذي كم متى أين كيف أو ثم قد
    """).split()
)


@lru_cache(maxsize=100_000)
def light_stem(word: str) -> str:
    """Strips an Arabic word's common prefixes and suffixes (light10). `word` is normalised."""
    if word.startswith("و") and len(word) > 3 and not word.startswith("وال"):
        word = word[1:]
    else:
        for prefix in _PREFIXES[:-1]:
            if word.startswith(prefix) and len(word) >= len(prefix) + 2:
                word = word[len(prefix) :]
                break
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) >= len(suffix) + 2:
            word = word[: -len(suffix)]
    return word


def analyse(text: str, arabic_stem: Callable[[str], str] = light_stem) -> list[str]:
    """The terms of `text` in order, stop words left out; English is stemmed by Snowball, Arabic by `arabic_stem`."""
    words = [word for word in _TERM.findall(normalise(text)) if word not in _STOP_WORDS]
    return [arabic_stem(word) if _ARABIC.match(word) else _english_stem(word) for word in words]


@lru_cache(maxsize=100_000)
def _english_stem(word: str) -> str:
    import Stemmer

    # A new one each time: threads must not share one, making it takes under a microsecond, and the cache sees the rest.
    stemmed: str = Stemmer.Stemmer("english").stemWord(word)
    return stemmed


def is_arabic(text: str) -> bool:
    """Whether most letters of `text` are Arabic."""
    letters = _LETTER.findall(text)
    return 2 * sum(bool(_ARABIC.match(letter)) for letter in letters) > len(letters)


class Analyser(Frozen):
    """How texts become terms. Two that are equal give the same terms of any text."""

    name: str
    version: int
    tables: Digest
    """Of stop words, affixes and the letters' forms, and of what comes out of a text that tries each step. A release of
    Snowball or of Unicode that reads words otherwise is seen by the latter."""


def analyser() -> Analyser:
    """The one here."""
    tables = {
        "stop words": sorted(_STOP_WORDS),
        "prefixes": _PREFIXES,
        "suffixes": _SUFFIXES,
        "forms": sorted(_FORMS.items()),
        "patterns": [pattern.pattern for pattern in (_MARKS, _TANWIN, _FOREIGN_DIGIT, _TERM, _ARABIC, _LETTER)],
        "terms": [analyse(text) for text in _SAMPLE],
        "arabic": [is_arabic(text) for text in _SAMPLE],
    }
    return Analyser(name="snowball-english+light10", version=VERSION, tables=digest_of(tables))


_SAMPLE = (
    "Patients' appointments were cancelled happily; running nurses generously organised 12 relational activities.",
    "ＮＦＫＣ ﬁne Straße ÇA va? e-mail snake_case 3.5 mg ٣٤ ۵۶ x²",
    "وَالصَّيْدَلِيَّةُ بالعيادات كالأطباء فالمواعيد للمرضى وصفة ٱلقسم إلغاءً آخر مسؤول شؤون",
    "العـــيادة مواعيدها طبيبان مستشفيات ممرضون زائرين عربي\u200f مدرسته",
    "حجز appointment موعد at الساعة 9",
    "a b ج",
)
