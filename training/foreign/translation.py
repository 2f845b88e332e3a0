"""What becomes of each key of another trainer's configuration: a setting here, nothing, or a problem.

No key vanishes: `finish` asks the tool's table about every key that no setting came of, and a key that stands in no
table is a problem. `llama_factory.py` and `axolotl.py` fill a `Translation`; `written.py` writes it.
"""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lifecycle.errors import InvalidConfig, Problem

BEST = (
    "here the best epoch by validation loss is published; there it is the last, unless load_best_model_at_end says so"
)


@dataclass(frozen=True)
class Lost:
    """A key that decides something there and nothing here. `neutral` values ask for nothing, as none does."""

    means: str
    cure: str = ""
    neutral: tuple[Any, ...] = (False,)


@dataclass(frozen=True)
class Keys:
    """What is known of a tool's keys that are not translated: what is left out, by reason, and what would be lost."""

    idle: Mapping[str, str]
    """Reason → keys between spaces; one that ends in `*` stands for all that begin so."""
    lost: Mapping[str, Lost]

    def why_idle(self, key: str) -> str | None:
        for reason, names in self.idle.items():
            for name in names.split():
                if key == name or (name.endswith("*") and key.startswith(name[:-1])):
                    return reason
        return None

    @property
    def known(self) -> list[str]:
        return [*self.lost, *(name for names in self.idle.values() for name in names.split() if "*" not in name)]


@dataclass(frozen=True)
class Setting:
    """A value of ours, where it came from, and what a reader of the file should know of it."""

    path: tuple[str, ...]
    value: Any
    keys: tuple[str, ...]
    """The foreign keys that it came of, where the file has them."""
    comment: str
    asked: tuple[str, ...] = ()
    """The foreign keys that say it, whether the file has them or not."""


@dataclass(frozen=True)
class Asked:
    """What the caller of the conversion says beside the file."""

    name: str
    """Of the version's family."""
    root: Path
    """Where the tool is started: its relative paths start there."""
    out: Path | None = None
    """The file to be written, from whose folder our relative paths start; without it paths are whole."""
    devices: int | None = None
    accepted: frozenset[str] = frozenset()
    """Keys whose loss or other meaning the caller takes."""

    @property
    def folder(self) -> Path:
        """Where the paths of the configuration start."""
        return Path.cwd() if self.out is None else Path(os.path.realpath(self.out.parent))


