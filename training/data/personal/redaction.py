"""Copies of texts and rows with numbered placeholders for personal data: `[PHONE_1]`, `[EMAIL_2]`.

A value has one number through all that a `Redactor` sees, in whatever spelling it comes. JSON stays JSON.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Any

from training.data.personal.finding import Detector, digits_of, find, texts_of
from training.data.personal.hits import Hit, Kind


def redact(texts: Iterable[str]) -> tuple[tuple[str, ...], int]:
    """The texts of one row with placeholders, numbered over all of them, and how many values were replaced."""
    redactor = Redactor()
    return tuple(redactor.row(list(texts))), redactor.replaced.total()


class Redactor:
    """The placeholders of one file. It keeps a digest and the number of each value, and no value.

    `more` are detectors beside the usual ones, such as that for names.
    """

    def __init__(self, more: tuple[Detector, ...] = ()) -> None:
        self.replaced: Counter[Kind] = Counter()
        """Places that were replaced, by kind."""
        self._more = more
        self._numbers: dict[bytes, int] = {}
        self._bound: set[bytes] = set()
        """Phone numbers without a country's code whose country is known."""
        self._last: Counter[Kind] = Counter()

    def row(self, value: Any) -> Any:
        """A copy of a JSON value with placeholders in all its strings, keys and numbers.

        What one place of the row tells holds for the others: a number that the question calls a phone is one in the
        answer. Raises nothing for any JSON value.
        """
        known = {
            again: hit
            for text, key in texts_of(value)
            for hit in find(text, key, more=self._more)
            for again in _again(hit)
        }
        if not known:
            return value
        return self._copy(value, "", (*self._more, _repeated(known)))

    def _copy(self, value: Any, key: str, more: tuple[Detector, ...]) -> Any:
        if isinstance(value, dict):
            copy: dict[str, Any] = {}
            for name, part in value.items():
                clean = self._text(name, "", more)
                # Two spellings of one value are one placeholder, and nothing may be lost.
                while clean in copy:
                    clean += "'"
                copy[clean] = self._copy(part, name, more)
            return copy
        if isinstance(value, list):
            return [self._copy(part, key, more) for part in value]
        if isinstance(value, str):
            return self._text(value, key, more)
        digits = digits_of(value)
        clean = self._text(digits, key, more, whole=True) if digits else ""
        return value if clean == digits else clean

    def _text(self, text: str, key: str, more: tuple[Detector, ...], *, whole: bool = False) -> str:
        parts, at = [], 0
        for hit in find(text, key, more=more):
            if whole and (hit.start, hit.end) != (0, len(text)):
                continue
            parts += [text[at : hit.start], hit.quotes, self._placeholder(hit), hit.quotes]
            at = hit.end
            self.replaced[hit.kind] += 1
        return "".join(parts) + text[at:]

    def _placeholder(self, hit: Hit) -> str:
        return f"[{hit.kind}_{self._number(hit.kind, hit.value)}]"

    def _number(self, kind: Kind, value: str) -> int:
        """A phone number without its country's code is the first that has this number in some country."""
        own = _digest(kind, value)
        local = _digest(kind, value.rsplit(maxsplit=1)[-1]) if kind == "PHONE" else own
        if own not in self._numbers:
            if local in self._numbers and local not in self._bound:
                self._numbers[own] = self._numbers[local]
            else:
                self._last[kind] += 1
                self._numbers[own] = self._last[kind]
        if local != own:
            self._numbers.setdefault(local, self._numbers[own])
            self._bound.add(local)
        return self._numbers[own]


def _digest(kind: str, value: str) -> bytes:
    return blake2b(f"{kind} {value}".encode("utf-8", "surrogatepass"), digest_size=8).digest()


_NUMBER = re.compile(r"(?<!\d)\d(?:[ ().\-/]{0,2}\d){6,18}(?!\d)")


def _again(hit: Hit) -> Iterator[str]:
    """The digits by which a value is known again elsewhere in its row."""
    if hit.kind in ("PHONE", "NATIONAL_ID", "CARD"):
        digits = re.sub(r"\D", "", hit.value)
        yield digits
        if hit.kind == "PHONE":
            yield hit.value.split()[-1].lstrip("+0")
    else:
        yield hit.value


def _repeated(known: dict[str, Hit]) -> Detector:
    """A detector of the numbers that the row has told, whatever stands before them here."""

    def detect(text: str, _: str) -> Iterator[Hit]:
        for match in _NUMBER.finditer(text):
            told = known.get(re.sub(r"\D", "", match[0]).lstrip("0"))
            if told is not None:
                yield Hit(told.kind, match.start(), match.end(), False, told.value)

    return detect
