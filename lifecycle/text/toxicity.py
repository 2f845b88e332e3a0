"""Words that a model should seldom say, by rules that anyone can read: `toxicity.yaml`, or one's own list.

Data checks look for them in rows, and evaluations in answers. A rule knows words and no meaning: whoever quotes an
insult says its word.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from functools import cache
from pathlib import Path

from lifecycle.config_file import load_mapping, validated
from lifecycle.text.normaliser import LIGHT_1
from lifecycle.version import Frozen

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


class ToxicWords:
    """The rules, ready to be held against texts in their normal form (light-1)."""

    def __init__(self, rules: Rules) -> None:
        self._by_word: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
        """The first word of each phrase, as it may stand in a text → (rule, phrase, phrase as it may stand)."""
        for name, rule in rules.rules.items():
            heads = ("", *_heads()) if rule.language == "ar" else ("",)
            for phrase in rule.words:
                if words := LIGHT_1.words(phrase):
                    for head in heads:
                        self._by_word[head + words[0]].append((name, " ".join(words), head + " ".join(words)))

    def hits(self, text: str, words: AbstractSet[str]) -> Iterator[tuple[str, str]]:
        """(rule, phrase) of each that stands in `text`, whose words are `words`."""
        for first in self._by_word.keys() & words:
            for name, phrase, written in self._by_word[first]:
                if " " not in written or f" {written} " in f" {text} ":
                    yield name, phrase


@cache
def _heads() -> tuple[str, ...]:
    return tuple(sorted({LIGHT_1.normal(head) for head in _ARABIC_HEADS}, key=len, reverse=True))
