"""The settings of `ServeConfig` as rows: value, default, and the words that stand under each in its source.

A page is seen by more people than a machine's environment: what may be a secret in a URL or in an option of the engine
is hidden.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pydantic_core import PydanticUndefined

from lifecycle.access.keys import SECRET
from service.config import ServeConfig

HIDDEN = "…"
_PLAIN = re.compile(r"-?\d+(\.\d+)?|true|false|auto|none", re.IGNORECASE)
"""Values of an option of the engine that can be no secret; others are not shown."""


@dataclass(frozen=True, slots=True)
class SettingRow:
    name: str
    value: str
    default: str
    """Empty for a setting that has none."""
    is_default: bool
    words: str
    """What the source says of it; empty where that is nothing."""


def rows_of(config: ServeConfig, beside: Sequence[ServeConfig] = ()) -> list[SettingRow]:
    """In the order of the source. `beside` are the settings of further bases: where they differ, each is named."""
    every = (config, *beside)
    rows = []
    for name, field in type(config).model_fields.items():
        values, default = [getattr(each, name) for each in every], field.default
        has_default = default is not PydanticUndefined
        told = [shown(name, value) for value in values]
        if len({*told}) > 1:
            told = [f"{each.served_name}: {value}" for each, value in zip(every, told, strict=True)]
        rows.append(
            SettingRow(
                name,
                "; ".join(dict.fromkeys(told)),
                shown(name, default) if has_default else "",
                has_default and all(value == default for value in values),
                words().get(name, ""),
            )
        )
    return rows


def shown(name: str, value: Any) -> str:
    """As people read it, without secrets."""
    if value is None or value in ("", ()):
        return "—"
    if name == "engine_options":
        return " ".join(_option(word) for word in value)
    if isinstance(value, tuple):
        return ", ".join(without_secrets(str(one)) for one in value)
    return without_secrets(str(value))


def without_secrets(text: str) -> str:
    """A URL without its password and the values of its query, and nothing of one that cannot be read; and no API key
    anywhere."""
    if "://" in text:
        try:
            parts = urlsplit(text)
        except ValueError:  # such as a bracket that no other closes
            return HIDDEN
        _, at, host = parts.netloc.rpartition("@")
        named = [part.partition("=") for part in parts.query.split("&") if part]
        query = "&".join(f"{key}={HIDDEN}" if equals else HIDDEN for key, equals, _ in named)
        netloc = f"{HIDDEN}@{host}" if at else parts.netloc
        text = urlunsplit((parts.scheme, netloc, parts.path, query, ""))
    return SECRET.sub(f"dabt-{HIDDEN}", text)


def _option(word: str) -> str:
    """The name of an option, and its value where that can be no secret."""
    if not word.startswith("--"):
        return word if _PLAIN.fullmatch(word) else HIDDEN
    name, equals, value = word.partition("=")
    return name + (equals + (value if _PLAIN.fullmatch(value) else HIDDEN) if equals else "")


@cache
def words() -> dict[str, str]:
    """The docstring below each field, by its name; the code's marks and line ends are taken out."""
    try:
        source = inspect.getsource(ServeConfig)
    except OSError:  # installed without its source
        return {}
    (made,) = ast.parse(textwrap.dedent(source)).body
    assert isinstance(made, ast.ClassDef)
    said: dict[str, str] = {}
    for field, below in zip(made.body, made.body[1:], strict=False):
        if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
            continue
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            said[field.target.id] = " ".join(str(below.value.value).split())
    return said
