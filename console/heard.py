"""What the service says in English, in the reader's language: findings of checks, refusals, errors, its own settings.

Such sentences are made in rooms that know no languages, and many are kept: by checks, in the events of jobs, in the
trail. So every sentence of `translations/LANGUAGE/service/*.po` is a pattern too, as those of a report are
(docs/decisions/0016): what stands in its places is put into the translated sentence, and is a sentence itself where it
fits one. What fits none is a model's word, a person's or another package's: it stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from typing import NamedTuple

from babel.messages.pofile import read_po
from markupsafe import Markup

from console.language import TRANSLATIONS, Language, own_digits
from evals.report.likely import PLACE as BETWEEN
from evals.report.likely import Likely
from evals.report.sentences import known, single
from evals.report.words import END, FIRST, LEFT, Words, in_digits, seen

PLACE = re.compile(r"%\((\w+)\)s")
_NUMBER = re.compile(r"n\d?")
"""Names of places that hold a number; the noun behind it may be one or several."""
_COUNTED = re.compile(r"%\(n\d?\)s [a-z]+s\b")
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
_TRIES = 150
"""Parts of a line that are tried as sentences: whoever writes a row of any words makes a page wait no longer for it."""
_MOST_LINES = 400
"""Of a text that are looked at; those behind them stay as they are."""
_COMMAND = re.compile(r"`[^`\n]+`")
"""A command, a name or a value as one writes it."""
_CODED = re.compile(r"(.*\S) (\[\w+\])")
_DEEPEST = 8
"""Signs behind which a fault is looked for in a line that tells one."""
_JOINTS = {"; ": "؛ ", ". ": ". ", ": ": ": ", ", ": "، "}
"""Between sentences that stand in a row."""


class _Pattern(NamedTuple):
    literal: str
    """Its longest part between two places: a text without it, as most are, need not be tried."""
    fits: re.Pattern[str]
    said: str


class _Line:
    """One line in the reader's language. No part of it is tried twice, and no more than `_TRIES` are."""

    def __init__(self, spoken: Language) -> None:
        self.spoken = spoken
        self.words = Words.of(spoken.code, spoken.digits)
        self.tried: dict[str, str | None] = {}
        self.rows: dict[str, str | None] = {}

    def told(self, text: str) -> str | None:
        return self.sentence(text) or self.problem(text)

    def problem(self, text: str) -> str | None:
        """A place, what is wrong there, and the cure: `rows.jsonl:3: it is empty → take it out`."""
        body, arrow, cure = text.rpartition(" → ")
        if not arrow:
            body, cure = text, ""
        places = [place.start() for place in re.finditer(r"(?<=\S): (?=\S)", body)][:_DEEPEST]
        # A place may have the sign in itself: `adapter_config.json: target_modules`.
        known = ((at, self.fault(body[at + 2 :])) for at in places)
        at, fault = next(((at, fault) for at, fault in known if fault is not None), (0, None))
        if fault is None:
            return None
        told = f"{_isolated(body[:at], LEFT)}: {fault}"
        return told + (f" ← {self.sentence(cure) or _isolated(cure)}" if cure else "")

    def fault(self, text: str) -> str | None:
        """What is wrong; of a row, its code stands behind it in brackets."""
        bare, code = parts.groups() if (parts := _CODED.fullmatch(text)) else (text, "")
        told = self.sentence(bare)
        return f"{told} {_isolated(code, LEFT)}" if told and code else told

    def sentence(self, text: str) -> str | None:
        """One sentence, or several of which each is known."""
        if text not in self.rows:
            self.rows[text] = None  # until it is known: a sentence has no place for itself
            self.rows[text] = self.single(text) or self.row(text) or self.of_report(text, known)
        return self.rows[text]

    def row(self, text: str) -> str | None:
        if len(self.tried) == _TRIES:
            return None
        for joint, theirs in _JOINTS.items():
            for at in (found.start() for found in re.finditer(re.escape(joint), text)):
                if (first := self.single(text[:at])) and (rest := self.sentence(text[at + len(joint) :])):
                    return first + theirs + rest
        return None

    def single(self, text: str) -> str | None:
        if text not in self.tried:
            if len(self.tried) == _TRIES:
                return None
            self.tried[text] = None
            self.tried[text] = self._fitting(text)
        return self.tried[text]

    def _fitting(self, text: str) -> str | None:
        whole, patterns = _known(self.spoken.code)
        if (told := whole.get(text)) is not None:
            return own_digits(told, self.spoken.digits)
        for pattern in patterns.of(text):
            if pattern.literal in text and (found := pattern.fits.fullmatch(text)) is not None:
                values = {name: self.value(name, value) for name, value in found.groupdict().items()}
                return own_digits(pattern.said, self.spoken.digits) % values
        return self.of_report(text, single)

    def of_report(self, text: str, told: Callable[[str, str, Words], str | None]) -> str | None:
        return next((said for group in _OF_REPORTS if (said := told(text, group, self.words)) is not None), None)

    def value(self, name: str, value: str) -> str:
        if _NUMBER.fullmatch(name):
            return _isolated(in_digits(value, self.spoken.digits), LEFT)
        if name in _NOUNS:
            return " أو ".join(self.sentence(part) or _isolated(part) for part in value.split(", or "))
        return (self.sentence(value) if name in _FREE and " " in value else None) or _isolated(value)


