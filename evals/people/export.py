"""A closed campaign as preference rows: what a team prefers is what DPO trains on (`training/recipes/dpo.py`).

A pair of answers is a row where more votes are for one side than for the other. Every row that is written is one that
training reads; what is left out is counted with its reason.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lifecycle.rating import Preferred, RatedItem, Ratings, Vote
from lifecycle.rows import forms
from lifecycle.rows.conversions import converted
from lifecycle.rows.faults import Unreadable


@dataclass(frozen=True)
class Exported:
    rows: tuple[dict[str, Any], ...]
    left_out: Counter[str]
    """Why → pairs."""


def preference_rows(ratings: Ratings, *, votes: int = 1, unanimous: bool = False) -> Exported:
    """In the form that `training` reads: prompt, chosen, rejected, and under `meta` where they come from.

    `votes`: a pair needs at least so many, ties among them. `unanimous`: all of them for one side.
    """
    items = {item.key: item for item in ratings.items}
    by_pair: dict[tuple[str, str, str], list[Vote]] = defaultdict(list)
    for vote in ratings.votes:
        if vote.preferred is not None:
            by_pair[vote.item, vote.first, vote.second].append(vote)
    rows: list[dict[str, Any]] = []
    left_out = Counter[str]()
    if ratings.settled:
        left_out["needed no vote: equal answers, or none"] = len(ratings.settled)
    for (key, first, second), cast in by_pair.items():
        counts = Counter(vote.preferred for vote in cast)
        ahead = counts[Preferred.FIRST] - counts[Preferred.SECOND]
        chosen, rejected = (first, second) if ahead > 0 else (second, first)
        won = max(counts[Preferred.FIRST], counts[Preferred.SECOND])
        if why := _why_not(items[key], len(cast), ahead, unanimous=unanimous and won < len(cast), votes=votes):
            left_out[why] += 1
            continue
        arms = ratings.campaign.arms
        meta = {
            "campaign": ratings.campaign.name,
            "item": items[key].name,
            "chosen_version": arms[chosen].ref,
            "rejected_version": arms[rejected].ref,
            "votes": {"chosen": won, "rejected": won - abs(ahead), "neither": len(cast) - 2 * won + abs(ahead)},
        }
        try:
            rows.append(_row(f"{ratings.campaign.name}-{len(rows) + 1}", items[key], chosen, rejected, meta))
        except Unreadable as unreadable:
            left_out[f"training could not read it: {unreadable.faults[0].says}"] += 1
    return Exported(tuple(rows), left_out)


def _why_not(item: RatedItem, cast: int, ahead: int, *, unanimous: bool, votes: int) -> str:
    if cast < votes:
        return f"under {votes} votes"
    if ahead == 0:
        return "as many votes for each side, or none"
    if unanimous:
        return "not all votes are for one side"
    if item.calls_tools:
        return "the answers may call tools, and only their texts are kept"
    return ""


def _row(id_: str, item: RatedItem, chosen: str, rejected: str, meta: dict[str, Any]) -> dict[str, Any]:
    """Raises `Unreadable` for what the reader of training refuses."""
    answers: Sequence[tuple[str, str | None]] = (("chosen", item.answers[chosen]), ("rejected", item.answers[rejected]))
    row = {
        "id": id_,
        "prompt": [dict(message) for message in item.messages],
        **{which: [{"role": "assistant", "content": text or ""}] for which, text in answers},
        "meta": meta,
    }
    _, read = forms.read(row, id_)
    return converted(read, "preference")
