"""Numbers of persons: those of Arab countries, and of others where python-stdnum has a checksum that says much.

How much a number says by itself is its `Proof`; the words before it do the rest (`_verdict`). A checksum of one digit
is right for every tenth record number, so that alone it makes nothing certain.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date, datetime
from functools import lru_cache
from itertools import cycle
from typing import Literal

from stdnum import luhn, verhoeff
from stdnum.be import nn
from stdnum.br import cpf
from stdnum.cn import ric
from stdnum.es import dni, nie
from stdnum.fi import hetu
from stdnum.fr import nir
from stdnum.gb import nhs
from stdnum.it import codicefiscale
from stdnum.kr import rrn
from stdnum.pl import pesel
from stdnum.ro import cnp
from stdnum.tr import tckimlik
from stdnum.us import ssn
from stdnum.za import idnr

from training.data.personal.cues import Cue, cue_of
from training.data.personal.hits import Hit

Proof = Literal["strong", "check", "weak", "form", ""]
"""How much the digits say: a checksum with a date or a prefix; a check digit alone; several signs, none of them
unlikely in another number; no more than the length and the first digits; nothing."""

_DIGITS = re.compile(r"(?<![0-9A-Za-z_.,/+-])\d(?:[ -]?\d){7,18}(?![0-9A-Za-z_]|[.,]\d|-\d)")
_GAP = re.compile(r"[ -]")
_FORMS: tuple[tuple[str, Callable[[str], bool], Proof], ...] = (
    (r"[A-Z]{6}\d{2}[A-Z]\d{2}[A-Z]\d{3}[A-Z]", codicefiscale.is_valid, "strong"),
    (r"\d{8}[A-Z]", dni.is_valid, "weak"),
    (r"[XYZ]\d{7}[A-Z]", nie.is_valid, "weak"),
    (r"\d{6}[-+A]\d{3}[0-9A-Y]", hetu.is_valid, "strong"),
    (r"\d{17}[0-9X]", ric.is_valid, "strong"),
    (r"\d{3}\.\d{3}\.\d{3}-\d{2}", cpf.is_valid, "strong"),
    (r"\d{3}-\d{2}-\d{4}", ssn.is_valid, "weak"),
    (r"\d{6}-[1-8]\d{6}", rrn.is_valid, "strong"),
    (r"\d{5}-\d{7}-[1-9]", bool, "weak"),  # Pakistan
    (r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?(?:\d{2} ?){3}[A-D]", bool, "weak"),  # United Kingdom
    (r"[A-Z]{1,2}\d{7,8}", bool, "form"),  # passports
)
_LETTERED = tuple(
    (re.compile(rf"(?<![0-9A-Za-z_]){form}(?![0-9A-Za-z_])"), is_valid, proof) for form, is_valid, proof in _FORMS
)


def national_ids(text: str, key: str) -> Iterator[Hit]:
    for match in _DIGITS.finditer(text):
        yield from _number(text, match.start(), match.end(), key)
    for pattern, is_valid, proof in _LETTERED:
        for match in pattern.finditer(text):
            if is_valid(match[0]):
                sure = _verdict(proof, cue_of(text, match.start(), match.end(), key))
                if sure is not None:
                    yield Hit("NATIONAL_ID", match.start(), match.end(), sure, re.sub(r"\W", "", match[0]))


def _number(text: str, start: int, end: int, key: str) -> Iterator[Hit]:
    """The id that starts here. Behind it another number may stand ("… for 12 months"): shorter ones are tried too."""
    gaps = [gap.start() for gap in _GAP.finditer(text, start, end)]
    cue = cue_of(text, start, end, key)
    tried = [(stop, _GAP.sub("", text[start:stop])) for stop in (end, *reversed(gaps))]
    for stop, digits in tried:
        grouped = len(digits) < stop - start
        if grouped and cue != "id" and not _AS_PRINTED.fullmatch(text, start, stop):
            continue
        sure = _verdict(proved(digits), cue)
        if sure is not None:
            yield Hit("NATIONAL_ID", start, stop, sure, digits)
            return
    for stop, digits in tried:
        if cue == "id" and len(digits) in _BY_LENGTH:
            yield Hit("NATIONAL_ID", start, stop, False, digits)
            return


_AS_PRINTED = re.compile(r"784([ -])\d{4}\1\d{7}\1\d|[2-9]\d{3} \d{4} \d{4}")
"""Groups that are printed on cards of the Emirates and of India; other groups are anything without a word."""


def _verdict(proof: Proof, cue: Cue) -> bool | None:
    """True: certain; False: possible; None: nothing."""
    if cue == "id":
        return True if proof else None
    if proof == "strong":
        return cue not in ("record", "version")
    if cue == "number" and proof == "check":
        return True
    return False if proof in ("check", "weak") and cue in ("", "number", "ip") else None


@lru_cache(4096)
def proved(digits: str) -> Proof:
    """How much 8 to 15 digits say of being a person's number, in any of the countries known here."""
    return _BY_LENGTH.get(len(digits), _nothing)(digits)


