"""The row of a task's dataset, as `data/<task>/<split>.jsonl` holds it. Read `tasks.py` next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Row:
    """One example: what the user writes, what should come back, and what metrics need to know."""

    user: str
    assistant: str
    meta: dict[str, object]

    def as_json(self, row_id: str, system: str) -> dict[str, object]:
        return {
            "id": row_id,
            "messages": [
                {"role": "system", "content": system},
                {"role": "user", "content": self.user},
                {"role": "assistant", "content": self.assistant},
            ],
            "meta": self.meta,
        }


def part(index: int, total: int, split: Split) -> bool:
    """Whether the item `index` of `total` belongs to `split`: 7 in 10 train, 1 validation, 2 test."""
    place = (index * 10) // total
    return place < 7 if split == "train" else place == 7 if split == "validation" else place > 7
