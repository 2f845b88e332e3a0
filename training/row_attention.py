"""Attention within each row of a packed line by itself, so that a line may be as long as a whole batch.

A kernel that is given a line and a mask computes every pair of the line's tokens, hidden ones too: twice as many rows
in a line are four times as much work. Here the mask says which rows there are, each is computed by a call of its own,
and the work grows with the rows. So no part of a batch need be padding (`packing.py`). Read `on_cpu.py` for when.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Attention = Callable[..., tuple[Any, None]]
"""As transformers' `AttentionInterface` has it: module, query, key, value, mask, and settings by name."""


@dataclass(frozen=True)
class Part:
    """Neighbouring tokens of a line that see one another, or some of one another, and nobody else."""

    length: int
    mask: Any
    """(1, 1, length, length), true where a token is seen; None where each sees all before it."""


class Last:
    """What was made of a tensor, for as long as the same one comes again: the layers of a model share their mask, and
    the projections of a layer their input.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self._of: Any = None
        self._made: Any = None

    def __call__(self, given: Any, make: Callable[[Any], Any]) -> Any:
        if self._of is not given:
            self._of, self._made = given, make(given)
        return self._made


def by_rows(attention: Attention, shortest: int = 1) -> Attention:
    """`attention`, asked for each part of a line; or once, where no line has more than one part.

    Rows that have fewer than `shortest` tokens together share a call, where that costs more than hidden pairs do.
    """
    import torch

    lines = Last()

    def apart(module: Any, query: Any, key: Any, value: Any, mask: Any, *args: Any, **more: Any) -> tuple[Any, None]:
        packed = lines(mask, lambda whole: parts_of(whole, shortest)) if _is_of(mask, query, key) else []
        if not any(len(parts) > 1 for parts in packed):
            return attention(module, query, key, value, mask, *args, **more)
        made = []
        for number, parts in enumerate(packed):
            sizes = [part.length for part in parts]
            # `split`, because its backward pass is one `cat`; that of slices fills a whole tensor for each.
            pieces = zip(*(of.split(1)[number].split(sizes, 2) for of in (query, key, value)), parts, strict=True)
            mixed = [attention(module, q, k, v, part.mask, *args, **more)[0] for q, k, v, part in pieces]
            made.append(torch.cat(mixed, 1))
        return torch.cat(made), None

    return apart


def parts_of(mask: Any, shortest: int = 1) -> list[list[Part]]:
    """Of each line of a mask (lines, 1, length, length), in order; all but the last of at least `shortest` tokens.

    None of a line with a token that does not see itself, as padding does not: the kernel decides what comes of that.
    """
    return [_of_line(line, shortest) for line in mask[:, 0]]


def _is_of(mask: Any, query: Any, key: Any) -> bool:
    import torch

    lines, _, length, _ = query.shape
    return (
        isinstance(mask, torch.Tensor)
        and mask.dtype == torch.bool
        and mask.shape == (lines, 1, length, length)
        and key.shape[2] == length
    )


def _of_line(mask: Any, shortest: int) -> list[Part]:
    import torch

    if not mask.diagonal().all():
        return []
    last = len(mask) - 1
    # A part ends behind a token where nobody up to it sees, or is seen by, anyone after it.
    furthest = last - (mask | mask.T).flip(1).byte().argmax(1)
    ends = (furthest.cummax(0).values == torch.arange(last + 1)).nonzero().flatten().tolist()
    parts, start = [], 0
    for end in ends:
        if end + 1 - start < shortest and end < last:
            continue
        own = mask[start : end + 1, start : end + 1]
        plain = torch.equal(own, torch.ones_like(own).tril())
        parts.append(Part(end + 1 - start, None if plain else own[None, None]))
        start = end + 1
    return parts
