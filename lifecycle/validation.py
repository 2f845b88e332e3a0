"""What pydantic says of a request, a file or an option, in our words: what is right in its place.

pydantic names the members of a union and its own kinds of error; who wrote the value knows neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from lifecycle.errors import Problem

_NUMBER, _WHOLE, _TEXT, _LIST, _OBJECT = "a number", "a whole number", "a string", "a list", "an object"
_MUST_BE: Mapping[str, str] = {
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float", "int_parsing_size"), _WHOLE),
    **dict.fromkeys(("float_type", "float_parsing", "decimal_type", "decimal_parsing"), _NUMBER),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    **dict.fromkeys(("string_type", "string_sub_type", "string_unicode", "bytes_type"), _TEXT),
    **dict.fromkeys(("list_type", "tuple_type", "iterable_type", "set_type", "frozen_set_type"), _LIST),
    **dict.fromkeys(("dict_type", "model_type", "mapping_type", "dataclass_type", "model_attributes_type"), _OBJECT),
    **dict.fromkeys(("literal_error", "enum"), "one of {expected}"),
    **dict.fromkeys(("datetime_type", "datetime_parsing", "datetime_from_date_parsing"), "a date and time (ISO 8601)"),
    "path_type": "a path",
    "finite_number": "a finite number",
    "none_required": "null",
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "less than {lt}",
    "less_than_equal": "{le} or less",
    "multiple_of": "a multiple of {multiple_of}",
    "union_tag_invalid": "one of {expected_tags}",
}
"""pydantic's kind of error → what the value must be, where its context fills the braces."""
_OTHERWISE: Mapping[str, str] = {
    "missing": "is missing",
    "extra_forbidden": "is not known here",
    "json_invalid": "is no JSON",
    "string_too_short": "must have {min_length} or more characters",
    "string_too_long": "must have {max_length} or fewer characters",
    "string_pattern_mismatch": "must match {pattern}",
    "too_short": "must have {min_length} or more items",
    "too_long": "must have {max_length} or fewer items",
    "union_tag_not_found": "has no {discriminator}, which says what it is",
}
_SAID_BY_US = ("value_error", "assertion_error")
_UNKNOWN = "is not what this field takes"


def problems_of(error: ValidationError, body: Any) -> list[Problem]:
    """One problem for each place in `body`, which is what was validated."""
    faults: dict[str, list[str]] = {}
    for detail in error.errors(include_url=False, include_input=False):
        place = _place(detail["loc"], body, missing=detail["type"] == "missing")
        said = faults.setdefault(place, [])
        if (fault := fault_of(detail)) not in said:
            said.append(fault)
    return [Problem(place, together(said)) for place, said in faults.items()]


def in_a_line(error: ValidationError) -> str:
    """The first few faults with their places, for a value that is ours and that nobody mends by hand."""
    details = error.errors(include_url=False, include_input=False)[:_IN_A_LINE]
    return "; ".join(" ".join([*filter(None, [".".join(map(str, one["loc"]))]), fault_of(one)]) for one in details)


_IN_A_LINE = 3


def _place(path: Sequence[int | str], value: Any, *, missing: bool) -> str:
    """The keys and indices of `path` that `value` has; the others are names of types, but for the first, a field."""
    places = []
    for at, part in enumerate(path):
        if isinstance(value, dict):
            there = part in value
        else:
            there = isinstance(value, list) and isinstance(part, int) and part < len(value)
        if there:
            value = value[part]
        elif at > 0 and not (missing and at == len(path) - 1):
            continue
        places.append(str(part))
    return ".".join(places) or "body"


def fault_of(detail: Any) -> str:
    """What one of pydantic's errors says of its place."""
    kind, context = detail["type"], {key: _plain(value) for key, value in detail.get("ctx", {}).items()}
    if kind in _SAID_BY_US:
        return str(context.get("error") or detail["msg"])
    words = f"must be {_MUST_BE[kind]}" if kind in _MUST_BE else _OTHERWISE.get(kind, _UNKNOWN)
    try:
        return words.format(**context)
    except KeyError:
        return _UNKNOWN


def _plain(value: Any) -> Any:
    """A bound as people write it: 1, not 1.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def together(faults: list[str]) -> str:
    """What a place's faults come to, of a union's members, each of which would have done."""
    others = [fault for fault in faults if not is_must(fault)]
    if others:
        return others[0]
    return f"must be {', or '.join(fault.removeprefix(_MUST) for fault in faults)}"


def is_must(fault: str) -> bool:
    """Whether it says what the value must be."""
    return fault.startswith(_MUST)


_MUST = "must be "
