"""What a report says, in English or Arabic: one catalogue of sentences, in which figures and names have their places.

`catalogue/*.yaml` has every sentence in both languages, by key; a new section of the report brings a file of its own.
A place is `{name}`, or `{name:kind}`: a number (`n`), a figure with its interval (`interval`), a command or a digest
(`code`; `plain` where nothing may stand around it), a counted noun of `nouns.yaml`, or a sentence of the group of that
name, whose keys begin with it; `;`, `,` or `&` after it: a row of such. Whatever is put into a place is isolated
(Unicode TR 9, 2.7), so that no number or id is torn in Arabic. Why this and not gettext: docs/decisions/0016. Read
`sentences.py` next.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from lifecycle.config_file import load_mapping
from lifecycle.errors import InvalidInput

Language = Literal["en", "ar"]
LANGUAGES: tuple[Language, ...] = get_args(Language)

PLACE = re.compile(r"\{(\w+)(?::(\w+)([;,&]?))?\}")
LEFT, FIRST, END = "\u2066", "\u2068", "\u2069"
"""Isolates: from the left, by the first strong letter, and the end of either."""
_UNBROKEN = "\u00a0"
Digits = Literal["latn", "arab"]
"""Of a page in Arabic, by the names that CLDR has for them: 123, or ١٢٣."""
ARABIC_DIGITS = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")
_BETWEEN_DIGITS = (
    (re.compile(r"(?<=\d)\.(?=\d)"), "٫"),
    (re.compile(r"(?<=\d),(?=\d)"), "٬"),
    (re.compile(r"(?<=\d)(\s?)%"), r"\1٪"),
)
_AS_WRITTEN = re.compile("[\u2066\u2068][^\u2069]*\u2069")
_LETTER = re.compile(r"[^\W\d_]")
_CONTROLS = re.compile("[\u202a-\u202e\u2066-\u2069]")
_FROM_THE_RIGHT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff]")
_FROM_THE_LEFT = ("n", "interval", "code")
_JOINED = {
    "en": {";": "; ", ",": ", ", "&": " and "},
    "ar": {";": "؛ ", ",": "، ", "&": " و"},
}


class Place(NamedTuple):
    name: str
    kind: str
    row: str
    """What parts a row of sentences of that kind; "" for a single one."""


def places(template: str) -> list[Place]:
    """In their order."""
    return [Place(name, kind or "text", row) for name, kind, row in PLACE.findall(template)]


@cache
def catalogue() -> dict[str, dict[str, str]]:
    """Key → language → sentence."""
    files = sorted(path for path in _folder().glob("*.yaml") if path.stem != "nouns")
    return {key: said for path in files for key, said in load_mapping(path).items()}


@cache
def nouns() -> dict[str, dict[str, dict[str, str]]]:
    """Noun → language → plural category → words."""
    return load_mapping(_folder() / "nouns.yaml")


def _folder() -> Path:
    return Path(__file__).with_name("catalogue")


def plural(n: float, language: str) -> str:
    """The category of the Unicode plural rules (CLDR 48): two in English, six in Arabic."""
    n = abs(n)
    if language != "ar":
        return "one" if n == 1 else "other"
    if n in (0, 1, 2):
        return ("zero", "one", "two")[int(n)]
    if n != int(n):
        return "other"
    return "few" if 3 <= n % 100 <= 10 else "many" if n % 100 >= 11 else "other"


def seen(text: str) -> str:
    """`text` with every character that turns the direction of what follows shown by its number, and with halves of
    surrogate pairs, which no file can hold, as the replacement character."""
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return _CONTROLS.sub(lambda control: f"[U+{ord(control[0]):04X}]", whole)


def in_digits(text: str, digits: Digits) -> str:
    """With the digits, the separators and the sign of percent that belong together."""
    if digits == "latn":
        return text
    for sign, theirs in _BETWEEN_DIGITS:
        text = sign.sub(theirs, text)
    return text.translate(ARABIC_DIGITS)


@cache
def _written(template: str, digits: Digits) -> str:
    """The sentence's own figures in these digits; its places, and commands that stand in it isolated, as they are."""
    if digits == "latn":
        return template
    parts, at = [], 0
    for kept in re.finditer(f"{PLACE.pattern}|{_AS_WRITTEN.pattern}", template):
        parts += [in_digits(template[at : kept.start()], digits), kept[0]]
        at = kept.end()
    return "".join([*parts, in_digits(template[at:], digits)])


@dataclass(frozen=True)
class Words:
    """The catalogue in one language. `words("page.head", n=5)` is a sentence as plain text, with isolates."""

    language: Language = "en"
    digits: Digits = "latn"
    """Of figures; names, ids and commands stay as they are."""

    @classmethod
    def of(cls, language: str, digits: Digits = "latn") -> Words:
        """Raises `InvalidInput` for another than the two languages."""
        for known in LANGUAGES:
            if language == known:
                return cls(known, digits if known == "ar" else "latn")
        raise InvalidInput(f"there is no report in '{language}': the languages are {', '.join(LANGUAGES)}")

    @property
    def direction(self) -> str:
        return "rtl" if self.language == "ar" else "ltr"

    def __call__(self, key: str, **values: Any) -> str:
        """Raises `KeyError` for a key or a value that is not there: the catalogue and its callers are one house."""
        template = _written(catalogue()[key][self.language], self.digits)
        kinds = {place.name: place.kind for place in places(catalogue()[key]["en"])}
        return PLACE.sub(lambda place: self.put(values[place[1]], kinds[place[1]]), template)

    def put(self, value: Any, kind: str) -> str:
        """A value as it stands in a sentence. Sentences of a group are expected in this language already."""
        if kind in nouns():
            return self.counted(value, kind)
        if kind == "text" or kind in _FROM_THE_LEFT:
            if kind in ("n", "interval") or (kind == "text" and not _LETTER.search(str(value))):
                value = self.figures(str(value))
            if kind == "interval" and self.language == "ar":
                value = str(value).replace(" ", _UNBROKEN)  # half of an interval on the next line is read as another
            return self.isolated(str(value), from_the_left=kind in _FROM_THE_LEFT)
        return seen(str(value)) if kind == "plain" else str(value)

    def counted(self, n: float | str, noun: str) -> str:
        """`5 items`. Of text, such as `1,234`, as it is grouped there."""
        number = float(n.replace(",", "")) if isinstance(n, str) else n
        form = nouns()[noun][self.language][plural(number, self.language)]
        return form.replace("{n}", self.isolated(self.figures(str(n)), from_the_left=True))

    def figures(self, text: str) -> str:
        """What is no more than figures, in the reader's digits."""
        return in_digits(text, self.digits)

    def isolated(self, text: str, *, from_the_left: bool = False) -> str:
        """Apart from what stands around it. In English only what is written from the right needs that."""
        text = seen(text)
        if self.language == "en" and not _FROM_THE_RIGHT.search(text):
            return text
        return f"{LEFT if from_the_left else FIRST}{text}{END}"

    def joined(self, sentences: list[str], row: str) -> str:
        return _JOINED[self.language][row].join(sentences)
