"""Personal data in a text: found by pattern, checked by checksum where there is one, replaced by typed placeholders.

It finds what has a form (addresses, numbers). Names, places and illnesses have none: a person must look for those.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from lifecycle.text.letters import ascii_digits

Kind = Literal["EMAIL", "IBAN", "CARD", "IP", "NATIONAL_ID", "PHONE"]


@dataclass(frozen=True, slots=True)
class Hit:
    """Characters `start` to `end` of the text. `sure` when a checksum or an unmistakable form confirms it."""

    kind: Kind
    start: int
    end: int
    sure: bool


def find(text: str) -> tuple[Hit, ...]:
    """All hits, in order, not overlapping; where two kinds could claim a span, the surer (earlier below) has it.

    Digits of any script count as digits.
    """
    plain = ascii_digits(text)
    taken: list[Hit] = []
    for kind, pattern, confirm in _PATTERNS:
        for hit in _hits(plain, kind, pattern, confirm):
            if not any(hit.start < other.end and other.start < hit.end for other in taken):
                taken.append(hit)
    return tuple(sorted(taken, key=lambda hit: hit.start))


def _hits(plain: str, kind: Kind, pattern: re.Pattern[str], confirm: _Confirm) -> Iterator[Hit]:
    """What one kind finds, in order.

    A word or a number behind a value may look like its last group ("… 7519 now", "… 1111 12/26"). Where a checksum
    tells, shorter values are tried too, down to the first group, and then what starts behind that.
    """
    at = 0
    while match := pattern.search(plain, at):
        start, end = match.span()
        verdict = confirm(plain[start:end])
        while verdict is None and kind in _CHECKED and (gap := _last_gap(plain, start, end)) > start:
            end = gap
            verdict = confirm(plain[start:end])
        if verdict is not None:
            yield Hit(kind, start, end, verdict)
        at = end


def _last_gap(plain: str, start: int, end: int) -> int:
    return max(plain.rfind(" ", start, end), plain.rfind("-", start, end))


def redact(texts: Iterable[str]) -> tuple[tuple[str, ...], int]:
    """The texts of one row with `[EMAIL]`, `[PHONE]`, … in place of hits, and how many there were.

    One value has one placeholder throughout the row (`[PHONE]`, then `[PHONE_2]` for another number), so an answer
    that repeats the question's number still does.
    """
    numbers: dict[tuple[Kind, str], int] = {}
    counts: dict[Kind, int] = {}
    cleaned, total = [], 0
    for text in texts:
        parts, at = [], 0
        for hit in find(text):
            value = re.sub(r"[\s().-]", "", ascii_digits(text[hit.start : hit.end])).casefold()
            if (hit.kind, value) not in numbers:
                counts[hit.kind] = numbers[hit.kind, value] = counts.get(hit.kind, 0) + 1
            number = numbers[hit.kind, value]
            parts += [text[at : hit.start], f"[{hit.kind}]" if number == 1 else f"[{hit.kind}_{number}]"]
            at, total = hit.end, total + 1
        cleaned.append("".join(parts) + text[at:])
    return tuple(cleaned), total


_Confirm = Callable[[str], bool | None]
"""True: certain; False: it only looks like one; None: it is none."""


def _email(value: str) -> bool | None:
    domain = value.rpartition("@")[2].casefold()
    reserved = ("example", "test", "invalid", "localhost")  # RFC 2606: nobody's
    if domain.rpartition(".")[2] in reserved or re.search(r"(^|\.)example\.(com|net|org)$", domain):
        return None
    return True


def _iban(value: str) -> bool | None:
    """ISO 13616: letters become numbers, the first four characters go last, and the whole is 1 modulo 97."""
    compact = re.sub(r"[\s-]", "", value)
    if not 15 <= len(compact) <= 34:
        return None
    return True if int("".join(str(int(c, 36)) for c in compact[4:] + compact[:4])) % 97 == 1 else None


def _luhn(digits: str) -> bool:
    """ISO/IEC 7812-1, annex B."""
    doubled = [int(d) * (1 + i % 2) for i, d in enumerate(reversed(digits))]
    return sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0


def _card(value: str) -> bool | None:
    digits = re.sub(r"\D", "", value)
    return True if len(digits) >= 13 and len(set(digits)) > 1 and _luhn(digits) else None


def _ip(value: str) -> bool | None:
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return None
    if address.is_loopback or address.is_unspecified:
        return None
    return address.version == 6  # four small numbers with dots may be a version


def _national_id(value: str) -> bool | None:
    digits = re.sub(r"\D", "", value)
    if len(digits) == 15:  # Emirates ID
        return True if _luhn(digits) else None
    if len(digits) == 14:  # Egypt: century, birth date, governorate, serial
        return (1 <= int(digits[3:5]) <= 12 and 1 <= int(digits[5:7]) <= 31) or None
    if len(digits) == 10:  # Saudi Arabia: citizens 1, residents 2
        return True if _luhn(digits) else None
    return True  # three, two and four digits with dashes: a US social security number


def _phone(value: str) -> bool | None:
    digits = re.sub(r"\D", "", value)
    if not 8 <= len(digits) <= 15 or _DATE.fullmatch(value):
        return None
    if value.startswith(("+", "00")):
        return True
    bare = value.isdecimal() and not value.startswith("0")
    return None if bare and len(digits) not in (10, 11) else False  # a bare number of another length counts something


_CHECKED = {"IBAN", "CARD"}
"""Kinds of many lengths whose checksum tells where a value ends."""

_DATE = re.compile(r"\d{4}[-./]\d{1,2}[-./]\d{1,2}|\d{1,2}[-./]\d{1,2}[-./]\d{4}")

_PATTERNS: tuple[tuple[Kind, re.Pattern[str], _Confirm], ...] = (
    ("EMAIL", re.compile(r"[\w.+%-]+@[\w-]+(?:\.[\w-]+)+"), _email),
    ("IBAN", re.compile(
        r"\b[A-Za-z]{2}\d{2}(?:[A-Za-z0-9]{11,30}"
        r"|([ -])[A-Za-z0-9]{4}(?:\1[A-Za-z0-9]{4}){1,6}(?:\1[A-Za-z0-9]{1,3})?)\b"
    ), _iban),
    ("NATIONAL_ID", re.compile(r"(?<!\d)(?:784-?\d{4}-?\d{7}-?\d|[23]\d{13}|\d{3}-\d{2}-\d{4}|[12]\d{9})(?!\d)"),
     _national_id),
    # bare, or in the groups that are printed on cards
    ("CARD", re.compile(
        r"(?<!\d)(?:\d{13,19}|\d{4}([ -])\d{4}\1\d{4}\1\d{1,4}(?:\1\d{3})?|\d{4}([ -])\d{6}\2\d{4,5})(?!\d)"), _card),
    ("IP", re.compile(r"(?<![\w.:])(?:(?:\d{1,3}\.){3}\d{1,3}|[0-9A-Fa-f:]{2,}:[0-9A-Fa-f:]+)(?![\w.:])"), _ip),
    ("PHONE", re.compile(r"(?<![\w+])(?:\+|00)?\(?\d{1,4}\)?(?:[ ./-]?\(?\d{2,5}\)?){2,5}(?!\w)"), _phone),
)  # fmt: skip
