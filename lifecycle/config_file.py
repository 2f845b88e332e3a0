"""A YAML file as a frozen configuration, with everything that is wrong with it told at once by key path.

Training, evaluations, gates and traffic policies are all read by this.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from lifecycle.errors import InvalidConfig, Problem
from lifecycle.version import NAME_PATTERN

if TYPE_CHECKING:
    import yaml

_Model = TypeVar("_Model", bound=BaseModel)


def load_mapping(path: Path) -> dict[str, Any]:
    """The file's keys and values. Raises `InvalidConfig` for a file that is not there, no YAML, or no mapping.

    A key that is written twice is refused: YAML readers keep the last in silence.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise _unreadable(path, "there is no such file") from None
    except OSError as error:
        raise _unreadable(path, f"cannot be read: {error.strerror or error}") from error
    return mapping_of(content, path)


def mapping_of(content: bytes, name: Path | str) -> dict[str, Any]:
    """The same of what a file called `name` would hold."""
    import yaml

    try:
        raw = yaml.load(content, _loader())  # noqa: S506 - a SafeLoader that also refuses keys written twice
    except (yaml.YAMLError, RecursionError) as error:
        raise _unreadable(name, f"is no YAML in UTF-8: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict):
        raise _unreadable(name, "is not a mapping of keys to values")
    if problems := list(_no_values(raw, "", set())):
        placed = [Problem(f"{name}: {problem.place}", problem.fault, problem.cure) for problem in problems]
        raise InvalidConfig(f"{name} cannot be used", placed)
    return raw


def _no_values(value: Any, place: str, seen: set[int]) -> Iterator[Problem]:
    """What YAML can write and no configuration means: infinity, NaN, and half of a character."""
    if isinstance(value, dict | list):
        if id(value) in seen:  # an alias of YAML, which may even stand inside itself
            return
        seen.add(id(value))
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            if _is_torn(key):
                yield Problem(place or "a key", f"the key {key!a} has half of a surrogate pair", _WHOLE)
            else:
                yield from _no_values(part, f"{place}.{key}" if place else f"{key}", seen)
    elif isinstance(value, float) and not math.isfinite(value):
        yield Problem(place, f"is {value}, which is no number to work with", "write a number")
    elif _is_torn(value):
        yield Problem(place, "has half of a surrogate pair", _WHOLE)


_WHOLE = "write the whole character"


def _is_torn(value: Any) -> bool:
    return isinstance(value, str) and any("\ud800" <= char <= "\udfff" for char in value)


def validated(model: type[_Model], raw: Mapping[str, Any], path: Path) -> _Model:
    """`raw`, which the file at `path` holds, as `model`; validators find the file's folder in their context.

    Raises `InvalidConfig` with every fault, each placed by file and key path.
    """
    try:
        return model.model_validate(raw, context={"folder": path.resolve().parent})
    except ValidationError as error:
        problems = faults(error, model, raw)
        placed = [
            Problem(f"{path}: {problem.place}" if problem.place else str(path), problem.fault, problem.cure)
            for problem in problems
        ]
        raise InvalidConfig(f"{path} cannot be used", placed) from error


def faults(error: ValidationError, model: type[BaseModel], raw: Mapping[str, Any]) -> list[Problem]:
    """Pydantic's errors as problems with key paths, and a guess at what a misspelt key was meant to be."""
    problems = []
    for item in error.errors():
        missing, unknown = item["type"] == "missing", item["type"] == "extra_forbidden"
        keys = list(_keys(item["loc"], raw, missing=missing))
        fault, cure = item["msg"].removeprefix("Value error, "), ""
        if unknown:
            fault, cure = "is no key here", _meant(str(item["loc"][-1]), _fields(model, item["loc"]))
        elif missing:
            fault = "is missing"
        elif item.get("ctx", {}).get("pattern") == NAME_PATTERN:
            fault = f"{str(item['input'])[:80]!r} is no name"
            cure = "write lower-case letters, digits, - and _, at most 63"
        problems.append(Problem(".".join(keys), fault, cure))
    # A union reports the same fault once for each of its members.
    return list(dict.fromkeys(problems))


def _keys(loc: tuple[int | str, ...], raw: Any, *, missing: bool) -> Iterator[str]:
    """The keys of `loc` that a person wrote; pydantic puts names of a union's members between them."""
    here = raw
    for at, key in enumerate(loc):
        if isinstance(here, Mapping) and (key in here or (missing and at == len(loc) - 1)):
            here = here.get(key)
        elif isinstance(key, int) and isinstance(here, list | tuple):
            here = here[key] if key < len(here) else None
        else:  # a union's member, or the place of the only entry of a list that was written without one
            continue
        yield str(key)


def _meant(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known)
    return f"did you mean {near[0]}?" if near else f"the keys here are {', '.join(known)}"


def _fields(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """The keys that are known beside the last of `loc`, which is none of them."""
    here = [model]
    for key in loc:
        if below := [model.model_fields[key] for model in here if key in model.model_fields]:
            here = [inner for field in below for inner in _models(field.annotation)]
        elif members := [model for model in here if _is_called(model, key)]:
            here = members
    return list(dict.fromkeys(name for model in here for name in model.model_fields))


def _is_called(model: type[BaseModel], name: int | str) -> bool:
    """Whether pydantic means this member of a union: by its class, or by the value that tells the members apart."""
    return model.__name__ == name or any(name in get_args(field.annotation) for field in model.model_fields.values())


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The models inside an annotation, through unions, lists and mappings."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [inner for argument in get_args(annotation) for inner in _models(argument)]


def _unreadable(path: Path | str, fault: str) -> InvalidConfig:
    return InvalidConfig(f"{path} cannot be read", [Problem(str(path), fault)])


def _loader() -> type[yaml.SafeLoader]:
    import yaml

    class Loader(yaml.SafeLoader):
        def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
            node = super().compose_mapping_node(anchor)
            lines: dict[str, int] = {}
            for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
                line = key.start_mark.line + 1
                if first := lines.get(key.value):
                    raise yaml.YAMLError(f"line {line}: the key {key.value} stands in line {first} already")
                lines[key.value] = line
            return node

    return Loader
