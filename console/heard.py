"""What the service says in English, in the reader's language: findings of checks, refusals, errors, its own settings.

Such sentences are made in rooms that know no languages, and many are kept: by checks, in the events of jobs, in the
trail. So every sentence of `translations/LANGUAGE/service/*.po` is a pattern too, as those of a report are
(docs/decisions/0016): what stands in its places is put into the translated sentence, and is a sentence itself where it
fits one. What fits none is a model's word, a person's or another package's: it stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import NamedTuple

from babel.messages.pofile import read_po
from markupsafe import Markup

from console.language import TRANSLATIONS, Language
from evals.report.sentences import known
from evals.report.words import END, FIRST, LEFT, Words, in_digits, seen

PLACE = re.compile(r"%\((\w+)\)s")
_NUMBER = re.compile(r"n\d?")
"""Names of places that hold a number; the noun behind it may be one or several."""
_FREE = frozenset({
    "why", "error", "told", "reason", "shares", "names", "versions", "waiting", "values", "slices", "what", "cure",
    "more", "text", "command", "faults", "differences", "phrase", "looks", "suites", "models", "aliases", "words",
    "kinds", "start", "value", "actor", "target", "moment", "holder", "file", "field", "kind", "expected", "wanted",
    "other", "method", "sign", "called", "path", "opens", "problem", "forms", "task", "here", "there", "pattern",
    "url", "allowed",
})  # fmt: skip
"""Names of places that hold more than one word; any other holds a name, an id or a digest, which has no space."""
_OF_REPORTS = ("detail", "opens", "why", "provisional", "unscored")
"""Groups of the reports' own catalogue: what verdicts say, which is told beside what the service says."""
_NOUNS = ("kind", "what", "expected")
"""Names of places whose single words are translated as well."""
_LONGEST = 600
"""Characters of a line that is looked at: no sentence of ours is longer, and a long text would be tried for long."""
_PROBLEM = re.compile(r"(?P<place>.*?\S): (?P<fault>\S.*?)(?P<code> \[\w+\])?")
"""A `lifecycle.errors.Problem`, as it is written; that of a row has its code too."""
_JOINTS = {"; ": "؛ ", ". ": ". ", ": ": ": ", ", ": "، "}
"""Between sentences that stand in a row."""


class _Pattern(NamedTuple):
    literal: str
    """Its longest part between two places: a text without it, as most are, need not be tried."""
    fits: re.Pattern[str]
    said: str


@lru_cache(maxsize=4096)
def heard(text: str, spoken: Language) -> str | None:
    """`text` in the reader's language, line by line; None where nothing of it is known, or it need not be."""
    if spoken.code == "en" or not text.strip():
        return None
    lines = [(line, _line(line, spoken)) for line in text.split("\n")]
    if all(told is None for _, told in lines):
        return None
    return "\n".join(line if told is None else told for line, told in lines)


def shown(text: str, spoken: Language) -> Markup:
    """The text as a block of a page, which says in which language and direction it is."""
    told = heard(text, spoken)
    code, direction = ("en", "auto") if told is None else (spoken.code, spoken.direction)
    block = Markup('<span class="heard said" lang="{}" dir="{}">{}</span>')
    return block.format(code, direction, text if told is None else told)


def _line(line: str, spoken: Language) -> str | None:
    inner = line.strip()
    if not inner or len(inner) > _LONGEST:
        return None
    told = _sentence(inner, spoken) or _problem(inner, spoken)
    return None if told is None else line[: len(line) - len(line.lstrip())] + told


def _problem(line: str, spoken: Language) -> str | None:
    """A place, what is wrong there, and the cure: `rows.jsonl:3: it is empty → take it out`."""
    body, arrow, cure = line.rpartition(" → ")
    if not arrow:
        body, cure = line, ""
    if (parts := _PROBLEM.fullmatch(body)) is None or (fault := _sentence(parts["fault"], spoken)) is None:
        return None
    told = f"{_isolated(parts['place'], LEFT)}: {fault}"
    if parts["code"]:
        told += f" {_isolated(parts['code'].strip(), LEFT)}"
    return told + (f" ← {_sentence(cure, spoken) or _isolated(cure)}" if cure else "")


