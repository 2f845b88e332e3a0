"""Sentences that were made in English, said in another language: reports and verdicts keep words, not keys.

A digest binds the words, and reports from before there was a catalogue have only them. So each English sentence of the
catalogue is also a pattern: what stands in the places of a sentence that fits is put into the other language's. What
fits none is data, or words of another package: it stays as it is, isolated. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache, lru_cache
from itertools import islice
from typing import NamedTuple

from evals.report.likely import PLACE as BETWEEN
from evals.report.likely import Likely
from evals.report.words import PLACE, Place, Words, catalogue, nouns, places

_NUMBER = r"[+\-−]?(?:\d[\d,]*(?:\.\d+)?(?:e[+\-]?\d+)?|inf|nan)\s?%?"
_MOST_IN_A_ROW = 20
"""Ends of a first sentence that are tried: a text may be anybody's, and each end costs a try of the rest."""
_SPLIT = {";": "; ", ",": ", ", "&": " and "}


class _Pattern(NamedTuple):
    key: str
    literal: str
    """The longest part between two places: a text without it, as most are, need not be tried."""
    fits: re.Pattern[str]
    places: list[Place]


def said(text: str, group: str, words: Words) -> str:
    """The sentence, or several in a row with spaces between, in the words' language; as it is where none fits."""
    return known(text, group, words) or words.isolated(text)


@lru_cache(maxsize=512)
def known(text: str, group: str, words: Words) -> str | None:
    """As `said`, and None where no sentence of the group fits the whole text. Kept, as the end of a row is tried behind
    each of its beginnings."""
    if (told := single(text, group, words)) is not None:
        return told
    for end in islice((found.end() for found in re.finditer(r"\.(?= )", text)), _MOST_IN_A_ROW):
        if (first := single(text[:end], group, words)) and (rest := known(text[end + 1 :], group, words)):
            return f"{first} {rest}"
    return None


def single(text: str, group: str, words: Words) -> str | None:
    """As `known`, of one sentence alone."""
    for pattern in _patterns(group).of(text):
        if pattern.literal not in text:
            continue
        if (found := pattern.fits.fullmatch(text)) and (told := _told(pattern, found, words)) is not None:
            return told
    return None


def _told(pattern: _Pattern, found: re.Match[str], words: Words) -> str | None:
    values = {}
    for place in pattern.places:
        value: str | None = found[place.name]
        if place.kind in _groups():
            value = _group(found[place.name], place, words)
        if value is None:
            return None
        values[place.name] = value
    return words(pattern.key, **values)


def _group(text: str, place: Place, words: Words) -> str | None:
    """One sentence of the group, or a row of them; a name of anything stands for itself in `rule` and `unscored`."""
    if place.row:
        row = _row(text, place, lambda part: _one(part, place.kind, words))
        return None if row is None else words.joined(row, place.row)
    return _one(text, place.kind, words)


def _one(text: str, kind: str, words: Words) -> str | None:
    if (told := known(text, kind, words)) is not None:
        return told
    # A rule named by its metric, and a reason of another package's scorer.
    return words.isolated(text) if kind in ("rule", "unscored") and not re.search("[;:]", text) else None


def _row(text: str, place: Place, told: Callable[[str], str | None]) -> list[str] | None:
    """The shortest first sentence after which the rest is a row too: a sentence may have the sign in itself."""
    sign = _SPLIT[place.row]
    for end in [*(found.start() for found in re.finditer(re.escape(sign), text)), len(text)]:
        first = told(text[:end])
        if first is None:
            continue
        if end == len(text):
            return [first]
        if (rest := _row(text[end + len(sign) :], place, told)) is not None:
            return [first, *rest]
    return None


@cache
def _groups() -> frozenset[str]:
    return frozenset(key.partition(".")[0] for key in catalogue()) - set(nouns())


@cache
def _patterns(group: str) -> Likely[_Pattern]:
    """The most literal first, so that a sentence is never taken for a shorter one with a long name in it; before them
    those that have a sentence of their own group in them, of which a shorter one would take the rest for a name."""
    own = {key: told["en"] for key, told in catalogue().items() if key.partition(".")[0] == group}
    nested = {key: any(place.kind == group for place in places(own[key])) for key in own}
    order = sorted(own, key=lambda key: (nested[key], len(PLACE.sub("", own[key]))), reverse=True)
    return Likely(
        (PLACE.sub(BETWEEN, own[key]), _Pattern(key, *_as_pattern(own[key]), places(own[key]))) for key in order
    )


def _as_pattern(template: str) -> tuple[str, re.Pattern[str]]:
    """The longest of its literals, and all of it."""
    parts, literals, at = [], [], 0
    for place in PLACE.finditer(template):
        literals.append(template[at : place.start()])
        parts += [re.escape(literals[-1]), _of_place(place[1], place[2] or "text")]
        at = place.end()
    literals.append(template[at:])
    return max(literals, key=len), re.compile("".join([*parts, re.escape(literals[-1])]), re.DOTALL)


def _of_place(name: str, kind: str) -> str:
    if kind in nouns():
        forms = "|".join(re.escape(form.replace("{n} ", "")) for form in nouns()[kind]["en"].values())
        return rf"(?P<{name}>[+\-−]?\d[\d,]*(?:\.\d+)?) (?:{forms})"
    if kind == "n":
        return f"(?P<{name}>{_NUMBER})"
    if kind == "interval":
        return rf"(?P<{name}>{_NUMBER} \[{_NUMBER}, {_NUMBER}\])"
    return f"(?P<{name}>.+?)"
