"""What an answer must be, as one JSON schema: the same for training, requests, metrics, guards and the service.

It is read from a JSON file, or made of a pydantic model (`package.module:Model`). `schema_limits.py` says what of a
schema a service can hold answers to.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from lifecycle.errors import InvalidConfig, Problem
from lifecycle.schema_limits import parts, schema_problems
from lifecycle.text import strict_json
from lifecycle.validation import fault_of
from lifecycle.version import Digest, digest_of

_MODEL = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_TOLD = 10
"""Faults of one answer that are told."""
_LONGEST = 300
"""Characters of a fault: the library quotes the value, whatever its size."""


@dataclass(frozen=True, eq=False)
class AnswerSchema:
    """A JSON schema (2020-12) whose references stay inside it. Make it by `load` or `of`."""

    name: str
    """What requests call it: letters, digits, `_` and `-`."""
    body: dict[str, Any]
    model: type[BaseModel] | None = None
    """The model that it was made of, whose own validators judge answers too."""

    @classmethod
    def load(cls, source: str | Path, folder: Path | None = None) -> AnswerSchema:
        """From a JSON file (its path starts at `folder`) or a model, `package.module:Model`, found from here.

        Raises `InvalidConfig` for what is neither, or is no schema.
        """
        text = str(source)
        try:
            if _MODEL.fullmatch(text):
                model = _model(text)
                return cls.of(model.model_json_schema(), model.__name__, model=model)
            path = (folder or Path()) / Path(text).expanduser()
            return cls.of(strict_json.parse(_text(path)), path.name.partition(".")[0])
        except ValueError as error:
            cure = "name a file with a JSON schema, or a pydantic model as package.module:Model"
            raise InvalidConfig("the answer schema cannot be used", [Problem(text, str(error), cure)]) from error

    @classmethod
    def of(cls, body: Any, name: str = "answer", *, model: type[BaseModel] | None = None) -> AnswerSchema:
        """Raises `ValueError` for what is no JSON schema, or refers to something outside itself."""
        if not isinstance(body, dict):
            raise ValueError("is no JSON schema: it must be an object")
        require_schema(body)
        return cls(re.sub(r"[^A-Za-z0-9_-]+", "_", name)[:64] or "answer", body, model)

    @cached_property
    def digest(self) -> Digest:
        return digest_of(self.body)

    @property
    def unservable(self) -> list[Problem]:
        """Why a service of this release would not hold answers to it; empty when it does."""
        return schema_problems(self.body, self.name)

    @property
    def response_format(self) -> dict[str, Any]:
        """What a request asks for answers of this kind by. OpenAI holds to it strictly what its rules allow."""
        inner = {"name": self.name, "schema": self.body, "strict": self.is_strict}
        return {"type": "json_schema", "json_schema": inner}

    def faults(self, answer: str) -> list[str]:
        """What is wrong with an answer's text, in words, the place first; empty when it is as it must be."""
        try:
            value = strict_json.parse(answer)
        except ValueError as error:
            return [f"the answer {error}"]
        return self.faults_of(value)

    def faults_of(self, value: Any) -> list[str]:
        """The same of a JSON value."""
        from jsonschema.exceptions import best_match

        errors = sorted(self._validator.iter_errors(value), key=lambda error: list(map(str, error.absolute_path)))
        # Of the branches of anyOf, the one that was nearest.
        told = [best_match([error]) for error in errors[:_TOLD]]
        said = [_shortened(f"{error.json_path}: {error.message}") for error in told]
        return said or self._faults_of_model(value)

    def written(self, value: Any) -> str:
        """A fitting value as JSON text, its keys in the order of the schema, as structured decoding writes them."""
        return json.dumps(self._ordered(value, self.body), ensure_ascii=False)

    def fields(self) -> dict[str, Any]:
        """The schemas of an object's fields by name, references followed; empty for what is no object."""
        known = _mapping(self._resolved(self.body).get("properties"))
        return {name: self._resolved(schema) for name, schema in known.items()}

    def _faults_of_model(self, value: Any) -> list[str]:
        if self.model is None:
            return []
        try:
            self.model.model_validate_json(json.dumps(value))
        except ValidationError as error:
            told = ((".".join(map(str, ["$", *item["loc"]])), fault_of(item)) for item in error.errors()[:_TOLD])
            return [_shortened(f"{place}: {says}") for place, says in told]
        return []

    @cached_property
    def _validator(self) -> Any:
        return validator(self.body)

    @property
    def is_strict(self) -> bool:
        """Whether every object names all of its keys as required and allows no other."""
        objects = [part for _, part in parts(self.body, "") if "properties" in part or part.get("type") == "object"]
        return all(
            part.get("additionalProperties") is False
            and set(part.get("required", ())) == set(_mapping(part.get("properties")))
            for part in objects
        )

    def _resolved(self, schema: Any) -> dict[str, Any]:
        seen: set[str] = set()
        while isinstance(schema, dict) and isinstance(ref := schema.get("$ref"), str) and ref not in seen:
            seen.add(ref)
            schema = _lookup(self.body, ref)
        return _mapping(schema)

    def _ordered(self, value: Any, schema: Any) -> Any:
        if not isinstance(value, dict | list):
            return value
        schema = self._resolved(schema)
        for branches in (schema.get("anyOf"), schema.get("oneOf")):
            for branch in branches if isinstance(branches, list) else ():
                if validator(self.body).evolve(schema=branch).is_valid(value):
                    return self._ordered(value, branch)
        if isinstance(value, list):
            return [self._ordered(part, schema.get("items")) for part in value]
        known = _mapping(schema.get("properties"))
        keys = [*(key for key in known if key in value), *(key for key in value if key not in known)]
        return {key: self._ordered(value[key], known.get(key)) for key in keys}