def _sentence(text: str, spoken: Language) -> str | None:
    """One sentence, or several of which each is known."""
    if (told := _single(text, spoken)) is not None:
        return told
    for joint, theirs in _JOINTS.items():
        for at in (found.start() for found in re.finditer(re.escape(joint), text)):
            if (first := _single(text[:at], spoken)) and (rest := _sentence(text[at + len(joint) :], spoken)):
                return first + theirs + rest
    return None


def _single(text: str, spoken: Language) -> str | None:
    whole, patterns = _known(spoken.code)
    if (told := whole.get(text)) is not None:
        return told
    for pattern in patterns:
        if pattern.literal in text and (found := pattern.fits.fullmatch(text)) is not None:
            values = {name: _value(name, value, spoken) for name, value in found.groupdict().items()}
            return pattern.said % values
    words = Words.of(spoken.code, spoken.digits)
    return next((told for group in _OF_REPORTS if (told := known(text, group, words)) is not None), None)


def _value(name: str, value: str, spoken: Language) -> str:
    if _NUMBER.fullmatch(name):
        return _isolated(in_digits(value, spoken.digits), LEFT)
    if name in _NOUNS:
        parts = [_sentence(part, spoken) or _isolated(part) for part in value.split(", or ")]
        return " أو ".join(parts)
    return (_sentence(value, spoken) if name in _FREE and " " in value else None) or _isolated(value)


def _isolated(text: str, by: str = FIRST) -> str:
    """Apart from what stands around it, so that no name or number is torn (Unicode TR 9, 2.7)."""
    return f"{by}{seen(text)}{END}"


@cache
def _known(code: str) -> tuple[dict[str, str], tuple[_Pattern, ...]]:
    """Sentences without places, and patterns, the most literal first: no sentence is taken for a shorter one with a
    long name in it."""
    whole: dict[str, str] = {}
    open_: list[tuple[str, str]] = []
    for english, said in sentences(code):
        if PLACE.search(english):
            open_.append((english, said))
        else:
            whole[english.replace("%%", "%")] = said.replace("%%", "%")
    open_.sort(key=lambda pair: len(PLACE.sub("", pair[0])), reverse=True)
    return whole, tuple(_Pattern(*_as_pattern(english), said) for english, said in open_)


def sentences(code: str) -> Iterator[tuple[str, str]]:
    """English and translated, of all that the service says."""
    for file in sorted((TRANSLATIONS / code / "service").glob("*.po")):
        with file.open("rb") as opened:
            catalogue = read_po(opened, locale=code)
        yield from ((str(message.id), str(message.string)) for message in catalogue if message.id)


def _as_pattern(english: str) -> tuple[str, re.Pattern[str]]:
    """The longest of its literals, and all of it."""
    parts, literals, at, named = [], [], 0, set[str]()
    for place in PLACE.finditer(english):
        name, before = place[1], english[at : place.start()].replace("%%", "%")
        literals.append(before)
        parts.append(re.escape(before))
        parts.append(f"(?P={name})" if name in named else f"(?P<{name}>{_content(name)})")
        named.add(name)
        at = place.end()
        if _NUMBER.fullmatch(name) and (noun := re.match(r" ([a-z]+)s\b", english[at:])) is not None:
            parts.append(f" {noun[1]}s?")
            at += noun.end()
    literals.append(english[at:].replace("%%", "%"))
    parts.append(re.escape(literals[-1]))
    return max(literals, key=len), re.compile("".join(parts), re.DOTALL)


def _content(name: str) -> str:
    if _NUMBER.fullmatch(name):
        return r"[+\-−]?\d[\d,.]*%?"
    if name == "target":  # versions with their shares in parentheses, and a reason in parentheses behind them
        return ".+"
    return ".+?" if name in _FREE else r"\S+?"
