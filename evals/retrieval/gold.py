"""Which passages would be right for an item: what its labels say, in a list, in one text, or that there are none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lifecycle.errors import Problem

FIELD = "passages"
"""Of `meta`, unless a setting names another."""
_NOTHING = ("", "none")
"""A text that says that no passage is right."""


def gold_of(metadata: Mapping[str, Any], field: str = FIELD) -> tuple[str, ...]:
    """The ids, each once, in the order of the label; empty where nothing is to be found."""
    label = metadata.get(field)
    ids = [label] if isinstance(label, str) else list(label or ())
    return tuple(dict.fromkeys(str(name).strip() for name in ids if str(name).strip() not in _NOTHING))


def gold_problems(metadata: Mapping[str, Any], field: str = FIELD, place: str = "metadata") -> list[Problem]:
    """Why the label is none: a missing one is no word that nothing is to be found."""
    where, cure = f"{place}.{field}", "a list of passage ids; [] where no passage answers"
    if field not in metadata or metadata[field] is None:
        return [Problem(where, "is missing", cure)]
    label = metadata[field]
    if isinstance(label, str) or (isinstance(label, list | tuple) and all(isinstance(name, str) for name in label)):
        return []
    return [Problem(where, "is no list of ids", cure)]
