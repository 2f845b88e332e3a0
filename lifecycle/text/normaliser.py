"""When two texts are the same to a reader of Arabic or English, by a rule that has a name and never changes under it.

Answers are compared with their targets by it, training rows with each other and with test rows. A task names it, and
its digest covers the name: a rule that is changed is another rule, under another name, in `NORMALISERS`.
`docs/guides/same-answers.md` has a table of cases; `letters.py` and `signs.py` are the parts.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

from lifecycle.errors import InvalidConfig, Problem
from lifecycle.text.letters import ascii_digits, one_spelling, visible
from lifecycle.text.signs import named_signs, whole_numbers, words_and_signs


@dataclass(frozen=True)
class Normaliser:
    """A way of writing texts so that those which readers take for one are equal."""

    name: str
    _words: Callable[[str], list[str]]
    _bare: Callable[[str], str]

    def words(self, text: str) -> list[str]:
        """The words, numbers and meaningful signs; empty where there is nothing but other signs, such as "؟!"."""
        return self._words(text)

    def normal(self, text: str) -> str:
        """The normal form. A text without any word is itself, so that "!" equals "!" alone; only blank ones are empty.

        Normalising twice changes nothing more.
        """
        return " ".join(self._words(text)) or _as_it_stands(text)

    def without_articles(self, text: str) -> str:
        """`text` without its English articles. It is not normal: an article is known by its case and its place."""
        return self._bare(text)

    def same(self, text: str, other: str) -> bool:
        """Whether a reader would take both for the same answer; articles may be there or not."""
        if self.normal(text) == self.normal(other):
            return True
        return self.normal(self.without_articles(text)) == self.normal(self.without_articles(other))


def normaliser(name: str) -> Normaliser:
    """The one of that name. Raises `InvalidConfig`, naming those that there are."""
    if name not in NORMALISERS:
        cure = f"one of {', '.join(NORMALISERS)}"
        raise InvalidConfig("a text cannot be compared", [Problem("normaliser", f"there is no '{name}'", cure)])
    return NORMALISERS[name]


def _light_words(text: str) -> list[str]:
    """What `light_words` gives, from memory where it can be: most words of most texts have been met before.

    A sign is written by what stands beside it, a word of letters never. So words are looked up, and the stretches
    around signs, from a word of letters to the next, are written anew.
    """
    parts = text.split(" ")
    plain = [*map(_KNOWN.get, parts)]
    if None in plain:
        plain = [_met(part) if words is None else words for part, words in zip(parts, plain, strict=True)]
    written: list[str | None] = []
    at = 0
    while None in plain[at:]:
        first = end = plain.index(None, at)
        begin = next((place for place in range(first - 1, at - 1, -1) if _is_wall(plain[place])), at)
        while end < len(plain):
            end = next((place for place in range(end + 1, len(plain)) if _is_wall(plain[place])), len(plain))
            ahead = plain.index(None, end + 1) if None in plain[end + 1 :] else len(plain)
            if ahead == len(plain) or any(map(_is_wall, plain[end + 1 : ahead])):
                break  # the next stretch has a wall of its own, or there is none
            end = ahead
        written += [*plain[at:begin], _stretch(" ".join(parts[begin : end + 1]))]
        at = end + 1
    return " ".join([*written, *plain[at:]]).split()  # type: ignore[list-item]


def _is_wall(words: str | None) -> bool:
    """Whether these are letters, past which no sign looks."""
    return words is not None and words[:1].isalpha()


_MOST = 1 << 16
"""Words, and stretches, that are kept in mind."""
_LONGEST = 64
_SHORT = 4
"""Characters of numbers that come again and again; longer ones would drive out the words."""
_ENDS = ".,;:!?؟،؛"
_LETTERS = re.compile(
    r"[^\W\d_](?:[^\W\d_]|[\u0610-\u061a\u064b-\u065f\u0670\u200b-\u200f]|['’-](?=[^\W\d_]))*" rf"[{_ENDS}]*"
)
_KNOWN: dict[str, str] = {}
_STRETCHES: dict[str, str] = {}


def _met(part: str) -> str | None:
    """The words of a part, letters or a whole number, that are the same between any other such; None for others."""
    bare = part.rstrip(_ENDS)
    if bare.isascii() and bare.isdigit():
        return _keep(_KNOWN, part, bare) if len(part) <= _SHORT else bare
    if len(part) > _LONGEST or not _LETTERS.fullmatch(part):
        return None
    written = light_words(part)
    # An x may be a sign of multiplication.
    if not written or not all(word.isalpha() and word != "x" for word in written):
        return None
    return _keep(_KNOWN, part, " ".join(written))


def _stretch(text: str) -> str:
    known = _STRETCHES.get(text)
    return _keep(_STRETCHES, text, " ".join(light_words(text))) if known is None else known


def _keep(known: dict[str, str], text: str, words: str) -> str:
    if len(text) <= _LONGEST:
        if len(known) >= _MOST:
            known.clear()
        known[text] = words
    return words


def light_words(text: str) -> list[str]:
    """The light normalisation that is usual for Arabic (Larkey, Ballesteros & Connell, SIGIR 2002, section 3)."""
    text = whole_numbers(ascii_digits(visible(text)))
    text = named_signs(unicodedata.normalize("NFKC", text))
    text = one_spelling(unicodedata.normalize("NFKC", text.casefold()))
    # What stands together once the marks are gone can be composed anew.
    return words_and_signs(unicodedata.normalize("NFKC", text))


def _as_it_stands(text: str) -> str:
    folded = unicodedata.normalize("NFKC", visible(text)).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())


_OPENING = "\"'“‘«(["
_ARTICLE = re.compile(
    rf"(?<![^\s{re.escape(_OPENING)}])(?:the|an?)\s+(?=[{re.escape(_OPENING)}]*[^\W_])", re.IGNORECASE
)
_SENTENCE_ENDS = ".!?؟:"


def _without_articles(text: str) -> str:
    """SQuAD's rule (arXiv 1606.05250, evaluate-v1.1) where the word can be an article.

    SQuAD drops every "a", "an" and "the", so that "Vitamin A" equals "Vitamin". Here another word must follow, and a
    capital "A" or "An" must begin the text or a sentence: elsewhere it is a letter or an abbreviation.
    """
    return _ARTICLE.sub(_article, visible(text))


def _article(word: re.Match[str]) -> str:
    if word[0].startswith("A"):
        before = word.string[: word.start()].rstrip()
        if before and before[-1] not in _SENTENCE_ENDS:
            return word[0]
    return ""


LIGHT_1 = Normaliser("light-1", _light_words, _without_articles)
NORMALISERS = MappingProxyType({normaliser.name: normaliser for normaliser in (LIGHT_1,)})
DEFAULT = LIGHT_1
"""Of tasks that name none. Another default gives such tasks another digest."""
