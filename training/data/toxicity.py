"""Words that a model should seldom learn to say, by rules that anyone can read: `toxicity.yaml`, or one's own list.

A rule that fires is a warning with its name and its word, and never drops a row: a clinic's rows speak of what hurts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from lifecycle.config_file import load_mapping, validated
from lifecycle.text.normaliser import LIGHT_1
from lifecycle.version import Frozen
from training.data.content import Content, Normal
from training.data.findings import Finding, Places, finding

_SHIPPED = Path(__file__).with_name("toxicity.yaml")
_ARABIC_HEADS = ("وال", "فال", "بال", "كال", "لل", "ال", "و", "ف", "ب", "ل", "ك")
"""Arabic's particles stand before a word without a space: and, so, by, for, like, the."""


class Rule(Frozen):
    """Words and phrases that it fires on."""

    language: str
    words: tuple[str, ...]


class Rules(Frozen):
    rules: dict[str, Rule]

    @classmethod
    def load(cls, path: Path | None = None) -> Rules:
        """From a YAML file of rules by name; without one, those that are shipped. Raises `InvalidConfig`."""
        path = path or _SHIPPED
        return validated(cls, {"rules": load_mapping(path)}, path)


class Toxicity:
    """Texts as they come, and then which rules fired where."""

    def __init__(self, rules: Rules) -> None:
        self._by_word: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
        """The first word of each phrase, as it may stand in a text → (rule, phrase, phrase as it may stand)."""
        for name, rule in rules.rules.items():
            heads = ("", *_heads()) if rule.language == "ar" else ("",)
            for phrase in rule.words:
                if words := LIGHT_1.words(phrase):
                    for head in heads:
                        self._by_word[head + words[0]].append((name, " ".join(words), head + " ".join(words)))
        self._fired: dict[tuple[str, str], Places] = {}

    def see(self, row: Content, texts: Sequence[Normal]) -> None:
        """`texts` are the row's, normalised."""
        fired: set[tuple[str, str]] = set()
        for text in texts:
            if not self._by_word.keys().isdisjoint(text.words):
                fired.update(self._hits(text))
        for hit in fired:
            self._fired.setdefault(hit, Places()).add(row.place)

    def _hits(self, text: Normal) -> Iterator[tuple[str, str]]:
        for first in self._by_word.keys() & text.words:
            for name, phrase, written in self._by_word[first]:
                if " " not in written or f" {written} " in f" {text.text} ":
                    yield name, phrase

    def findings(self) -> Iterator[Finding]:
        for (name, phrase), places in sorted(self._fired.items()):
            cure = "read them, and decide whether the model may say so; training/data/toxicity.yaml has the rules"
            yield from finding("warning", "toxicity", f"rows with “{phrase}” (rule {name})", places, cure)


@cache
def _heads() -> tuple[str, ...]:
    return tuple(sorted({LIGHT_1.normal(head) for head in _ARABIC_HEADS}, key=len, reverse=True))
