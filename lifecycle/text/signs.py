"""Numbers and signs in a text: what a reader would not overlook stays, in one way of writing; other signs are spaces.

Kept are the point and the minus of a number, fractions, powers, currencies, percent, plus, comparison and arithmetic.
All other punctuation and symbols part words in one text and not in the other: "x-ray" and "x ray" are one answer.
"""

from __future__ import annotations

import re
import unicodedata

_UNITS = (
    "%‰$¢-¥\u058f\u060b\u07fe\u07ff\u09f2\u09f3\u09fb\u0af1\u0bf9\u0e3f\u17db\u20a0-\u20cf\ua838"
    "\U00011fdd-\U00011fe0\U0001e2ff\U0001ecb0"
)
"""Percent and the signs of currencies, as part of a character class."""

# Before NFKC, which would make "10²" a hundred and two, "1½" eleven halves, and every space a plain one.
_GROUPED = re.compile(r"(?<![\d.٫,،٬，])([1-9]\d{0,2})([,،٬，\u00a0\u2007\u2009\u202f])\d{3}(?:\2\d{3})*(?!\2?\d)")
_POWER = re.compile(r"(?<=\d)(?=[⁺⁻]?[⁰¹²³⁴-⁹])")
_MIXED = re.compile(r"(?<=\d)(?=[¼-¾⅐-⅞])")


def whole_numbers(text: str) -> str:
    """Digits in groups of three drawn together ("1,000", "١٬٠٠٠"), powers and fractions set off. Digits are 0-9."""
    text = _GROUPED.sub(lambda number: number.group().replace(number.group(2), ""), text)
    return _MIXED.sub(" ", _POWER.sub("^", text))


# In NFKC, and in the writer's case.
_NAME_AND_SIGN = re.compile(r"(?<![^\W_])([A-Z][A-Za-z]?\d?)([-#])(?![^\W_])")
_OWN_SIGN = {"-": "−", "#": "♯"}


def named_signs(text: str) -> str:
    """The sign behind a short name as one that always counts: "A-" (blood) and "C#" are not "A" and "C"."""
    return _NAME_AND_SIGN.sub(lambda name: name[1] + _OWN_SIGN[name[2]], text)


# In NFKC, case folded.
_WRITTEN_OTHERWISE = str.maketrans("٫٪؉⁄∕⩽≦⩾≧", ".%‰//≤≤≥≥")
_ABBREVIATED = re.compile(r"(?<![^\W_])[^\W\d_](?:\.[^\W\d_])+(?![^\W_])")
_SIGN = re.compile(
    rf"""
      (?P<drawn> [-=]+> | <-+(?!\d) | <=+> | </?[a-z][a-z0-9]*\ ?/?> )
    | (?P<digraph> \+/[-−] | \+[-−](?=\d) | <= | >= | != )
    | (?P<power> (?<=\d)\^(?=[-−+]?\d) )
    | (?P<behind> (?<=[^\W_])−(?![^\W_]) | (?<=[^\W_])♯ )
    | (?P<number>
        (?: (?<![^\W_])(?P<sign>[-−–‒+]) )?  (?: (?P<unit>[{_UNITS}])(?P<inner>[-−+])? )?
        (?P<digits> (?:(?<![\w.])\.)?\d+(?:[./]\d+)* )
      )
    | (?P<apart> (?<=\d)[x×](?=\d) | [+*~<>{_UNITS}] )
    | (?P<other> [^\w\s] | _ )
    """,
    re.VERBOSE,
)
_ONE_SIGN = {"+/-": "±", "+/−": "±", "+-": "±", "+−": "±", "<=": "≤", ">=": "≥", "!=": "≠"}
_ONLY_DRAWN = frozenset("=|¬−♯") | {chr(code) for code in (*range(0x2190, 0x2200), *range(0x27F0, 0x2800))}
"""Symbols that Unicode counts as mathematical; arrows are among them."""
_IS_NUMBER = re.compile(r"[−+–]?\d")
_IS_UNIT = re.compile(f"[{_UNITS}]")


