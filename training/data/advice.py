"""What is worth knowing before anything is spent: how many good examples, facts or behaviour, what is not yet tried.

The rules are the source material's; each says in the finding what it counted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache

from lifecycle.text.counting import counted
from training.data.balance import Balance, thin
from training.data.content import MANY_TIMES, Content
from training.data.findings import Finding

PROMISING = 1000
"""Examples from which a fine-tune is promising; fewer often do no better than the same examples in the prompt."""

_DOMINANT = 0.9
"""Share of the rows from which one class drowns the others."""

_FACTS = 0.3
"""Share of the answers that state what nobody told them, from which the rows teach facts."""

_ASKS_FOR_FACTS = re.compile(
    r"\b(?:who|when|where|which|how (?:many|much|old|far|long)|what (?:is|are|was|were|time|year))\b"
    r"|(?<!\w)(?:من هو|من هي|متى|أين|اين|كم|أي|ما هو|ما هي)(?!\w)",
    re.IGNORECASE,
)
_STATED = re.compile(r"\d[\d.,:/]*\d|\d|(?<=[^.!?:]\s)[A-Z][a-z]{2,}")
"""Numbers, and names inside a sentence."""
_LONGEST = 2000


class Facts:
    """Rows as they come, and then whether they teach facts."""

    def __init__(self) -> None:
        self.rows = 0
        self._stating = 0
        self._systems: Counter[str] = Counter()
        self._answered = 0

    def see(self, row: Content) -> None:
        self.rows += 1
        if len(self._systems) < 3:  # whether all have the same is all that is asked
            self._systems[row.system] += 1
        if not row.answer or row.labels:
            return
        self._answered += 1
        # The question is looked at last: that takes the longest.
        if stated := _stated(row.answer):
            told = f"{row.system}\n{row.context}"
            if any(fact not in told for fact in stated):
                self._stating += _ASKS_FOR_FACTS.search(row.question[-_LONGEST:]) is not None

    def findings(self) -> Iterator[Finding]:
        if self._answered >= 20 and self._stating >= _FACTS * self._answered:
            yield Finding(
                level="warning",
                check="facts",
                message=f"{self._stating:,} of {self._answered:,} answers state a number or a name that their question "
                "does not: fine-tuning teaches behaviour, and facts seldom",
                cure="put the facts into an index (dabt index), or into the rows' own context; compare both",
            )
        if len(self._systems) == 1 and self.rows > 1 and (system := next(iter(self._systems))):
            del system
            yield Finding(
                level="note",
                check="system text",
                message="every row has the same system text",
                cure="name it in prompt.system, so that the service puts it before every request",
            )


def _stated(answer: str) -> frozenset[str]:
    return _kept(answer) if len(answer) <= MANY_TIMES else frozenset(_STATED.findall(answer[:_LONGEST]))


@lru_cache(maxsize=4096)
def _kept(answer: str) -> frozenset[str]:
    return frozenset(_STATED.findall(answer))


def size(rows: int, good: int) -> Iterator[Finding]:
    """`good` are the rows that are no copies and that no other row contradicts."""
    if good >= PROMISING or not rows:
        return
    examples = counted(rows, "example") if good == rows else f"{counted(good, 'good example')} of {rows:,}"
    cure = "gather more, or compare with the same examples as few-shot prompt first"
    message = f"{examples}; a fine-tune is promising from about {PROMISING:,}"
    yield Finding(level="warning", check="size", message=message, cure=cure)


def untried() -> Finding:
    """Where no evaluation of a prompt is known."""
    cure = "evaluate the base with a system text and with worked examples first (dabt eval): it may be enough"
    message = "no prompt has been evaluated for this: prompting costs nothing to train"
    return Finding(level="note", check="prompting", message=message, cure=cure)


def spread(found: Balance, rows: int) -> Iterator[Finding]:
    """One class that drowns the others, classes and slices that are too thin to be learnt, answers of two forms."""
    said: list[tuple[str, str]] = []
    for name, counts in (("language", found.languages), *found.fields.items()):
        if len(counts) == 1:
            continue
        biggest = max(counts, key=lambda key: counts[key])
        share = counts[biggest] / sum(counts.values())
        rare = [f"{value} ({count})" for value, count in counts.items() if count < thin(rows)]
        if share > _DOMINANT:
            said.append((f"{name}: {share:.0%} of the rows are {biggest}", "a model may learn to say only that"))
        if rare:
            said.append((f"{name}: few rows for {', '.join(rare)}", "aim at 10 or more of each"))
    if found.slices:
        thin_ones = "; ".join(f"{name} ({count})" for name, count in found.slices.items())
        said.append((f"thin slices: {thin_ones}", "aim at 10 or more of each"))
    if 0 < found.json_answers < rows:
        text = f"{found.json_answers} of {rows} answers are JSON objects and the others are not"
        said.append((text, "use one form of answer"))
    for text, cure in said:
        yield Finding(level="warning", check="balance", message=text, cure=cure)
