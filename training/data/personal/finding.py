"""All personal data of a text: every detector over every piece of it, and one hit where several claim a span."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from lifecycle.rows.conversions import as_messages, converted, usual_form
from lifecycle.rows.kinds import Judged, Row
from training.data.personal.addresses import emails, ips
from training.data.personal.credentials import credentials
from training.data.personal.hits import Hit, Kind
from training.data.personal.json_pieces import pieces
from training.data.personal.national_ids import national_ids
from training.data.personal.numbers import cards, ibans
from training.data.personal.phones import phones
from training.data.personal.spelling import spelling

Detector = Callable[[str, str], Iterator[Hit]]
"""Gives the hits of a text in the one spelling; the second argument is the JSON key before it, or nothing."""

_LONG_NUMBER = re.compile(r"\d(?:[^\w\n]{0,3}\d){6}")
"""Seven digits close together: less than that is no number of a person, unless it has letters too."""
_WITH_LETTERS = re.compile(r"[A-Za-z] ?\d\d")
_ADDRESS = re.compile(r"\d\.\d{1,3}\.\d|:[0-9A-Fa-f]{0,4}:")


def find(text: str, key: str = "", *, more: tuple[Detector, ...] = ()) -> tuple[Hit, ...]:
    """All hits of `text`, in order, not overlapping; places are those of `text` as it is written.

    `key` is the JSON key or column that the text is the value of. Where two kinds could claim a span the certain one
    has it, then the one of the stricter form. `more` are detectors beside the usual ones, such as that for names.
    """
    hits: list[Hit] = []
    for piece in pieces(text):
        plain = spelling(piece.said.text)
        for hit in _apart(_hits(plain.text, piece.key or key, more)):
            start, end = plain.span(hit.start, hit.end)
            start, end = piece.span(start, end)
            if not piece.quotes or end - start == len(piece.said.text):
                hits.append(replace(hit, start=start, end=end, quotes=piece.quotes))
    return tuple(hits)


def kinds_in(row: Row, *, more: tuple[Detector, ...] = ()) -> set[tuple[bool, Kind]]:
    """(whether it is certain, kind) of all personal data of a row of any kind, its id, tools and meta included."""
    keys = as_messages(row.conversation) if isinstance(row, Judged) else converted(row, usual_form(row))
    return {(hit.sure, hit.kind) for text, key in texts_of(keys) for hit in find(text, key, more=more)}


def texts_of(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every text of a JSON value with the key before it, and the digits of each number that could be a person's."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield name, ""
            yield from texts_of(part, name)
    elif isinstance(value, list):
        for part in value:
            yield from texts_of(part, key)
    elif text := value if isinstance(value, str) else digits_of(value):
        yield text, key


def digits_of(value: Any) -> str:
    """The digits of a whole number, also as a float, that has as many as a person's numbers have; otherwise nothing."""
    if isinstance(value, float) and value.is_integer() and abs(value) < _WHOLE:
        value = int(value)
    return str(value) if isinstance(value, int) and not isinstance(value, bool) and 10**6 < value < 10**20 else ""


_WHOLE = 2.0**53
"""Up to here a float holds every whole number: a phone number in it is still one."""


def _hits(text: str, key: str, more: tuple[Detector, ...]) -> Iterator[Hit]:
    yield from credentials(text, key)
    if "@" in text:
        yield from emails(text)
    long = _LONG_NUMBER.search(text) is not None
    if long or _WITH_LETTERS.search(text):
        yield from ibans(text, key)
        yield from national_ids(text, key)
    if long:
        yield from cards(text, key)
        yield from phones(text, key)
    if _ADDRESS.search(text):
        yield from ips(text, key)
    for detector in more:
        yield from detector(text, key)


_ORDER = ("SECRET", "EMAIL", "IBAN", "NATIONAL_ID", "CARD", "IP", "PHONE", "PERSON")


def _apart(hits: Iterator[Hit]) -> list[Hit]:
    """Those that stay where several overlap, in the order of the text."""
    best = sorted(hits, key=lambda hit: (not hit.sure, _ORDER.index(hit.kind), hit.start, -hit.end))
    if len(best) < 2:
        return best
    taken: list[Hit] = []
    covered: set[int] = set()
    for hit in best:
        span = range(hit.start, hit.end)
        if covered.isdisjoint(span):
            covered.update(span)
            taken.append(hit)
    return sorted(taken, key=lambda hit: hit.start)