@dataclass
class Translation:
    """One file on its way. `values` are its keys, those of lists and mappings inside written as `datasets[0].path`."""

    tool: str
    values: Mapping[str, Any]
    asked: Asked
    settings: list[Setting] = field(default_factory=list)
    idle: dict[str, str] = field(default_factory=dict)
    """Key → why it decides nothing of the result here."""
    accepted: dict[str, str] = field(default_factory=dict)
    """Key or data set → what is lost or other here, which the caller takes."""
    notes: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    """Ending of a file beside the written one → its text."""

    # -- reading ------------------------------------------------------------------------------------------------------

    def has(self, key: str) -> bool:
        """Whether the file gives the key a value; an empty one is as none."""
        return self.values.get(key) is not None

    def number(self, key: str, default: float) -> float:
        """Its number, or the tool's own default. Texts such as `1e-4`, which YAML 1.1 reads as no number, are read."""
        value = self.values.get(key)
        if value is None:
            return default
        try:
            if isinstance(value, bool):
                raise ValueError
            number = value if isinstance(value, int) else float(value)
            if not math.isfinite(number):
                raise ValueError
            return number
        except (TypeError, ValueError):
            self.refuse(key, f"is {value!r}, which is no number", "write a number")
            return default

    def whole(self, key: str, default: int) -> int:
        value = self.number(key, default)
        if value != int(value):
            self.refuse(key, f"is {value}, which is no whole number", "write a whole number")
            return default
        return int(value)

    def flag(self, key: str, default: bool = False) -> bool:
        value = self.values.get(key)
        if value is None or isinstance(value, bool):
            return default if value is None else value
        self.refuse(key, f"is {value!r}, neither true nor false", "write true or false")
        return default

    def text(self, key: str, default: str = "") -> str:
        value = self.values.get(key)
        if value is None or isinstance(value, str):
            return default if value is None else value
        self.refuse(key, f"is {value!r}, which is no text", "write a text")
        return default

    def choice(self, key: str, default: str, choices: Iterable[str], cure: str) -> str:
        """One of `choices`; the default after a problem, so that the other keys are still looked at."""
        value = self.text(key, default)
        if value in (known := tuple(choices)):
            return value
        self.refuse(key, f"{value!r} has no counterpart here", cure or f"what can be: {', '.join(known)}")
        return default

    # -- paths --------------------------------------------------------------------------------------------------------

    def place(self, path: str) -> Path:
        """Where the tool looks for `path`."""
        return Path(os.path.abspath(self.asked.root / Path(path).expanduser()))

    def path(self, place: Path) -> str:
        """As our file names `place`. A hub's rows are called the same everywhere."""
        if self.asked.out is None or not place.is_absolute():
            return str(place)
        return os.path.relpath(place, self.asked.folder)

    def beside(self, ending: str, text: str) -> str | None:
        """The name of a file with `text` that is written beside the configuration, if one is written."""
        if self.asked.out is None:
            return None
        self.texts[ending] = text
        return f"{self.asked.out.stem}{ending}"

    # -- what becomes of it -------------------------------------------------------------------------------------------

    def set(self, path: str, value: Any, *keys: str, why: str = "", default: str = "") -> None:
        """A setting that came of `keys`; where the file has none of them, of the tool's default for the first."""
        given = tuple(key for key in keys if self.has(key))
        comment = ", ".join(given) or default or f"{self.tool}'s default of {keys[0]}"
        self.settings.append(Setting(tuple(path.split(".")), value, given, comment + (f": {why}" if why else ""), keys))

    def leave(self, key: str, why: str) -> None:
        if self.has(key) and not any(key in setting.keys for setting in self.settings):
            self.idle[key] = why

    def refuse(self, place: str, fault: str, cure: str) -> None:
        """A fault that nothing but another file cures."""
        self.problems.append(Problem(place, fault, cure))

    def lose(self, place: str, fault: str, cure: str = "") -> bool:
        """Whether the caller takes it that `place` is lost, or means something else here; else it is a problem."""
        if place in self.asked.accepted:
            self.accepted[place] = fault
            return True
        self.problems.append(Problem(place, fault, "; or ".join([*[cure] * bool(cure), f"take it: --accept {place}"])))
        return False

    def finish(self, table: Keys) -> None:
        """Ask `table` about every key that nothing has become of yet, and about what was accepted in vain."""
        done = {key for setting in self.settings for key in setting.keys} | {*self.idle} | {*self.accepted}
        asked = [key for setting in self.settings for key in setting.asked]
        places = [problem.place for problem in self.problems]
        for key, value in self.values.items():
            if key in done or any(place == key or place.startswith((f"{key}.", f"{key}[")) for place in places):
                continue
            if value is None:
                self.idle[key] = "it is empty"
            elif (lost := table.lost.get(key)) is not None:
                if _plain(value) in lost.neutral:
                    self.idle[key] = "its value is what is done here"
                else:
                    self.lose(key, lost.means, lost.cure)
            elif (why := table.why_idle(key)) is not None:
                self.idle[key] = why
            else:
                near = difflib.get_close_matches(key, [*table.known, *done, *asked], n=1)
                cure = f"did you mean {near[0]}?" if near else ""
                self.lose(key, f"is no key of {self.tool} that is known here, so what it decides is not known", cure)
        asked_for = {problem.place for problem in self.problems} | {*self.accepted}
        for key in sorted(self.asked.accepted - asked_for):
            self.refuse(f"--accept {key}", "there is nothing to accept of it", "leave it out")

    @property
    def mapping(self) -> dict[str, Any]:
        """The settings as the configuration has them."""
        made: dict[str, Any] = {}
        for setting in self.settings:
            here = made
            for key in setting.path[:-1]:
                here = here.setdefault(key, {})
            here[setting.path[-1]] = setting.value
        return made

    def check(self) -> None:
        """Hold the settings against `TrainConfig`; what it refuses is told by the foreign keys that it came of."""
        from training.config import TrainJob

        named = {".".join(setting.path): setting for setting in self.settings}
        raw = self.mapping
        if self.texts:  # not written yet; what names them is taken from the check
            raw.pop("prompt", None)
        try:
            TrainJob.from_mapping(raw, self.asked.folder)
        except InvalidConfig as error:
            for problem in error.problems:
                setting = next((named[key] for key in named if problem.place in (key, *_inside(key, problem))), None)
                if setting is not None:
                    place = f"{', '.join(setting.keys) or setting.comment} (here {problem.place})"
                    self.refuse(place, problem.fault, problem.cure)


def flat(values: Mapping[str, Any], inside: Sequence[str]) -> dict[str, Any]:
    """The keys of a file; those of the lists and mappings named by `inside` get a key path each."""
    made: dict[str, Any] = {}
    for key, value in values.items():
        made |= _flat(str(key), value) if key in inside else {str(key): value}
    return made


def _flat(place: str, value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping) and value:
        return {inner: part for key, item in value.items() for inner, part in _flat(f"{place}.{key}", item).items()}
    if isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        return {inner: part for at, item in enumerate(value) for inner, part in _flat(f"{place}[{at}]", item).items()}
    return {place: value}


def _inside(key: str, problem: Problem) -> tuple[str, ...]:
    return (problem.place,) if problem.place.startswith((f"{key}[", f"{key}.")) else ()


def _plain(value: Any) -> Any:
    """A number that YAML 1.1 reads as text (`1e-8`) as a number."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value
