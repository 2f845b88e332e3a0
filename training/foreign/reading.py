"""Whose file it is, told by its keys, and the translation of it, or all that stands against one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lifecycle.config_file import load_mapping, unusable
from lifecycle.errors import InvalidConfig, Problem
from training.foreign import axolotl, llama_factory, trl
from training.foreign.translation import Asked, Translation

_TOOLS: dict[str, Callable[[Mapping[str, Any], Asked], Translation]] = {
    "LLaMA-Factory": llama_factory.translate,
    "Axolotl": axolotl.translate,
    "TRL": trl.translate,
}


def _fits(raw: Mapping[str, Any]) -> list[str]:
    """Whose file it can be. LLaMA-Factory and TRL name the base alike, and are told by their other keys."""
    alike = llama_factory.SIGN in raw
    trls = alike and any(key in raw for key in trl.SIGNS)
    factorys = alike and (not trls or any(key in raw for key in llama_factory.BESIDE))
    may = {"LLaMA-Factory": factorys, "Axolotl": axolotl.SIGN in raw, "TRL": trls}
    return [tool for tool, fits in may.items() if fits]


def converted(file: Path, asked: Asked) -> Translation:
    """Raises `InvalidConfig` for a file that is no such tool's, or both's, and with all that stands against it."""
    raw = load_mapping(file)
    told = [Problem(re.sub(r"\.(\d+)", r"[\1]", one.place), one.fault, one.cure) for one in unusable(raw)]
    fits = _fits(raw)
    if len(fits) != 1:
        raise InvalidConfig(f"{file} cannot be converted", [_unclear(file, raw, fits), *told])
    made = _TOOLS[fits[0]](_whole(raw, {}) if told else raw, asked)
    places = {one.place for one in told}
    if problems := [*told, *(one for one in dict.fromkeys(made.problems) if not _stands_in(one, places))]:
        raise InvalidConfig(f"{file}, of {made.tool}, was not converted", problems)
    return made


def _stands_in(problem: Problem, places: set[str]) -> bool:
    """Whether what is told there already is the value, or inside it."""
    return any(
        place == problem.place or place.startswith((f"{problem.place}.", f"{problem.place}[")) for place in places
    )


def _whole(value: Any, made: dict[int, Any]) -> Any:
    """The same with a mark for each half of a character, and without keys that have one, so that all else can be
    looked at. `made` is what became of lists and mappings so far: an alias of YAML may stand inside itself."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if id(value) in made:
        return made[id(value)]
    if isinstance(value, list):
        parts: list[Any] = []
        made[id(value)] = parts
        parts += [_whole(part, made) for part in value]
        return parts
    if isinstance(value, dict):
        keys: dict[Any, Any] = {}
        made[id(value)] = keys
        keys |= {key: _whole(part, made) for key, part in value.items() if key == _whole(key, made)}
        return keys
    return value


def _unclear(file: Path, raw: Mapping[str, Any], fits: list[str]) -> Problem:
    signs = "LLaMA-Factory's has model_name_or_path, TRL's with dataset_name or datasets, and Axolotl's has base_model"
    if fits:
        return Problem(str(file), f"could be {' or '.join(fits)}: {signs}", "take out the key of the other")
    if "base" in raw and "data" in raw:
        return Problem(str(file), "is a configuration of dabt train already", f"dabt train {file}")
    return Problem(str(file), f"is no such tool's file: {signs}", "write the key that names the base")
