"""Rows with words that a model should seldom learn to say, by the rules of `lifecycle/text/toxicity.yaml`.

A rule that fires is a warning with its name and its word, and never drops a row: a clinic's rows speak of what hurts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lifecycle.text.toxicity import Rules, ToxicWords
from training.data.content import Content, Normal
from training.data.findings import Finding, Places, finding


class Toxicity:
    """Texts as they come, and then which rules fired where."""

    def __init__(self, rules: Rules) -> None:
        self._words = ToxicWords(rules)
        self._fired: dict[tuple[str, str], Places] = {}

    def see(self, row: Content, texts: Sequence[Normal]) -> None:
        """`texts` are the row's, normalised."""
        for hit in {hit for text in texts for hit in self._words.hits(text.text, text.words)}:
            self._fired.setdefault(hit, Places()).add(row.place)

    def findings(self) -> Iterator[Finding]:
        for (name, phrase), places in sorted(self._fired.items()):
            cure = "read them, and decide whether the model may say so; lifecycle/text/toxicity.yaml has the rules"
            yield from finding("warning", "toxicity", f"rows with “{phrase}” (rule {name})", places, cure)
