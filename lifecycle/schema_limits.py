"""Limits of a JSON schema, a regular expression and a grammar, checked before anything is compiled.

A grammar is compiled by counting and joining: some sizes cost by their square, and a number in a pattern stands for as
many states. Each limit is far above what people write. What the engine's compiler would leave out of a schema in
silence is refused too, because the answer would not keep to it. `service/openai/structured.py` says where a request has
these, `answer_schema.py` what a task's answers keep to.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from lifecycle.errors import Problem

_BYTES = 256 * 2**10
_NODES = 20_000
_DEPTH = 40
_PROPERTIES = 1000
_ENUM_VALUES = 2000
_ENUM_CHARACTERS = 120_000
_COUNT = 100_000
"""The largest minItems, maxLength and their like."""
_EXPRESSION_CHARACTERS = 4000
_REPEATS = 10_000
"""Product of the nested repetitions of an expression."""
_GRAMMAR_BYTES = 64 * 2**10

_OF_SCHEMAS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
"""Keywords whose value has names of the caller's own, and a schema for each."""
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_ONE = ("items", "additionalProperties", "unevaluatedProperties", "unevaluatedItems", "propertyNames", "not")
_COUNTS = (("minItems", "maxItems"), ("minLength", "maxLength"), ("minProperties", "maxProperties"))
_LEFT_OUT = {
    "array": ("uniqueItems", "contains", "minContains", "maxContains"),
    "integer": ("multipleOf",),
    "number": ("multipleOf",),
}
_FORMATS = (
    *("email", "date", "time", "date-time", "duration", "ipv4", "ipv6", "hostname", "uuid"),
    *("uri", "uri-reference", "uri-template", "json-pointer", "relative-json-pointer"),
)
_LEAVE = "leave it out, and check the answer yourself"


def schema_problems(schema: Any, place: str, *, obeyed: bool = True) -> list[Problem]:
    """What is wrong with a JSON schema. Only its size matters when it is not `obeyed`: no answer is held to it."""
    if not isinstance(schema, dict | bool):
        return [Problem(place, "must be a JSON schema, an object")]
    if problem := _too_large(schema, place):
        return [problem]
    problems: list[Problem] = []
    properties = values = characters = 0
    for path, part in parts(schema, place):
        properties += len(_mapping(part.get("properties")))
        options = part.get("enum")
        if isinstance(options, list):
            values += len(options)
            characters += sum(len(value) for value in options if isinstance(value, str))
        problems += _counts(part, path)
        if isinstance(part.get("pattern"), str):
            problems += expression_problems(part["pattern"], f"{path}.pattern")
        for pattern in _mapping(part.get("patternProperties")):
            problems += expression_problems(pattern, f"{path}.patternProperties")
        if obeyed:
            problems += _references(part, path, schema) + _left_out(part, path)
    for count, most, what in (
        (properties, _PROPERTIES, "properties"),
        (values, _ENUM_VALUES, "values in enum"),
        (characters, _ENUM_CHARACTERS, "characters in enum"),
    ):
        if count > most:
            problems.append(Problem(place, f"has {count} {what}; at most {most} are taken"))
    return problems


def expression_problems(expression: Any, place: str) -> list[Problem]:
    if not isinstance(expression, str):
        return [Problem(place, "must be a regular expression, a string")]
    if len(expression) > _EXPRESSION_CHARACTERS:
        fault = f"has {len(expression)} characters; at most {_EXPRESSION_CHARACTERS} are taken"
        return [Problem(place, fault)]
    if "\0" in expression:
        return [Problem(place, "must not have a NUL character")]
    if _repeats(expression) > _REPEATS:
        fault = f"repeats what it repeats more than {_REPEATS} times in all"
        return [Problem(place, fault, "write smaller numbers into {…}, or * and +")]
    return []


