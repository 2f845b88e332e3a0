"""The 3,000 labelled sentences as rows of this house: read, without duplicates, split so that nothing leaks.

    python -m examples.reviews.data

Writes `data/sentiment/{train,validation,test,shots}.jsonl`; the shots are what `few-shot` shows. A classifier learns
from `data/sentiment/labelled/{train,validation}.jsonl`: the same sentences, as texts with labels.
`sources.py` fetches the package.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from examples.reviews import sources
from lifecycle.commands.terminal import run
from lifecycle.errors import Corrupt, InvalidData, Problem
from lifecycle.rows.writing import write
from lifecycle.text.normaliser import LIGHT_1
from training.data.duplicates import near

HERE = Path(__file__).parent
TASK = "sentiment"
SITES = ("amazon", "imdb", "yelp")
LABELLED = "labelled"
"""The folder, beside the other rows, of those that a classifier learns from."""
LABELS = ("negative", "positive")
"""By the class that the fixtures give: 0 and 1."""
SEED = 17
SHARES = {"test": 200, "validation": 50, "train": 340}
"""Sentences of each site, half of them of each label. To train on there are more: these take two cores some minutes."""
SHOTS = 4
SHORT = 80
"""Characters of a worked example, at most: each is sent with every request."""
NEAR = 0.85
"""Jaccard similarity of two sentences from which only the first is kept, as `dabt data check` has it."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence of a review. `name` is where it stands in the fixtures: `yelp-0007`."""

    name: str
    site: str
    text: str
    label: str

    @property
    def key(self) -> str:
        """What a reader takes for the same sentence has the same key."""
        return LIGHT_1.normal(self.text)

    def as_row(self) -> dict[str, Any]:
        return {
            "id": self.name,
            "messages": [{"role": "user", "content": self.text}, {"role": "assistant", "content": self.label}],
            "meta": {"site": self.site},
        }

    def as_labelled_row(self) -> dict[str, Any]:
        return {"id": self.name, "text": self.text, "label": self.label, "meta": {"site": self.site}}


@dataclass(frozen=True)
class Prepared:
    """What was written: how many sentences there were, how many repeat another, and how many rows each part has."""

    read: int
    repeated: int
    parts: dict[str, int]

    @property
    def summary(self) -> str:
        parts = ", ".join(f"{count:,} {part}" for part, count in self.parts.items())
        return f"{self.read:,} sentences of {', '.join(SITES)}, {self.repeated} of which repeat another: {parts}"


def read(tarball: Path) -> list[Sentence]:
    """All sentences of the package, in its order. Raises `Corrupt`, or `InvalidData` with every row that is none."""
    sentences, problems = [], []
    for site in SITES:
        name = f"package/test/fixtures/{site}.json"
        try:
            with tarfile.open(tarball) as packed, packed.extractfile(name) as file:  # type: ignore[union-attr]
                rows = json.load(file)
        except (OSError, KeyError, tarfile.TarError, ValueError) as error:
            raise Corrupt(f"{tarball} has no {name} that can be read: {error}") from error
        if not isinstance(rows, list):
            problem = Problem(name, f"it is a {type(rows).__name__}", "a list of rows")
            raise InvalidData(f"{tarball} cannot be used", [problem])
        if rows and rows[-1] == {"text": "", "class": None}:  # each fixture ends in one
            rows = rows[:-1]
        for number, row in enumerate(rows):
            keys = row if isinstance(row, dict) else {}
            text, label = keys.get("text"), keys.get("class")
            if not isinstance(text, str) or not text.strip() or type(label) is not int or label not in (0, 1):
                fault = f"{json.dumps(row, ensure_ascii=False)[:80]} is no labelled sentence"
                problems.append(Problem(f"{name}[{number}]", fault, '{"text": "…", "class": 0 or 1}'))
                continue
            sentences.append(Sentence(f"{site}-{number:04d}", site, " ".join(text.split()), LABELS[label]))
    if problems:
        raise InvalidData(f"{tarball} cannot be used", problems)
    return sentences


def distinct(sentences: Sequence[Sentence]) -> list[Sentence]:
    """Those that say something of their own, in order: the first of each that are the same or nearly the same to a
    reader, and none of a sentence that has both labels."""
    labels: dict[str, set[str]] = defaultdict(set)
    first: dict[str, Sentence] = {}
    for sentence in sentences:
        labels[sentence.key].add(sentence.label)
        first.setdefault(sentence.key, sentence)
    kept = [sentence for key, sentence in first.items() if len(labels[key]) == 1]
    later = {max(pair.left, pair.right) for pair in near([sentence.key for sentence in kept], NEAR)}
    return [sentence for position, sentence in enumerate(kept) if position not in later]


def split(sentences: Sequence[Sentence]) -> dict[str, list[Sentence]]:
    """Each part with as many of each site and label, in an order by chance.

    Raises `InvalidData` where a site has too few.
    """
    parts: dict[str, list[Sentence]] = {part: [] for part in SHARES}
    for site in SITES:
        for label in LABELS:
            left = by_chance([one for one in sentences if (one.site, one.label) == (site, label)])
            if len(left) < (wanted := sum(SHARES.values()) // 2):
                raise InvalidData(f"{site} has {len(left)} {label} sentences, and {wanted} are wanted")
            for part, share in SHARES.items():
                parts[part] += left[: share // 2]
                left = left[share // 2 :]
    return {part: by_chance(chosen) for part, chosen in parts.items()}


def by_chance(sentences: Sequence[Sentence]) -> list[Sentence]:
    """In an order that hangs on `SEED` and on each sentence's own words alone."""
    return sorted(sentences, key=lambda one: hashlib.sha256(f"{SEED}\n{one.key}".encode()).digest())


def shots(train: Sequence[Sentence]) -> list[Sentence]:
    """Worked examples: short training sentences by chance, as many of each label, by turns."""
    short = [one for one in train if len(one.text) <= SHORT]
    by_label = [[one for one in short if one.label == label][: SHOTS // 2] for label in LABELS]
    return [one for pair in zip(*by_label, strict=True) for one in pair]


def prepare(folder: Path = HERE / "data" / TASK, tarball: Path | None = None) -> Prepared:
    """Fetch, read, split and write. The same every time; what is written already is written again in a second.

    Raises what `sources.tarball` and `read` raise, and `InvalidInput` where `folder` cannot be written.
    """
    sentences = read(tarball or sources.tarball())
    kept = distinct(sentences)
    parts = split(kept)
    folder.mkdir(parents=True, exist_ok=True)
    for part, chosen in parts.items():
        write(folder / f"{part}.jsonl", (one.as_row() for one in chosen))
    (folder / LABELLED).mkdir(exist_ok=True)
    for part in ("train", "validation"):
        write(folder / LABELLED / f"{part}.jsonl", (one.as_labelled_row() for one in parts[part]))
    write(folder / "shots.jsonl", ({"user": one.text, "assistant": one.label} for one in shots(parts["train"])))
    return Prepared(len(sentences), len(sentences) - len(kept), {part: len(chosen) for part, chosen in parts.items()})


if __name__ == "__main__":
    run(lambda: print(prepare().summary))
