"""Whose file it is, told by its keys, and the translation of it, or all that stands against one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lifecycle.config_file import load_mapping, refuse_unusable
from lifecycle.errors import InvalidConfig, Problem
from training.foreign import axolotl, llama_factory
from training.foreign.translation import Asked, Translation

_TOOLS: dict[str, tuple[str, Callable[[Mapping[str, Any], Asked], Translation]]] = {
    "LLaMA-Factory": (llama_factory.SIGN, llama_factory.translate),
    "Axolotl": (axolotl.SIGN, axolotl.translate),
}


def converted(file: Path, asked: Asked) -> Translation:
    """Raises `InvalidConfig` for a file that is neither tool's, or both's, and with all that stands against it."""
    raw = load_mapping(file)
    refuse_unusable(raw, file)
    fits = [tool for tool, (sign, _) in _TOOLS.items() if sign in raw]
    if len(fits) != 1:
        raise InvalidConfig(f"{file} cannot be converted", [_unclear(file, raw, fits)])
    made = _TOOLS[fits[0]][1](raw, asked)
    if made.problems:
        problems = list(dict.fromkeys(made.problems))
        raise InvalidConfig(f"{file}, of {made.tool}, was not converted", problems)
    return made


def _unclear(file: Path, raw: Mapping[str, Any], fits: list[str]) -> Problem:
    signs = " and ".join(f"{tool}'s has {sign}" for tool, (sign, _) in _TOOLS.items())
    if fits:
        return Problem(str(file), f"could be {' or '.join(fits)}: {signs}", "take out the key of the other")
    if "base" in raw and "data" in raw:
        return Problem(str(file), "is a configuration of dabt train already", f"dabt train {file}")
    return Problem(str(file), f"is neither tool's file: {signs}", "write the key that names the base")
