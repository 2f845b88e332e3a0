"""The items of a report that is kept: its `items.jsonl`, read line by line, and what can be asked of the lines.

An item's key is of its content, so the same question with the same target has the same key in every report. A place in
a page or a link is made of the key alone (`anchor`). Pages and commands share these functions.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field

from evals.archive.sums import Adds
from lifecycle.errors import Corrupt, NotFound
from lifecycle.text.letters import ascii_digits, one_spelling, visible
from lifecycle.version import Frozen

FILE = "items.jsonl"
_WORD = 40
"""Characters of a word whose plain form is remembered."""
_ALIKE = 1e-9
"""Scores closer than this are one score."""


class _Read(Frozen):
    """What a release reads of a line; a later release may have written more."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class ItemAnswer(_Read):
    """What one arm made of the item. `asking/measure.py` writes more of it."""

    answer: str = ""
    scores: dict[str, float] = Field(default_factory=dict)
    """Figure → number; a figure that is neither here nor unscored does not bear on the item."""
    unscored: dict[str, str] = Field(default_factory=dict)
    error: str = ""
    cut: bool = False
    passages: tuple[str, ...] = ()
    explanation: str = ""
    said: str = Field(default="", exclude_if=lambda said: not said)
    """What it comes to: one of several to the same item votes by it."""
    adds: tuple[dict[str, Adds], ...] = Field(default=(), exclude=True)
    """Of each answer: what it adds to each figure of all items together (`sums.py`)."""
    repeats: tuple[ItemAnswer, ...] = Field(default=(), exclude_if=lambda repeats: not repeats)
    """Each answer to an item that was asked several times."""

    def score(self, figure: str) -> float | None:
        """Also a figure that only several answers have, such as `exact pass@5`."""
        known = self.scores.get(figure)
        base, _, kind = figure.rpartition(" ")
        if known is not None or not self.repeats or not kind.startswith(("pass", "majority")):
            return known
        from evals.statistics.repeats import figures_of

        return next(iter(figures_of([self.repeats], base).get(figure, ())), None)


class Item(_Read):
    """One line of the file."""

    key: str
    name: str
    """As people call it."""
    question: str = ""
    target: str = ""
    cluster: str | None = None
    slices: dict[str, str] = Field(default_factory=dict)
    arms: dict[str, ItemAnswer]

    @property
    def anchor(self) -> str:
        return anchor(self.key)


def anchor(key: str) -> str:
    """The item's place in a page, and its name in a link: letters and digits whatever the key has, such as
    `item-5f1e0c27a9b3`. The same key has the same anchor in every report."""
    return f"item-{sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"


def read(folder: Path) -> Iterator[Item]:
    """The items of the report in `folder`, in its order, one at a time: a file may have 100,000.

    Raises `NotFound` when the file is not there, and `Corrupt` with file and line for a line that is no item.
    """
    path = folder / FILE
    if not path.is_file():
        raise NotFound(f"{path} is not there: the items are on the machine that ran the evaluation; copy its folder")
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            yield parsed(line, path, number)


def parsed(line: str | bytes, path: Path, number: int) -> Item:
    """Line `number` of the file. Raises `Corrupt`."""
    try:
        return Item.model_validate(json.loads(line))
    except (ValueError, RecursionError) as error:
        raise Corrupt(f"{path}:{number} is no item of a report; run the evaluation again") from error


def disagreement(scores: Mapping[Any, float | None]) -> float | None:
    """How far apart the arms are on one item, from 0; None where fewer than two have a number. Of arm → score."""
    known = [score for score in scores.values() if score is not None]
    return max(known) - min(known) if len(known) > 1 else None


def disagrees(item: Item, metric: str, arms: Sequence[str] = ()) -> bool:
    """Whether the arms (all of them, or those named) differ on the item in `metric`.

    An arm without a figure where another has one differs too: it failed to be scored, and a reader wants to see it.
    """
    answers = {arm: item.arms[arm] for arm in arms or item.arms if arm in item.arms}
    unscored = any(metric in answer.unscored for answer in answers.values())
    return differ([answer.scores.get(metric) for answer in answers.values()], unscored)


def differ(scores: Sequence[float | None], unscored: bool) -> bool:
    """Whether arms differ that have these scores; `unscored`: one of them could not be scored."""
    if unscored and any(score is not None for score in scores):
        return True
    gap = disagreement(dict(enumerate(scores)))
    return gap is not None and gap > _ALIKE


def disagreeing(items: Iterable[Item], metric: str, arms: Sequence[str] = ()) -> Iterator[Item]:
    """The items on which the arms differ, in the given order."""
    return (item for item in items if disagrees(item, metric, arms))


def matches(item: Item, words: str) -> bool:
    """Whether every one of the words is in the item's name, key, question, target, or in any answer or error.

    Case, Arabic diacritics, tatweel and direction marks make no difference.
    """
    there = searchable(item)
    return all(plain(word) in there for word in words.split())


def searchable(item: Item) -> str:
    """All texts that are looked through, as `plain` writes them."""
    texts = [item.key, item.name, item.question, item.target]
    texts += [text for answer in item.arms.values() for text in (answer.answer, answer.error)]
    return plain("\n".join(texts))


def searched(items: Iterable[Item], words: str) -> Iterator[Item]:
    """The items that match, in the given order."""
    return (item for item in items if matches(item, words))


def pick(items: Iterable[Item], wanted: str) -> Item:
    """The item by its key, its anchor or its name. Raises `NotFound`."""
    wanted = wanted.removeprefix("#")
    for item in items:
        if wanted in (item.key, item.anchor, item.name):
            return item
    raise NotFound(f"the report has no item {wanted}; `--search` finds items by their texts")


def as_row(item: Item) -> dict[str, Any]:
    """As JSON, with the anchor."""
    return {"anchor": item.anchor, **item.model_dump(mode="json")}


def plain(text: str) -> str:
    """As `lifecycle/text/normaliser.py` writes letters, with all signs left in: a reader searches for those too."""
    # Nothing of it reaches over a space, and most words come many times.
    return " ".join(_plain(word) if len(word) <= _WORD else _made_plain(word) for word in text.split(" "))


@lru_cache(maxsize=1 << 16)
def _plain(word: str) -> str:
    return _made_plain(word)


def _made_plain(text: str) -> str:
    return one_spelling(unicodedata.normalize("NFKC", ascii_digits(visible(text)).casefold()))
