"""Which methods there are, and the one that a configuration asks for.

The product's own stand in a table here; a package's own are found by the entry points of the group `dabt.methods`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from lifecycle.config_file import checked
from lifecycle.errors import InvalidConfig, Problem
from training.method import Method

GROUP = "dabt.methods"
DEFAULT = "lora"
_OURS = {
    "lora": "training.recipes.lora:Lora",
    "full": "training.recipes.full:Full",
    "last_layers": "training.recipes.last_layers:LastLayers",
    "merged_lora": "training.recipes.merged_lora:MergedLora",
    "classification": "training.recipes.classification:Classification",
    "qlora": "training.recipes.qlora:QLora",
    "dpo": "training.recipes.dpo:Dpo",
    "text": "training.recipes.text:Text",
}
"""Name → where it is. They are imported when they are asked for."""


def names() -> list[str]:
    """Every method that can be asked for, ours first."""
    return list(dict.fromkeys([*_OURS, *sorted(_foreign())]))


def method_class(name: str) -> type[Method]:
    """Raises `InvalidConfig` for a name that is no method, and for an entry point that gives none."""
    if name in _OURS:
        module, _, kind = _OURS[name].partition(":")
        return getattr(importlib.import_module(module), kind)  # type: ignore[no-any-return]
    entry = _foreign().get(name)
    if entry is None:
        cure = f"the methods are {', '.join(names())}"
        raise InvalidConfig("there is no such method", [Problem("method.type", f"{name!r} is no method", cure)])
    try:
        kind = entry.load()
    except Exception as error:  # a package's own code may raise anything
        raise _no_method(entry, f"cannot be imported: {error}") from error
    if not (isinstance(kind, type) and issubclass(kind, Method)):
        raise _no_method(entry, "is no subclass of training.method.Method")
    return kind


def read_method(raw: Any) -> tuple[Method | None, list[Problem]]:
    """The method of a configuration's `method:`, a name or a mapping with `type`; None where something is wrong."""
    given = {"type": raw} if isinstance(raw, str) else raw
    if not isinstance(given, Mapping) or not isinstance(given.get("type", DEFAULT), str):
        fault = "is neither a method's name nor a mapping with its type"
        return None, [Problem("method", fault, "write method: lora, or method: {type: lora, r: 16}")]
    given = {"type": DEFAULT, **given}
    try:
        kind = method_class(given["type"])
        method, told = checked(kind, given)
    except InvalidConfig as error:
        return None, list(error.problems)
    return method, [Problem(f"method.{one.place}", one.fault, one.cure) for one in told]


def _foreign() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def _no_method(entry: EntryPoint, fault: str) -> InvalidConfig:
    problem = Problem("method.type", f"{entry.value}, which the name {entry.name} stands for, {fault}")
    return InvalidConfig(f"the method {entry.name} cannot be used", [problem])