def grammar_problems(grammar: Any, place: str) -> list[Problem]:
    if not isinstance(grammar, str) or not grammar.strip():
        return [Problem(place, "must be a grammar in EBNF, a string")]
    size = len(grammar.encode("utf-8", "replace"))
    if size > _GRAMMAR_BYTES:
        return [Problem(place, f"has {size} bytes; at most {_GRAMMAR_BYTES} are taken")]
    if any(_bound(bounds) > _REPEATS for bounds in _BOUNDS.findall(grammar)):
        return [Problem(place, f"repeats something more than {_REPEATS} times", "write smaller numbers into {…}")]
    return []


def choice_problems(choices: Any, place: str) -> list[Problem]:
    if not isinstance(choices, list) or not choices or not all(isinstance(choice, str) for choice in choices):
        return [Problem(place, "must be a list of one or more strings")]
    if len(choices) > _ENUM_VALUES:
        return [Problem(place, f"has {len(choices)} strings; at most {_ENUM_VALUES} are taken")]
    characters = sum(map(len, choices))
    if characters > _ENUM_CHARACTERS:
        return [Problem(place, f"has {characters} characters; at most {_ENUM_CHARACTERS} are taken")]
    return []


def tag_problems(tag: Any, place: str) -> list[Problem]:
    """Of a structural tag: the schemas and expressions anywhere within."""
    if not isinstance(tag, dict):
        return [Problem(place, "must be an object")]
    if problem := _too_large(tag, place):
        return [problem]
    problems: list[Problem] = []
    waiting: list[tuple[str, Any]] = [(place, tag)]
    while waiting:
        path, part = waiting.pop()
        for key, value in part.items() if isinstance(part, dict) else enumerate(part):
            inner = f"{path}.{key}"
            if key in ("schema", "json_schema") and isinstance(value, dict):
                problems += schema_problems(value, inner)
            elif key in ("pattern", "regex") and isinstance(value, str):
                problems += expression_problems(value, inner)
            elif key == "grammar" and isinstance(value, str):
                problems += grammar_problems(value, inner)
            elif isinstance(value, dict | list):
                waiting.append((inner, value))
    return problems


