"""The chat template and the tokenizer that a trainer saved beside an adapter, held against the base's own.

LLaMA-Factory and the Trainer of transformers copy both into the adapter's folder, as they used them. Where they are not
the base's, the adapter was trained on other tokens than a server of the base would give it.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from lifecycle.errors import Problem
from lifecycle.models.base import chat_template_of

TOKENIZER = "tokenizer.json"
_OF_A_CALL = ("padding", "truncation", "version")
"""Parts of tokenizer.json that say how it was called last, and not which tokens a text has."""


def other_template(folder: Path, base: Path) -> str | None:
    """The chat template in the adapter's folder; None where it has none, or the base's."""
    own = chat_template_of(folder)
    if not isinstance(own, str) or not own.strip():
        return None
    theirs = chat_template_of(base)
    # Jinja drops one line break at a template's end, and not every tool writes it.
    return None if isinstance(theirs, str) and own.removesuffix("\n") == theirs.removesuffix("\n") else own


def template_problem() -> Problem:
    fault = "is another than the base's: over the base, the adapter would get other prompts than it was trained on"
    return Problem("chat template", fault, "take the base with it, by --use-its-template")


def tokenizer_problems(folder: Path, base: Path) -> list[Problem]:
    """One, where the folder has a tokenizer that gives other tokens than the base's."""
    if not (folder / TOKENIZER).is_file() or not (base / TOKENIZER).is_file():
        return []
    own, theirs = _parts(folder / TOKENIZER), _parts(base / TOKENIZER)
    differ = sorted(part for part in own.keys() | theirs.keys() if own.get(part) != theirs.get(part))
    if not differ:
        return []
    fault = f"gives other tokens than the base's ({', '.join(_told(part, own, theirs) for part in differ)})"
    cure = "name with --base the base that it was trained over, with this tokenizer in its folder"
    return [Problem(TOKENIZER, fault, cure)]


def _parts(file: Path) -> dict[str, Any]:
    """As the library writes it today, whatever release saved it; as it stands, where the library cannot read it."""
    from tokenizers import Tokenizer

    text = file.read_text(encoding="utf-8")
    with suppress(Exception):  # the library raises no other
        text = Tokenizer.from_str(text).to_str()
    parts = json.loads(text)
    return {key: value for key, value in parts.items() if key not in _OF_A_CALL} if isinstance(parts, dict) else {}


def _told(part: str, own: dict[str, Any], theirs: dict[str, Any]) -> str:
    if part != "added_tokens":
        return part
    tokens = [{token["content"] for token in parts.get(part) or []} for parts in (own, theirs)]
    ways = (("with", tokens[0] - tokens[1]), ("without", tokens[1] - tokens[0]))
    said = [f"{way} {', '.join(sorted(those)[:3])}" for way, those in ways if those]
    return f"added_tokens {' and '.join(said)}".strip()
