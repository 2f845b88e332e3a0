"""JSON that means the same to every program that reads it: what RFC 8259 leaves to each parser is refused.

The service reads requests by it, and evaluations the answers of models. Rows are read by `kept` and written by
`written`, so that their numbers stay as they are spelled.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import jiter
from pydantic_core import from_json

MOST_LEVELS = 200
TOO_DEEP = f"is nested too deeply: {MOST_LEVELS} levels are the most"
_IN_OUR_WORDS = {
    "recursion limit": TOO_DEEP,
    "number out of range": "has a number that is too large: more than 4,300 digits",
    "hex escape": "has half of a surrogate pair: \\ud800 to \\udfff stand for a character only in twos",
}


def parse(text: str) -> Any:
    """The value of a JSON text. Raises ValueError, whose words say what the text has or is, for anything else.

    Refused are NaN and infinities, numbers that no double holds, one key twice, half of a surrogate pair (which could
    not be written as UTF-8), and nesting so deep that something behind would give up.
    """
    return _value(text, large=_LARGE.search(text) is not None)


def _value(text: str, *, large: bool) -> Any:
    raw = text.encode("utf-8", "surrogatepass")
    if not large:
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


class Spelled(float):
    """A number that Python would write in another way than it was written: `1.10`, `1e3`, `-0`, too many digits."""

    def __init__(self, spelling: str) -> None:
        self.spelling = str(spelling)

    def __str__(self) -> str:
        return self.spelling

    __repr__ = __str__


def kept(text: str) -> Any:
    """The same as `parse` for an object or a list, with each such number `Spelled`. Raises as it does."""
    if not _ODD.search(text):
        return _value(text, large=False)  # a large number is odd too, and looking for both would take as long again
    parse(text)
    return parse_written(text)


def parse_written(text: str | bytes) -> Any:
    """The value of what `written` wrote."""
    return _SPELLING.decode(text if isinstance(text, str) else text.decode())


def written(value: Any) -> str:
    """JSON as `json.dumps` writes it, with each `Spelled` number as it was read."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_ENCODER.encode(str(key))}: {written(part)}' for key, part in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(written, value))}]"
    return value.spelling if isinstance(value, Spelled) else _ENCODER.encode(value)


def respelled(value: Any) -> Iterator[Spelled]:
    """The numbers of a value that any other writer of JSON would spell in another way."""
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from respelled(part)
    elif isinstance(value, Spelled):
        yield value


_ODD = re.compile(r"[0-9](?:[eE]|\.[0-9]+0[\s,\]}]|[0-9.]{15}|\.0000|(?<=-0)[\s,\]}])")
"""What every `Spelled` number of an object or a list has: an exponent, a last zero, more digits than every double keeps
apart, a fraction so small that Python writes an exponent, or `-0`. Texts that have it are only read more carefully."""

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

_ENCODER = json.JSONEncoder(ensure_ascii=False)


def _spelled(digits: str) -> float:
    value = float(digits)
    return value if repr(value) == digits else Spelled(digits)


_SPELLING = json.JSONDecoder(
    parse_float=_spelled, parse_int=lambda digits: Spelled(digits) if digits == "-0" else int(digits)
)
