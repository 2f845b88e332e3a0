"""Named lists of patterns, by which an answer is known for what it does: `<name>.yaml` beside this file.

A pattern is held against the answer's first words in their normal form (light-1). The first that fires is told by its
name.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from lifecycle.config_file import load_mapping, validated
from lifecycle.text.normaliser import LIGHT_1
from lifecycle.version import Frozen


class Patterns(Frozen):
    """A list."""

    words: int
    """Of an answer's beginning that are read."""
    patterns: dict[str, str]


def fired(answer: str, name: str) -> str | None:
    """The name of the first pattern of the list that fires; None where none does."""
    words, patterns = _compiled(name)
    said = " ".join(LIGHT_1.normal(answer).split()[:words])
    return next((rule for rule, pattern in patterns.items() if pattern.search(said)), None)


@cache
def _compiled(name: str) -> tuple[int, dict[str, re.Pattern[str]]]:
    path = Path(__file__).with_name(f"{name}.yaml")
    given = validated(Patterns, load_mapping(path), path)
    return given.words, {rule: re.compile(pattern) for rule, pattern in given.patterns.items()}
