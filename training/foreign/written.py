"""A translation as a YAML file with a comment behind each value: where it came from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from training.foreign.translation import Setting, Translation

_ORDER = ("name", "base", "template", "data", "method", "optimisation", "prompt", "tracking")


def written(translation: Translation, source: str) -> str:
    """The text. `source` is the name of the file that it was made of."""
    head = [f"From {source} of {translation.tool}, by dabt convert-config."]
    head += [f"Accepted: {key}: {fault}" for key, fault in translation.accepted.items()]
    head += [f"Note: {note}" for note in translation.notes]
    settings = sorted(translation.settings, key=lambda setting: _ORDER.index(setting.path[0]))
    return "\n".join([*(f"# {_line(text)}" for text in head), *_lines(settings), ""])


def _lines(settings: list[Setting]) -> Iterator[str]:
    section = ""
    for setting in settings:
        *above, key = setting.path
        if above and above[0] != section:
            yield f"{above[0]}:"
        section = above[0] if above else ""
        yield f"{'  ' * len(above)}{key}: {_value(setting.value)}" + f"  # {_line(setting.comment)}"


def _value(value: Any) -> str:
    import yaml

    text = yaml.safe_dump(value, allow_unicode=True, default_flow_style=True, sort_keys=False, width=float("inf"))
    return str(text).removesuffix("\n").removesuffix("\n...")


def _line(text: str) -> str:
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())
