"""A YAML file as a frozen configuration, with everything that is wrong with it told at once by key path.

Training, evaluations, gates and traffic policies are all read by this.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import SchemaValidator

from lifecycle.errors import InvalidConfig, Problem
from lifecycle.validation import fault_of, is_must, together
from lifecycle.version import NAME_PATTERN

if TYPE_CHECKING:
    import yaml

_Model = TypeVar("_Model", bound=BaseModel)


def load_mapping(path: Path) -> dict[str, Any]:
    """The file's keys and values. Raises `InvalidConfig` for a file that is not there, no YAML, or no mapping.

    A key that is written twice is refused: YAML readers keep the last in silence. Infinities, NaN and halves of
    characters are let through: `checked` and `validated` tell them beside all else; for a mapping that no model is held
    against, `unusable` tells them, and `refuse_unusable` refuses it for them alone.
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
    return raw


def refuse_unusable(raw: Mapping[str, Any], name: Path | str) -> None:
    """For a mapping that no model is held against. Raises `InvalidConfig`."""
    if problems := unusable(raw):
        raise InvalidConfig(f"{name} cannot be used", _in(name, problems))


def unusable(raw: Mapping[str, Any]) -> list[Problem]:
    """What of a mapping YAML can write and no configuration means, by its key path."""
    return list(_no_values(raw, "", set()))


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
        yield _no_number(place, value)
    elif _is_torn(value):
        yield Problem(place, "has half of a surrogate pair", _WHOLE)


def _no_number(place: str, value: Any) -> Problem:
    return Problem(place, f"is {str(value)[:80]}, which is no number to work with", "write a number")


_WHOLE = "write the whole character"


def _is_torn(value: Any) -> bool:
    return isinstance(value, str) and any("\ud800" <= char <= "\udfff" for char in value)


def validated(model: type[_Model], raw: Mapping[str, Any], path: Path) -> _Model:
    """`raw`, which the file at `path` holds, as `model`; validators find the file's folder in their context.

    Raises `InvalidConfig` with every fault, each placed by file and key path.
    """
    made, problems = checked(model, raw, path.resolve().parent)
    if made is None:
        raise InvalidConfig(f"{path} cannot be used", _in(path, problems))
    return made


def checked(
    model: type[_Model], raw: Mapping[str, Any], folder: Path | None = None
) -> tuple[_Model | None, list[Problem]]:
    """`raw` as `model`, or None and every fault by its key path. No number of it may be infinite or NaN, however it is
    written: `.inf`, and for a number also `inf`, `"nan"` or `1e400`, which YAML reads as texts.
    """
    problems, made = unusable(raw), None
    told = {problem.place for problem in problems}
    try:
        made = _finite(model).validate_python(raw, context={"folder": folder})
    except ValidationError as error:
        problems += [problem for problem in faults(error, model, raw) if problem.place not in told]
    return (None if problems else made), problems


@cache
def _finite(model: type[BaseModel]) -> SchemaValidator:
    """The model's own validator, but that every number in it is finite: pydantic says so for a whole model alone, not
    for those inside it."""
    if not model.__pydantic_complete__:
        model.model_rebuild()
    schema = _all_finite(model.__pydantic_core_schema__)
    return SchemaValidator(schema, _use_prebuilt=False)  # else the models inside are validated as they were built


def _all_finite(schema: Any) -> Any:
    if isinstance(schema, list | tuple):
        return type(schema)(map(_all_finite, schema))
    if not isinstance(schema, dict):
        return schema
    finite = {"allow_inf_nan": False} if schema.get("type") == "float" else {}
    return {key: _all_finite(part) for key, part in schema.items()} | finite


def _in(name: Path | str, problems: Iterable[Problem]) -> list[Problem]:
    return [Problem(f"{name}: {one.place}" if one.place else str(name), one.fault, one.cure) for one in problems]


def faults(error: ValidationError, model: type[BaseModel], raw: Mapping[str, Any]) -> list[Problem]:
    """Pydantic's errors as problems with key paths, and a guess at what a misspelt key was meant to be."""
    problems, items = [], error.errors()
    for item in items:
        if item["type"] == "too_short" and any(_is_within(other["loc"], item["loc"]) for other in items):
            continue  # pydantic counts those that are right
        missing, unknown = item["type"] == "missing", item["type"] == "extra_forbidden"
        keys = list(_keys(item["loc"], raw, missing=missing))
        fault, cure = fault_of(item), ""
        if unknown:
            fault, cure = "is no key here", _meant(str(item["loc"][-1]), _fields(model, item["loc"]))
        elif item["type"] == "finite_number":
            problems.append(_no_number(".".join(keys), item["input"]))
            continue
        elif item.get("ctx", {}).get("pattern") == NAME_PATTERN:
            fault = f"{str(item['input'])[:80]!r} is no name"
            cure = "write lower-case letters, digits, - and _, at most 63"
        problems.append(Problem(".".join(keys), fault, cure))
    return list(_each_place_once(problems))


def _each_place_once(problems: Iterable[Problem]) -> Iterator[Problem]:
    """A union reports a fault for each of its members, any of which would have done."""
    places: dict[str, list[Problem]] = {}
    for one in problems:
        if one not in (there := places.setdefault(one.place, [])):
            there.append(one)
    for place, there in places.items():
        faults = [one.fault for one in there]
        yield from [Problem(place, together(faults))] if all(map(is_must, faults)) else there


def _is_within(loc: tuple[int | str, ...], outer: tuple[int | str, ...]) -> bool:
    return len(loc) > len(outer) and loc[: len(outer)] == outer


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
