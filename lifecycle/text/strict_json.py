"""JSON that means the same to every program that reads it: what RFC 8259 leaves to each parser is refused.

The service reads requests by it, and evaluations the answers of models.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import Any

import jiter
from pydantic_core import from_json

MOST_LEVELS = 200
TOO_DEEP = f"is nested too deeply: {MOST_LEVELS} levels are the most"
_IN_OUR_WORDS = {
    "recursion limit": TOO_DEEP,
    "hex escape": "has half of a surrogate pair: \\ud800 to \\udfff stand for a character only in twos",
}


def parse(text: str) -> Any:
    """The value of a JSON text. Raises ValueError, whose words say what the text has or is, for anything else.

    Refused are NaN and infinities, numbers that no double holds, one key twice, half of a surrogate pair (which could
    not be written as UTF-8), and nesting so deep that something behind would give up.
    """
    raw = text.encode("utf-8", "surrogatepass")
    if not _LARGE.search(text):
        try:
            return jiter.from_json(raw, allow_inf_nan=False, catch_duplicate_keys=True)
        except ValueError:
            pass  # what follows takes longer, and has the words for what is wrong
    try:
        # Two parsers: this one limits depth and digits and knows surrogates, the other can look at keys and numbers.
        from_json(raw)
    except ValueError as error:
        said = str(error)
        why = next((ours for theirs, ours in _IN_OUR_WORDS.items() if theirs in said), f"is not JSON: {said}")
        raise ValueError(why) from error
    return _DECODER.decode(text)


_LARGE = re.compile(r"[0-9](?:[eE]|[0-9]{299})")
"""What every number has that no double holds: an exponent, or three hundred digits."""


def _no_constant(name: str) -> float:
    raise ValueError(f"is not JSON: it has no {name}")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"has a number that is too large: {digits[:20]}")
    return value


def _whole(digits: str) -> int:
    _finite(digits)
    return int(digits)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"says {twice[:80]!a} twice in one object")
    return value


_DECODER = json.JSONDecoder(
    parse_constant=_no_constant, parse_float=_finite, parse_int=_whole, object_pairs_hook=_unique
)
