"""The languages of the console: sentences by gettext, and numbers, moments and directions as each language has them.

Sentences stand in templates and modules in English, and translated in `translations/LANGUAGE/*.po`, a file for each
screen; they are read as they are, and compiled in memory. A test fails on a sentence that a language lacks.
"""

from __future__ import annotations

import gettext
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal

from babel.dates import format_date, format_datetime, format_timedelta
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal, format_percent

from evals.report.words import Digits, in_digits

TRANSLATIONS = Path(__file__).with_name("translations")
LANGUAGES = {"en": "English", "ar": "العربية"}
"""Code → the language's own name."""
_AS_WRITTEN = re.compile(r"%\(\w+\)s|`[^`]*`|[\u2066\u2068][^\u2069]*\u2069|[^\s`\u2066\u2068]*[A-Za-z][^\s`]*")
"""Of a sentence: places, commands, what stands apart, and names: their digits are theirs."""
_PERCENT = re.compile(r"(?<=\d)(\s?)%%")
"""As it stands in a sentence with places."""
PLURAL_FORMS = "nplurals=6; plural=(n==0 ? 0 : n==1 ? 1 : n==2 ? 2 : n%100>=3 && n%100<=10 ? 3 : n%100>=11 ? 4 : 5);"
"""Of Arabic, in the order of its .po files: none, 1, 2, 3 to 10, 11 to 99, and the rest (CLDR's zero … other). Babel's
own header has the last two the other way round."""


def N_(text: str) -> str:  # noqa: N802  (gettext's own name for it)
    """A sentence that is to be translated where it is shown."""
    return text


@lru_cache(maxsize=4096)
def own_digits(sentence: str, digits: Digits) -> str:
    """The figures that a sentence has itself, such as the 95 of a percentile, in these digits."""
    if digits == "latn":
        return sentence
    sentence = _PERCENT.sub(r"\1٪", sentence)
    parts, at = [], 0
    for kept in _AS_WRITTEN.finditer(sentence):
        parts += [in_digits(sentence[at : kept.start()], digits), kept[0]]
        at = kept.end()
    return "".join([*parts, in_digits(sentence[at:], digits)])


@dataclass(frozen=True)
class Language:
    code: str
    catalogue: gettext.NullTranslations
    digits: Digits = "latn"

    @property
    def direction(self) -> str:
        return "rtl" if self.code == "ar" else "ltr"

    def text(self, sentence: str, **values: object) -> str:
        """The sentence, with `%(name)s` filled in. Its own figures, and whole numbers that are put into it, are in this
        person's digits."""
        said = own_digits(self.catalogue.gettext(sentence), self.digits)
        return said % self.values(values) if values else said

    def texts(self, one: str, many: str, n: int, **values: object) -> str:
        """The form for `n`, which is `%(n)s` in it, as `text`."""
        return own_digits(self.catalogue.ngettext(one, many, n), self.digits) % self.values({"n": n, **values})

    def values(self, values: Mapping[str, object]) -> dict[str, object]:
        """What stands in a sentence: numbers in this person's digits, and all else as it is."""
        return {
            name: self.number(value) if isinstance(value, int) and not isinstance(value, bool) else value
            for name, value in values.items()
        }

    def number(self, value: float, places: int = 0) -> str:
        """With `places` digits behind the point."""
        pattern = f"#,##0.{'0' * places}" if places else "#,##0"
        return self._written(format_decimal(value, pattern, self._locale, numbering_system=self.digits))

    def signed(self, value: float, places: int = 0) -> str:
        """A difference, with its sign in front."""
        return f"{'-' if value < 0 else '+'}{self.number(abs(value), places)}"

    def figures(self, value: float, significant: int) -> str:
        """With so many digits that tell something, however small it is."""
        return in_digits(f"{value:.{significant}g}", self.digits)

    def percent(self, share: float, places: int = 0) -> str:
        pattern = f"#,##0.{'0' * places}%" if places else "#,##0%"
        return self._written(format_percent(share, pattern, self._locale, numbering_system=self.digits))

    def share(self, share: float) -> str:
        """Of traffic, near to how it was given: a canary of half a percent is not 0 %, nor all of it 100.0 %."""
        pattern = "#,##0.##%" if share == 0 or share >= 0.01 else "#,##0.####%"
        return self._written(format_percent(share, pattern, self._locale, numbering_system=self.digits))

    def moment(self, at: datetime, to: Literal["minute", "second"] = "minute") -> str:
        """As the server knows it; `static/console.js` puts it into the reader's zone."""
        clock = "HH:mm" if to == "minute" else "HH:mm:ss"
        return self._written(format_datetime(at, f"d MMM y, {clock} 'UTC'", locale=self._locale))

    def day(self, at: date) -> str:
        return self._written(format_date(at, "d MMM y", locale=self._locale))

    def span(self, seconds: float) -> str:
        return self._written(format_timedelta(timedelta(seconds=seconds), locale=self._locale))

    def _written(self, text: str) -> str:
        """Babel chooses the separators of a numbering system, and leaves the digits and the sign of percent."""
        return in_digits(text, self.digits)

    @property
    def _locale(self) -> str:
        return "ar_EG" if self.code == "ar" else self.code


@cache
def language(code: str, digits: Digits = "latn") -> Language:
    """Only Arabic has a choice of digits: a reader who comes from it reads English in English ones."""
    return Language(code, _catalogue(code), digits if code == "ar" else "latn")


def preferred(accepted: str) -> str:
    """The first of an `Accept-Language` header that there is, by its weights."""
    weighted = []
    for part in accepted.split(","):
        tag, _, weight = part.partition(";q=")
        try:
            weighted.append((float(weight or 1), tag.strip().lower().partition("-")[0]))
        except ValueError:
            continue
    known = [code for weight, code in sorted(weighted, key=lambda pair: -pair[0]) if code in LANGUAGES and weight > 0]
    return known[0] if known else "en"


@cache
def _catalogue(code: str) -> gettext.NullTranslations:
    """All files of the language as one: the first is asked first, and what it lacks is asked of the next."""
    merged: gettext.NullTranslations = gettext.NullTranslations()
    for file in reversed(po_files(code)):
        with file.open("rb") as opened:
            catalogue = read_po(opened, locale=code)
        # Babel would write its own header.
        plurals: Any = catalogue
        plurals._num_plurals, plurals._plural_expr = 6, PLURAL_FORMS.partition("plural=")[2].rstrip(";")
        compiled = io.BytesIO()
        write_mo(compiled, catalogue)
        compiled.seek(0)
        translations = gettext.GNUTranslations(compiled)
        translations.add_fallback(merged)
        merged = translations
    return merged


def po_files(code: str) -> Sequence[Path]:
    return sorted((TRANSLATIONS / code).glob("*.po"))
