"""Phone numbers: international ones by phonenumbers' tables, and local ones of the Arab countries and a few others.

A local number has no checksum and could be something else, so that it is certain only behind a word that names it
("phone", "جوال"). Groups of digits are put together as a writer does: "(050) 123-4567", "05 01 23 45 67".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import phonenumbers
from phonenumbers import PhoneNumberType, ValidationResult

from training.data.personal.cues import Cue, cue_of
from training.data.personal.hits import Hit

ARAB = (
    "SA", "AE", "KW", "BH", "QA", "OM", "EG", "JO", "LB", "SY", "IQ", "YE", "PS", "MA", "DZ", "TN", "LY", "SD", "MR",
    "SO", "DJ",
)  # fmt: skip
"""Whose numbers are known without a plus. Those of the Comoros are too short to be told from others."""
_OTHERS = ("US", "GB", "FR", "IN", "PK", "TR")
_ARAB_CODES = tuple(str(phonenumbers.country_code_for_region(region)) for region in ARAB)

_CLUSTER = re.compile(r"(?:\+ ?)?\(?\d+(?:[ ().\-/]{1,3}\d+)*\)?")
_GROUP = re.compile(r"\d+")
_ALONE = re.compile(r"(?<![0-9A-Za-z_@#$€£])(?<!\d[.,:])(?<![A-Za-z]-)")
"""Where a number begins that may be one of a phone: not in "A12", "1,000", "10:30"."""
_BEHIND = re.compile(r"[0-9A-Za-z_@%°]|[.,:]\d")
_UNIT = re.compile(
    r" ?(?:mg|mcg|kg|ml|cm|mm|iu|units?|tablets?|usd|eur|sar|aed|kwd|egp|riyals?|dollars?|dirhams?|dinars?|%"
    r"|(?:ملغ|مغ|ملغم|مل|كغ|جرام|غرام|ملي|وحد[هة]|ريال|درهم|دينار|جنيه|دولار|حب[هة]|قرص)\w*)(?!\w)",
    re.IGNORECASE,
)
_DATE = re.compile(
    r"(?<![\d./-])(?:(?:19|20)\d\d([-./])\d{1,2}\1\d{1,2}|\d{1,2}([-./])\d{1,2}\2(?:(?:19|20)\d\d|\d\d))(?![./-]?\d)"
)
_FEWEST, _MOST = 8, 15
"""Digits of a number; no more in any country (ITU-T E.164)."""


def phones(text: str, key: str) -> Iterator[Hit]:
    for cluster in _CLUSTER.finditer(text):
        if _ALONE.match(text, cluster.start()):
            yield from _in_cluster(text, *cluster.span(), key)


def _in_cluster(text: str, start: int, end: int, key: str) -> Iterator[Hit]:
    """The numbers of one row of groups: from each group on, the longest that the tables know, or else that looks so."""
    dated = {at for match in _DATE.finditer(text, start, end) for at in range(*match.span())}
    groups = [match.span() for match in _GROUP.finditer(text, start, end)]
    at = 0
    while at < len(groups):
        begin = groups[at][0] if at else start
        begin -= at > 0 and text[begin - 1] == "("
        best: tuple[int, _Phone] | None = None
        ends = _ends(text, groups, at, end, dated) if not at or text[begin - 1] in " /" else []
        if ends:
            cue = cue_of(text, begin, groups[ends[-1]][1], key)
            for last in reversed(ends):
                phone = _phone(text, begin, groups[last][1], cue)
                if phone and (best is None or phone.known > best[1].known):
                    best = (last, phone)
        if best:
            yield best[1].hit
            at = best[0]
        at += 1


@dataclass(frozen=True, slots=True)
class _Phone:
    """`known` where the tables of phonenumbers have such a number; otherwise it only looks like one."""

    hit: Hit
    known: bool


def _ends(text: str, groups: list[tuple[int, int]], at: int, end: int, dated: set[int]) -> list[int]:
    """The groups with which a number that begins with group `at` may end."""
    ends, size = [], 0
    for last in range(at, len(groups)):
        first, stop = groups[last]
        size += stop - first
        if first in dated or size > _MOST or (last > at + 1 and stop - first < 2):
            break
        behind = stop + text.startswith(")", stop)
        if size >= _FEWEST and (text[behind] in " /" if behind < end else not _BEHIND.match(text, behind)):
            ends.append(last)
    return ends


def _phone(text: str, start: int, end: int, cue: Cue) -> _Phone | None:
    """The number that `text[start:end]` is. Brackets are part of it where both are."""
    opened, closed = text.count("(", start, end), text.count(")", start, end)
    if opened > closed and text[end : end + 1] == ")" and text[start] != "(":
        end += 1
    elif opened > closed and text[start] == "(":
        start += 1
    elif closed > opened and text[start - 1 : start] == "(":
        start -= 1
    written = text[start:end]
    digits = re.sub(r"\D", "", written)
    if cue in ("card", "iban") or _UNIT.match(text, end) or (cue == "version" and "." in written):
        return None
    judged = _international(written, digits, cue) or _local(written, digits, cue)
    return _Phone(Hit("PHONE", start, end, judged.sure, judged.value), judged.known) if judged else None


class _Judged(NamedTuple):
    sure: bool
    known: bool
    value: str


def _international(written: str, digits: str, cue: Cue) -> _Judged | None:
    """What it is as a number with its country's code."""
    plus = "+" in written
    if plus or digits.startswith("00"):
        code = digits.removeprefix("00")
        number, told = _parsed(code), cue in ("phone", "call")
        if number:
            return _Judged(plus or cue not in ("record", "id"), True, number)
        return _Judged(told, False, f"+{code}") if told or (plus and number is not None) else None
    if len(digits) >= 11 and digits.startswith(_ARAB_CODES) and cue not in ("record", "id"):
        number = _parsed(digits)
        return _Judged(cue == "phone", True, number) if number else None
    return None


