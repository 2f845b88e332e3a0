"""When two texts are the same: the normal form that Arabic and English answers are compared in.

Read `metrics.py` next.
"""

from __future__ import annotations

import re
import unicodedata

# Short vowels, tanween, shadda, sukun, the superscript alef and the Quranic marks: written or left out at will.
_MARKS = re.compile("[\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e8\u06ea-\u06ed]")
_TATWEEL = "\u0640"
_LETTERS = str.maketrans(
    {
        "أ": "ا",
        "إ": "ا",
        "آ": "ا",
        "ٱ": "ا",
        "ى": "ي",  # alef maksura and ya are typed for each other across the Arab world
        "ة": "ه",  # and so are ta marbuta and ha
    }
)
_ENGLISH_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


def normalise(text: str) -> str:
    """`text` as it is compared: one spelling of what readers take for the same answer.

    NFKC; digits of any script to 0-9; case folded; tatweel and diacritics dropped; alef, ya and ta-marbuta forms
    made one; punctuation and the English articles dropped; spaces made single. The Latin part is SQuAD's
    (arXiv 1606.05250, evaluate-v1.1), the Arabic part is the light normalisation that is usual in Arabic retrieval.
    """
    text = unicodedata.normalize("NFKC", text).casefold().replace(_TATWEEL, "")
    text = _MARKS.sub("", text).translate(_LETTERS)
    text = "".join(_plain(character) for character in text)
    return " ".join(_ENGLISH_ARTICLES.sub(" ", text).split())


def tokens(text: str) -> list[str]:
    """The words of the normal form; empty when nothing is left."""
    return normalise(text).split()


def _plain(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Nd":
        return str(unicodedata.digit(character))
    # Punctuation and symbols part words in one text and not in the other: "x-ray" and "x ray" are one answer.
    return " " if category[0] in "PS" else character