def validator(schema: Mapping[str, Any]) -> Any:
    """jsonschema's validator. `format` counts, as structured decoding keeps to it; nothing is fetched."""
    from jsonschema import Draft202012Validator
    from referencing import Registry

    # A registry of its own: the library's default one fetches references over the network.
    return Draft202012Validator(schema, registry=Registry(), format_checker=Draft202012Validator.FORMAT_CHECKER)


def require_schema(schema: dict[str, Any]) -> None:
    """Raise `ValueError` unless it is a JSON schema that can be used without fetching anything."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise ValueError(_shortened(f"it is no JSON Schema: {error.json_path}: {error.message}")) from error
    for ref in _references(schema):
        if _lookup(schema, ref) is None:
            raise ValueError(f"the reference {ref} leads to nothing inside the schema")


def _lookup(schema: dict[str, Any], ref: str) -> Any:
    """What the reference leads to inside `schema`; None when it leads nowhere."""
    from referencing import Registry, Resource
    from referencing.exceptions import NoSuchResource, Unresolvable
    from referencing.jsonschema import DRAFT202012

    registry: Registry[Any] = Registry().with_resource("", Resource.from_contents(schema, DRAFT202012))
    try:
        return registry.resolver().lookup(ref).contents
    except (Unresolvable, NoSuchResource):
        return None


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key in ("$ref", "$dynamicRef"):
            if isinstance(ref := value.get(key), str):
                yield ref
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from _references(part)


def _model(text: str) -> type[BaseModel]:
    """The pydantic model of that name. Raises `ValueError`."""
    module, _, name = text.partition(":")
    try:
        with _importable_from_here():
            model = getattr(import_module(module), name, None)
    except Exception as error:  # a module can fail in as many ways as Python can
        raise ValueError(f"cannot be imported: {type(error).__name__}: {error}") from error
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise ValueError(f"{module} has no pydantic model {name}")
    return model


@contextmanager
def _importable_from_here() -> Iterator[None]:
    """A command's path has its own folder, and not the one that it is called from."""
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ValueError("is not UTF-8") from error


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