def _local(written: str, digits: str, cue: Cue) -> _Judged | None:
    """What it is without its country's code: certain only where a table knows it and a word before it names it."""
    told, bare = cue in ("phone", "call", "number"), written.isdecimal()
    looks = _LOOKS.fullmatch(written) is not None
    if cue in ("record", "id") or not (told or looks or digits[0] == "0") or len(set(digits)) < 3:
        return None
    if len(digits) > 13 or (bare and _DAY.fullmatch(digits)):
        return None
    value = digits.lstrip("0")
    if _is_local(digits):
        return _Judged(cue == "phone", True, value)
    usual = digits[0] == "0" or len(digits) in (10, 11) or not bare
    return _Judged(False, False, value) if usual and (told or looks) else None


_LOOKS = re.compile(r"\(\d{3}\) ?\d{3}[ .-]\d{4}|\d{3}([.-])\d{3}\1\d{4}|\(0\d{1,3}\) ?\d{3,4}[ .-]?\d{3,4}")
"""North America's way of writing, and an area in brackets: hardly anything else is written like that."""

_DAY = re.compile(r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])")


@lru_cache(4096)
def _parsed(digits: str) -> str | None:
    """Country code and national number; "" where it is only as long as one of its country, None where it is not."""
    try:
        number = phonenumbers.parse(f"+{digits}")
    except phonenumbers.NumberParseException:
        return None
    if phonenumbers.is_valid_number(number):
        return f"+{number.country_code} {phonenumbers.national_significant_number(number)}"
    return "" if phonenumbers.is_possible_number_with_reason(number) == ValidationResult.IS_POSSIBLE else None


@lru_cache(4096)
def _is_local(digits: str) -> bool:
    """Whether it is valid in one of the countries as it is dialled there, or a mobile number without its zero."""
    for region in (*ARAB, *_OTHERS):
        with suppress(phonenumbers.NumberParseException):
            number = phonenumbers.parse(digits, region)
            if phonenumbers.is_valid_number_for_region(number, region):
                zero = phonenumbers.ndd_prefix_for_region(region, True) == "0"
                if not zero or digits[0] == "0" or phonenumbers.number_type(number) == PhoneNumberType.MOBILE:
                    return True
    return False