@lru_cache(maxsize=4096)
def heard(text: str, spoken: Language) -> str | None:
    """`text` in the reader's language, line by line; None where nothing of it is known, or it need not be."""
    if spoken.code == "en" or not text.strip():
        return None
    lines = text.split("\n")
    told = [_line(line, spoken) for line in lines[:_MOST_LINES]]
    if not any(told):
        return None
    return "\n".join(
        [line if said is None else said for line, said in zip(lines, told, strict=False)] + lines[_MOST_LINES:]
    )


def shown(text: str, spoken: Language) -> Markup:
    """The text as a block of a page, which says in which language and direction it is."""
    told = heard(text, spoken)
    code, direction = ("en", "auto") if told is None else (spoken.code, spoken.direction)
    block = Markup('<span class="heard said" lang="{}" dir="{}">{}</span>')
    return block.format(code, direction, coded(text if told is None else told))


def coded(text: str) -> Markup:
    """The text with what stands between its marks of code as code, which keeps its own direction: the marks are for
    terminals. A `Markup` stays as it is otherwise, all else is escaped."""
    made, at = Markup(), 0
    for command in _COMMAND.finditer(text):
        start, end = command.span()
        made += text[at:start] + Markup("<code>{}</code>").format(text[start + 1 : end - 1])
        at = end
    return made + text[at:]


def _line(line: str, spoken: Language) -> str | None:
    inner = line.strip()
    if not inner or len(inner) > _LONGEST:
        return None
    told = _Line(spoken).told(inner)
    return None if told is None else line[: len(line) - len(line.lstrip())] + told


def _isolated(text: str, by: str = FIRST) -> str:
    """Apart from what stands around it, so that no name or number is torn (Unicode TR 9, 2.7)."""
    return f"{by}{seen(text)}{END}"


@cache
def _known(code: str) -> tuple[dict[str, str], Likely[_Pattern]]:
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
    return whole, Likely((_own_words(english), _Pattern(*_as_pattern(english), said)) for english, said in open_)


def _own_words(english: str) -> str:
    """Without the nouns behind numbers: they are one or several."""
    return PLACE.sub(BETWEEN, _COUNTED.sub(BETWEEN, english)).replace("%%", "%")


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
    if name == "moment":
        return r"\d[\d:. T-]*"
    if name == "target":  # versions with their shares in parentheses, and a reason in parentheses behind them
        return ".+"
    return ".+?" if name in _FREE else r"\S+?"
