"""Test rows that training has seen: the same question in any spelling, or one that stands inside a training row.

Test rows are kept in memory, training rows pass by.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import cast

from lifecycle.rows.kinds import Row
from lifecycle.text.normaliser import LIGHT_1
from training.data.content import Content, Normal, content
from training.data.findings import Finding, Places, Severity, finding
from training.data.repeats import LEAK_CURE, Asked

_WORDS = 5
"""Words from which a question that stands inside a longer text is looked at."""

_NO_CHANCE = 8
"""Words from which it stands there by no chance: the n-grams that PaLM's contamination was counted by
(arXiv 2204.02311, section 8)."""


class Leaks:
    """`against` has, by the name of each set, the rows that must be unseen."""

    def __init__(self, against: Mapping[str, Iterable[Row]]) -> None:
        self.asked = {
            name: [Asked(seen.place, LIGHT_1.normal(seen.question)) for seen in map(content, rows)]
            for name, rows in against.items()
        }
        self._equal: dict[str, str] = {}
        """Normalised question → the first training row that asks it."""
        self._inside: dict[str, str] = {}
        every = {asked.normal for rows in self.asked.values() for asked in rows}
        self._wanted = every
        counts = Counter(word for text in every for word in set(text.split()))
        self._anchors: dict[str, list[str]] = defaultdict(list)
        """The rarest word of each question that is long enough → the questions."""
        for text in every:
            words = text.split()
            if len(words) >= _WORDS:
                self._anchors[min(words, key=lambda word: (counts[word], -len(word), word))].append(text)

    def see(self, row: Content, question: str, texts: Sequence[Normal]) -> None:
        """`question` and `texts` are the row's, normalised."""
        if question in self._wanted:
            self._equal.setdefault(question, row.place)
        for text in texts:
            if self._anchors.keys().isdisjoint(text.words):
                continue
            for word in self._anchors.keys() & text.words:
                for asked in self._anchors[word]:
                    if len(asked) > len(text.text) or asked == question or asked in self._inside:
                        continue
                    if f" {asked} " in f" {text.text} ":
                        self._inside[asked] = row.place

    def findings(self) -> Iterator[Finding]:
        for name, rows in self.asked.items():
            equal = Places(f"{a.place} = {self._equal[a.normal]}" for a in rows if a.normal in self._equal)
            yield from finding("error", "leakage", f"rows of {name} asked in the training rows too", equal, LEAK_CURE)
            contained = [a for a in rows if a.normal in self._inside and a.normal not in self._equal]
            message = f"rows of {name} whose question stands inside a training row"
            for level, sure in (("error", True), ("warning", False)):
                chosen = (a for a in contained if (len(a.normal.split()) >= _NO_CHANCE) is sure)
                places = Places(f"{a.place} ⊂ {self._inside[a.normal]}" for a in chosen)
                yield from finding(cast("Severity", level), "contained leakage", message, places, LEAK_CURE)