def _nothing(_: str) -> Proof:
    return ""


def _oman(digits: str) -> Proof:
    return "form"


def _bahrain(digits: str) -> Proof:
    """Year and month of birth, a serial and a check digit whose rule is not published."""
    return "form" if "01" <= digits[2:4] <= "12" else ""


def _ten(digits: str) -> Proof:
    if digits[0] in "12" and luhn.is_valid(digits):  # Saudi Arabia: citizens 1, residents 2
        return "check"
    return "form" if digits[0] in "29" or nhs.is_valid(digits) else ""  # Jordan by the year of birth, NHS by modulo 11


def _eleven(digits: str) -> Proof:
    if tckimlik.is_valid(digits) or cpf.is_valid(digits) or nn.is_valid(digits) or pesel.is_valid(digits):
        return "weak"
    return "form" if digits[0] in "23" else ""  # Qatar: century, year, country, serial


def _twelve(digits: str) -> Proof:
    """Kuwait: century, birth date, serial, and a check digit modulo 11."""
    sums = sum(int(digit) * weight for digit, weight in zip(digits, (2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2), strict=False))
    if _born(digits) and 11 - sums % 11 == int(digits[11]):
        return "strong"
    return "form" if digits[0] > "1" and verhoeff.is_valid(digits) else ""  # India


def _thirteen(digits: str) -> Proof:
    return "weak" if cnp.is_valid(digits) or idnr.is_valid(digits) else ""


_GOVERNORATES = frozenset(f"{code:02}" for code in (*range(1, 5), *range(11, 20), *range(21, 30), *range(31, 36), 88))


def _egypt(digits: str) -> Proof:
    """Century, birth date, governorate, serial, and a check digit modulo 11 by a rule that was never published.

    A time stamp of the years 2010 to 2012 can look like it.
    """
    if not _born(digits) or digits[7:9] not in _GOVERNORATES:
        return ""
    sums = sum(int(digit) * weight for digit, weight in zip(digits[:13], cycle((2, 7, 6, 5, 4, 3)), strict=False))
    right = int(digits[13]) in ((11 - sums % 11) % 10, (11 - sums % 11) % 11)
    return "form" if _is_time(digits) else "strong" if right else "weak"


def _emirates(digits: str) -> Proof:
    if digits.startswith("784") and digits[3:5] in ("19", "20"):
        return "strong" if luhn.is_valid(digits) else "form"
    return "strong" if digits[0] in "12" and nir.is_valid(digits) else ""  # France, modulo 97


def _born(digits: str) -> bool:
    """Whether century (2: 1900, 3: 2000), year, month and day are a date on which somebody could be born."""
    if digits[0] not in "23":
        return False
    try:
        day = date(1700 + 100 * int(digits[0]) + int(digits[1:3]), int(digits[3:5]), int(digits[5:7]))
    except ValueError:
        return False
    return day <= date.today()


def _is_time(digits: str) -> bool:
    try:
        return datetime.strptime(digits, "%Y%m%d%H%M%S").year <= 2100
    except ValueError:
        return False


_BY_LENGTH: dict[int, Callable[[str], Proof]] = {
    8: _oman, 9: _bahrain, 10: _ten, 11: _eleven, 12: _twelve, 13: _thirteen, 14: _egypt, 15: _emirates,
}  # fmt: skip