def words_and_signs(text: str) -> list[str]:
    """The words of `text`, and the signs that mean something, each in one way of writing."""
    text = text.translate(_WRITTEN_OTHERWISE)
    text = _ABBREVIATED.sub(lambda letters: letters[0].replace(".", ""), text)  # "a.m." is "am"
    words = [word for word in map(_unmarked, _SIGN.sub(_set_apart, text).split()) if word]
    while (settled := _settled(words)) != words:  # each time a sign has gone, or has become another for good
        words = settled
    return _units_last(words)


def _set_apart(sign: re.Match[str]) -> str:
    kind, text = sign.lastgroup, sign[0]
    if kind == "number":
        return _number(sign)
    if kind == "power":
        return text
    if kind == "behind":
        return f"{text} "
    category = unicodedata.category(text) if kind == "other" else ""
    if kind in ("apart", "digraph") or (category == "Sm" and text not in _ONLY_DRAWN):
        return f" {_ONE_SIGN.get(text, text)} "
    if kind == "drawn" or category[0] in "PS" or category in ("Cc", "Cs"):
        return " "
    return text  # a mark, or a character that this Python does not know


def _number(match: re.Match[str]) -> str:
    parts = match["digits"].split("/")
    digits = ("/" if len(parts) == 2 else " ").join(map(_decimal, parts))  # more than one slash is a date
    sign = (match["sign"] or match["inner"] or "").replace("-", "−").replace("‒", "–")
    if digits.partition(" ")[0] == "0" and sign != "+":
        sign = ""
    return f" {match['unit']} {sign}{digits}" if match["unit"] else sign + digits


def _decimal(digits: str) -> str:
    """One point is a decimal point, and "3.0" is "3"; several part a version or a date. "3.10" is not "3.1"."""
    if digits.count(".") != 1:
        return digits.replace(".", " ").strip()
    whole, fraction = digits.split(".")
    return (whole or "0") if not fraction.strip("0") else f"{whole or '0'}.{fraction}"


def _unmarked(word: str) -> str:
    """Without combining marks that have nothing to stand on."""
    while word and unicodedata.category(word[0])[0] == "M":
        word = word[1:]
    return word


def _settled(words: list[str]) -> list[str]:
    """The signs that depend on their neighbours: kept, made another, or left out. From the end, as most look ahead."""
    settled: list[str] = []
    for place in reversed(range(len(words))):
        word, before = words[place], words[place - 1] if place else ""
        after = settled[-1] if settled else ""
        if word in ("*", "x"):
            factor = _IS_NUMBER.match(after) or _IS_UNIT.match(after)
            word = "×" if _IS_NUMBER.match(before) and factor else word.strip("*")
        elif word == "~":
            word = "≈" if _IS_NUMBER.match(after) or _IS_UNIT.match(after) else ""
        elif word in ("<", ">"):
            compares = before[:1].isalnum() or _IS_UNIT.match(before) or not after[:1].isalpha()
            word = word if after and after not in ("<", ">") and compares else ""
        elif word[0] == "–":  # a dash is a minus only where no number stands before it: "10 –12" is a range
            word = word[1:] if _IS_NUMBER.match(before) else "−" + word[1:]
        if word:
            settled.append(word)
    return settled[::-1]


def _units_last(words: list[str]) -> list[str]:
    """The sign of a currency or a percentage behind its number, wherever it was written: "€5" is "5 €"."""
    ordered: list[str] = []
    at = 0
    while at < len(words):
        word, before, after = words[at], ordered[-1] if ordered else "", words[at + 1] if at + 1 < len(words) else ""
        led = _IS_NUMBER.match(before) or _IS_UNIT.match(before)
        if _IS_UNIT.match(word) and _IS_NUMBER.match(after) and not led:
            ordered += [after, word]
            at += 2
        else:
            ordered.append(word)
            at += 1
    return ordered