def _too_large(value: Any, place: str) -> Problem | None:
    """The size as JSON, how many objects and values there are, and how deep they go: level by level, no recursion."""
    nodes, level, depth = 1, [value] if isinstance(value, dict | list) else [], 0
    while level:
        depth += 1
        below: list[Any] = []
        for node in level:
            nodes += len(node)
            if nodes > _NODES:
                return Problem(place, f"has more than {_NODES} values in all")
            below += node.values() if isinstance(node, dict) else node
        if depth > _DEPTH:
            return Problem(place, f"is nested more than {_DEPTH} levels deep")
        level = [node for node in below if isinstance(node, dict | list)]
    size = len(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    return Problem(place, f"has {size} bytes; at most {_BYTES} are taken") if size > _BYTES else None


def parts(schema: dict[str, Any] | bool, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema within `schema`, itself first, with its place. Values of enum, const and default are no schemas."""
    waiting: list[tuple[str, Any]] = [(place, schema)]
    while waiting:
        path, part = waiting.pop()
        if not isinstance(part, dict):
            continue
        yield path, part
        for key in _OF_SCHEMAS:
            waiting += [(f"{path}.{key}.{name}", inner) for name, inner in _mapping(part.get(key)).items()]
        for key in _LISTS:
            if isinstance(part.get(key), list):
                waiting += [(f"{path}.{key}.{at}", inner) for at, inner in enumerate(part[key])]
        waiting += [(f"{path}.{key}", part[key]) for key in _ONE if key in part]


def _counts(part: Mapping[str, Any], path: str) -> list[Problem]:
    problems = []
    for pair in _COUNTS:
        given = [(name, part[name]) for name in pair if part.get(name) is not None]
        wrong = [
            name
            for name, count in given
            if isinstance(count, bool) or not isinstance(count, int | float) or not 0 <= count <= _COUNT
        ]
        problems += [Problem(f"{path}.{name}", f"must be a whole number from 0 to {_COUNT}") for name in wrong]
        if not wrong and len(given) == 2 and given[0][1] > given[1][1]:
            problems.append(Problem(f"{path}.{pair[0]}", f"is more than {pair[1]}"))
    return problems


def _references(part: Mapping[str, Any], path: str, schema: Any) -> list[Problem]:
    reference = part.get("$ref")
    if reference is None or (isinstance(reference, str) and _leads_to_a_schema(reference, schema)):
        return []
    return [Problem(f"{path}.$ref", "must be a place that the same schema has", "such as #/$defs/item")]


def _leads_to_a_schema(reference: str, schema: Any) -> bool:
    begin, *names = reference.split("/")
    if begin != "#":
        return False
    for name in names:
        key = unquote(name).replace("~1", "/").replace("~0", "~")
        if isinstance(schema, list) and key.isascii() and key.isdigit() and int(key[:9]) < len(schema):
            schema = schema[int(key)]
        elif isinstance(schema, dict) and key in schema:
            schema = schema[key]
        else:
            return False
    return isinstance(schema, dict | bool)


def _left_out(part: Mapping[str, Any], path: str) -> list[Problem]:
    """What xgrammar 0.2 compiles as if it were not there; the list is vLLM's."""
    kinds = part.get("type")
    types = {kind for kind in (kinds if isinstance(kinds, list) else [kinds]) if isinstance(kind, str)}
    faults = [
        (key, f"{key} cannot be enforced")
        for kind, keys in _LEFT_OUT.items()
        if kind in types
        for key in keys
        if key in part
    ]
    if "string" in types and part.get("format") is not None and part["format"] not in _FORMATS:
        faults.append(("format", f"the format {str(part['format'])[:40]!a} cannot be enforced"))
    if "string" in types and _pattern_with_length(part):
        faults.append(("pattern" if "pattern" in part else "format", "cannot be enforced together with a length"))
    if "object" in types and "propertyNames" in part:
        rivals = ("patternProperties", "properties", "unevaluatedProperties")
        if any(part.get(key, True) is not True for key in rivals) or _pattern_with_length(part["propertyNames"]):
            faults.append(("propertyNames", "cannot be enforced beside the other keywords here"))
    patterns = _mapping(part.get("patternProperties"))
    if "object" in types and patterns and ("properties" in part or len(patterns) > 1):
        faults.append(("patternProperties", "cannot be enforced beside properties, nor more than one of them"))
    if isinstance(part.get("allOf"), list) and len(part["allOf"]) > 1:
        faults.append(("allOf", "allOf of several schemas cannot be enforced"))
    cures = {"allOf": "merge them into one schema"}
    unique = dict(faults)  # a type that is integer and number says it once
    return [Problem(f"{path}.{key}", fault, cures.get(key, _LEAVE)) for key, fault in unique.items()]


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _pattern_with_length(part: Any) -> bool:
    given = _mapping(part).keys()
    return bool(given & {"pattern", "format"}) and bool(given & {"minLength", "maxLength"})


_BOUNDS = re.compile(r"\{(\d*)(?:,(\d*))?\}")
_PIECE = re.compile(r"\\.|\[\^?\]?(?:\\.|\\\Z|[^\]\\])*+(?:\]|\Z)|\((?:\?[:=!<>P]*)?|\)|\{\d*(?:,\d*)?\}|.", re.DOTALL)
"""A piece of an expression: an escape, a class, the begin or end of a group, a repetition, or a character."""


def _bound(bounds: tuple[str, str]) -> int:
    return max(int(digits[:9]) if digits else 1 for digits in bounds)


def _repeats(expression: str) -> int:
    """The largest product of repetitions, each inside the other: `(a{1,50}){1,20}` is 1,000."""
    open_groups = [1]
    """For each group that is open, the outermost first: the largest product within it."""
    last = 1  # the product within the piece before
    for piece in _PIECE.findall(expression):
        if piece.startswith("("):
            open_groups.append(1)
            last = 1
        elif piece == ")":
            last = open_groups.pop() if len(open_groups) > 1 else last
            open_groups[-1] = max(open_groups[-1], last)
        elif bounds := _BOUNDS.fullmatch(piece):
            last *= max(1, _bound((bounds[1], bounds[2] or "")))
            open_groups[-1] = max(open_groups[-1], last)
        else:
            last = last if piece in "*+?" else 1
    return max(open_groups)
