"""Numbers of money: IBAN (ISO 13616) and payment cards (ISO/IEC 7812), told by their check digits."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stdnum import iban, luhn, numdb
from stdnum.exceptions import ValidationError
from stdnum.iso7064 import mod_97_10

from training.data.personal.cues import cue_of
from training.data.personal.hits import Hit

_IBAN = re.compile(
    r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?:[A-Za-z0-9]{11,30}"
    r"|([ -])[A-Za-z0-9]{4}(?:\1[A-Za-z0-9]{4}){1,6}(?:\1[A-Za-z0-9]{1,3})?)(?![A-Za-z0-9])"
)
_CARD = re.compile(
    r"(?<![\d])(?<!\d\.)(?:\d{13,19}"  # bare, or in the groups that are printed on cards
    r"|\d{4}([ .-])\d{4}\1\d{4}\1\d{1,4}(?:\1\d{3})?|\d{4}([ .-])\d{6}\2\d{4,5})(?!\d)"
)
_GAPS = re.compile(r"[ .-]")

_COUNTRIES = frozenset(prefix for _, _, prefix, *_ in numdb.get("iban").prefixes) | {"DZ", "MA"}

_BRANDS: tuple[tuple[str, tuple[int, ...]], ...] = (
    (r"4", (13, 16, 19)),  # Visa, and mada on Visa
    (r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720", (16,)),  # Mastercard
    (r"3[47]", (15,)),  # American Express
    (r"36|38|39|30[0-59]", (14, 16, 19)),  # Diners Club
    (r"35(?:2[89]|[3-8])", (16, 17, 18, 19)),  # JCB
    (r"6(?:011|4[4-9]|5)|62|60|81|82", (16, 17, 18, 19)),  # Discover, UnionPay, RuPay
    (r"50|5[6-9]|6[37]", (13, 14, 15, 16, 17, 18, 19)),  # Maestro, Meeza
    (r"968[0-3]|9792|220[0-4]", (16, 17, 18, 19)),  # mada, Troy, Mir
)
_BRAND_OF = tuple((re.compile(prefix), lengths) for prefix, lengths in _BRANDS)


def ibans(text: str, key: str) -> Iterator[Hit]:
    """Certain where the check digits hold; where they do not, only one of a country's own form behind the word."""
    for start, end in _tried(_IBAN, text):
        written = _GAPS.sub("", text[start:end])
        compact = written.upper()
        # Small letters are as good as capitals, but both together are a token's.
        if written not in (compact, compact.lower()) or compact[:2] not in _COUNTRIES or not 15 <= len(compact) <= 34:
            continue
        if mod_97_10.is_valid(compact[4:] + compact[:4]):
            yield Hit("IBAN", start, end, True, compact)
        elif cue_of(text, start, start, key) == "iban" and _has_form(compact):
            yield Hit("IBAN", start, end, False, compact)


def _has_form(compact: str) -> bool:
    """Whether a country writes its IBANs like this, whatever the check digits say."""
    try:
        digits = mod_97_10.calc_check_digits(compact[4:] + compact[:2])
        iban.validate(f"{compact[:2]}{digits}{compact[4:]}")
    except ValidationError:
        return False
    return True


def cards(text: str, key: str) -> Iterator[Hit]:
    """Certain where the check digit holds and an issuer's prefix or a word confirms it; a tenth of all numbers has a
    right check digit by chance."""
    for start, end in _tried(_CARD, text):
        digits = _GAPS.sub("", text[start:end])
        if len(digits) < 13 or len(set(digits)) == 1 or not luhn.is_valid(digits):
            continue
        branded = any(len(digits) in lengths and prefix.match(digits) for prefix, lengths in _BRAND_OF)
        bare = digits == text[start:end]
        cue = cue_of(text, start, end, key)
        if cue == "card" or (branded and not (bare and cue in ("id", "phone"))):
            yield Hit(
                "CARD", start, end, cue == "card" or (cue != "record" and not (bare and len(digits) == 13)), digits
            )


def _tried(pattern: re.Pattern[str], text: str) -> Iterator[tuple[int, int]]:
    """What the pattern matches, and after it what is left when its last groups are taken off, down to the first.

    A word or a number behind a value may look like its last group ("… 7519 now", "… 1111 12/26"); what starts behind
    the first group is tried then. A caller that takes a span goes on behind it.
    """
    at = 0
    while match := pattern.search(text, at):
        start, end = match.span()
        yield start, end
        gaps = [gap.start() for gap in _GAPS.finditer(text, start, end)]
        for gap in reversed(gaps):
            yield start, gap
        at = gaps[0] if gaps else end
