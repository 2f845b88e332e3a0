"""Parts by their names: the product's own stand in a table, those of other packages are entry points.

A package says in its metadata `[project.entry-points."dabt.scorers"]` and `politeness = "our_scorers:Politeness"`; so
for `dabt.solvers`, `dabt.suites` and `dabt.stages`. Ours come first: no package changes what a name of ours means.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from lifecycle.config_file import checked
from lifecycle.errors import InvalidConfig, Problem

SUITES = "dabt.suites"
"""The entry points of suites, which an evaluation names as its task."""
_OURS = ("lifecycle", "retrieval", "training", "evals", "service", "examples", "benchmarks")
_GROUPS = ("dabt.scorers", "dabt.solvers", SUITES)
"""Of entry points whose classes decide figures."""
_Part = TypeVar("_Part", bound=BaseModel)


@dataclass(frozen=True)
class Seam(Generic[_Part]):
    """One kind of part: what a name of it stands for."""

    word: str
    """As messages call it."""
    group: str
    """Of the entry points."""
    ours: Mapping[str, str]
    """Name → `module:Class`. They are imported when they are asked for."""
    base: type[_Part]

    def names(self) -> list[str]:
        """Every one that can be asked for, ours first."""
        return list(dict.fromkeys([*self.ours, *sorted(self._foreign())]))

    def named(self, name: str, place: str) -> type[_Part]:
        """The class. Raises `InvalidConfig` for a name that is none, and for an entry point that gives none."""
        if name in self.ours:
            module, _, kind = self.ours[name].partition(":")
            return getattr(importlib.import_module(module), kind)  # type: ignore[no-any-return]
        entry = self._foreign().get(name)
        if entry is None:
            problem = Problem(place, f"{name!r} is no {self.word}", f"there is {', '.join(self.names())}")
            raise InvalidConfig(f"there is no such {self.word}", [problem])
        kind = load(entry, self.word, place)
        if not (isinstance(kind, type) and issubclass(kind, self.base)):
            raise unusable(entry, self.word, place, f"is no subclass of {self.base.__module__}.{self.base.__name__}")
        return kind

    def read(self, raw: Any, place: str) -> tuple[_Part | None, list[Problem]]:
        """What a file says, a name or a mapping with `type`; None where something is wrong with it."""
        given = {"type": raw} if isinstance(raw, str) else raw
        if not isinstance(given, Mapping) or not isinstance(given.get("type"), str):
            fault = f"is neither a {self.word}'s name nor a mapping with its type"
            return None, [Problem(place, fault, f"write a name, such as {next(iter(self.ours))}")]
        try:
            kind = self.named(given["type"], place)
            part, told = checked(kind, given)
        except InvalidConfig as error:
            return None, list(error.problems)
        return part, [Problem(f"{place}.{one.place}".rstrip("."), one.fault, one.cure) for one in told]

    def package(self, name: str) -> str:
        """Which package's release a part is from, such as `our-stages 1.0`; empty for ours."""
        entry = None if name in self.ours else self._foreign().get(name)
        return release(entry) if entry else ""

    def _foreign(self) -> dict[str, EntryPoint]:
        return entries(self.group)


def code_of(kind: type) -> dict[str, Any] | None:
    """What another package's class is, for a digest: the package with its version, and the digest of each source file
    that the class and its bases stand in. None for a class of the product's own, whose `version` says when it changes.

    Whatever else the package computes with is told by its version alone.
    """
    modules = dict.fromkeys(base.__module__ for base in kind.__mro__)
    foreign = [name for name in modules if not _known(name)]
    if not foreign:
        return None
    roots = {name.partition(".")[0] for name in foreign}
    named = [entry for group in _GROUPS for entry in entries(group).values()]
    releases = {release(entry) for entry in named if entry.dist and entry.module.partition(".")[0] in roots}
    return {"packages": sorted(releases), "sources": {name: _source(name) for name in foreign}}


def release(entry: EntryPoint) -> str:
    """Of the package that has it: `our-stages 1.0`."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else ""


def _known(module: str) -> bool:
    """Of the product, of Python, or of what both build on."""
    root = module.partition(".")[0]
    return root in _OURS or root in sys.stdlib_module_names or root == "pydantic"


def _source(module: str) -> str:
    """Of the module's file; empty for one that has none."""
    path = getattr(sys.modules.get(module), "__file__", None)
    try:
        return f"sha256:{sha256(Path(path).read_bytes()).hexdigest()}" if path else ""
    except OSError:
        return ""


def entries(group: str) -> dict[str, EntryPoint]:
    """What installed packages have under the group, by name."""
    return {entry.name: entry for entry in entry_points(group=group)}


def load(entry: EntryPoint, word: str, place: str) -> Any:
    """What the entry point stands for. Raises `InvalidConfig`."""
    try:
        return entry.load()
    except Exception as error:  # a package's own code may raise anything
        raise unusable(entry, word, place, f"cannot be imported: {error}") from error


def unusable(entry: EntryPoint, word: str, place: str, fault: str) -> InvalidConfig:
    problem = Problem(place, f"{entry.value}, which the name {entry.name} stands for, {fault}")
    return InvalidConfig(f"the {word} {entry.name} cannot be used", [problem])
