"""Packing: several rows in one line of a batch, without one seeing another, so that little of a batch is padding.

Each row keeps positions of its own, from 0. Given those and no attention mask, transformers lets no token attend across
the places where they start again (`masking_utils.find_packed_sequence_indices`), with SDPA as with flash-attention, so
the loss and the gradients are those of the same rows in lines of their own.

`batch_size` goes on counting rows: packing changes how a batch lies in memory, not which rows a step learns from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lifecycle.errors import InvalidConfig, Problem
from training.tokens import IGNORED

LINE = 4096
"""Room of a line: its mask has a byte for every two of its tokens, so that a token costs so many bytes."""


def bins(lengths: Sequence[int], width: int) -> list[list[int]]:
    """Places of `lengths` in groups of which none is longer than `width` together: best fit, the longest first.

    A row longer than `width` has a group of its own. Ties are broken by the order of `lengths`.
    """
    groups: list[list[int]] = []
    free: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        fits = [group for group, room in enumerate(free) if room >= lengths[place]]
        if not fits:
            groups.append([place])
            free.append(width - lengths[place])
            continue
        best = min(fits, key=free.__getitem__)
        groups[best].append(place)
        free[best] -= lengths[place]
    return groups


def joined(rows: Sequence[dict[str, list[int]]]) -> dict[str, list[int]]:
    """One line of `rows`, which remembers their `seq_lengths`; a row that is such a line already keeps its own.

    The first token of a row follows from nothing, so it has no label.
    """
    line: dict[str, list[int]] = {"input_ids": [], "labels": [], "seq_lengths": []}
    for row in rows:
        line["input_ids"] += row["input_ids"]
        line["labels"] += [IGNORED, *row["labels"][1:]]
        line["seq_lengths"] += row.get("seq_lengths") or [len(row["input_ids"])]
    return line


def even(lengths: Sequence[int], count: int) -> list[list[int]]:
    """Places of `lengths` in so many groups, of about the same length together: the longest first, each to the group
    that is the shortest then (Graham 1969).
    """
    groups: list[list[int]] = [[] for _ in range(count)]
    taken = [0] * count
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        least = taken.index(min(taken))
        groups[least].append(place)
        taken[least] += lengths[place]
    return [group for group in groups if group]


@dataclass(frozen=True)
class PackingCollator:
    """Rows to a batch of tensors: as few lines as hold them, as wide as the longest row; or as `room` says."""

    pad: int
    """A token id; where it stands nothing is learnt."""
    room: int = 0
    """Where attention sees to the rows of a line one by one (`row_attention.py`), about how many tokens a line may
    have. Then most batches are one line without padding."""

    def __call__(self, rows: Sequence[dict[str, list[int]]]) -> dict[str, Any]:
        """`input_ids`, `labels` and `position_ids`, each (lines, width) in int64."""
        import torch

        lengths = [len(row["input_ids"]) for row in rows]
        groups = even(lengths, -(-sum(lengths) // self.room)) if self.room else bins(lengths, max(lengths))
        lines = [joined([rows[place] for place in sorted(group)]) for group in groups]
        width = max(len(line["input_ids"]) for line in lines)
        short = [width - len(line["input_ids"]) for line in lines]
        filled = list(zip(lines, short, strict=True))
        batch = {
            "input_ids": [[*line["input_ids"], *[self.pad] * missing] for line, missing in filled],
            "labels": [[*line["labels"], *[IGNORED] * missing] for line, missing in filled],
            # The padding is a row of its own, which the others do not see.
            "position_ids": [
                [position for length in (*line["seq_lengths"], missing) for position in range(length)]
                for line, missing in filled
            ],
        }
        return {name: torch.tensor(values) for name, values in batch.items()}


def require_exact(model: Any, collate: PackingCollator, rows: Sequence[dict[str, list[int]]]) -> None:
    """Try two short rows in one line. Raises `InvalidConfig` where the second is computed otherwise than alone."""
    import torch

    places = sorted(range(len(rows)), key=lambda place: len(rows[place]["input_ids"]))[:2]
    first, second = rows[places[0]], rows[places[-1]]
    start = len(first["input_ids"])

    def logits(batch: dict[str, Any]) -> Any:
        inputs = {name: batch[name].to(model.device) for name in ("input_ids", "position_ids")}
        with torch.no_grad():
            return model.eval()(**inputs, use_cache=False).logits[0].float()

    try:
        alone, together = logits(collate([second])), logits(collate([joined([first, second])]))[start:]
    except TypeError as error:
        raise _inexact("it takes no positions") from error
    off = float((alone - together).abs().max() / alone.abs().max())
    if not off <= (1e-3 if alone.dtype == model.dtype else 5e-2):
        raise _inexact(f"a row behind another is computed otherwise than alone, by {off:.1%}")


def _inexact(fault: str) -> InvalidConfig:
    cure = "leave packing out; this base's attention does not keep the rows apart"
    return InvalidConfig("the base cannot be trained on packed rows", [Problem("optimisation.packing", fault, cure)])
