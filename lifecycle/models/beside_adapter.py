"""The chat template and the tokenizer that a trainer saved beside an adapter, held against the base's own.

LLaMA-Factory and the Trainer of transformers copy both into the adapter's folder, as they used them. Where they are not
the base's, the adapter was trained on other tokens than a server of the base would give it.
"""

from __future__ import annotations

from pathlib import Path

from lifecycle.errors import Problem
from lifecycle.models.base import chat_template_of
from lifecycle.models.same_tokens import TOKENIZER, differing


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
    if not (differ := differing(folder, base)):
        return []
    fault = f"gives other tokens than the base's ({', '.join(differ)})"
    cure = "name with --base the base that it was trained over, with this tokenizer in its folder"
    return [Problem(TOKENIZER, fault, cure)]
