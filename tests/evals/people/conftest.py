"""Ratings made of votes that a test writes down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from lifecycle.rating import Campaign, Preferred, RatedArm, RatedItem, Ratings, Settled, Vote
from lifecycle.version import digest_of

MOMENT = datetime(2026, 11, 1, tzinfo=UTC)
Cast = tuple[str, str, str, str, Preferred | None]
"""Item, arm, arm, rater, and what they prefer."""


def ratings_of(
    votes: Sequence[Cast],
    *,
    arms: Sequence[str] = ("base", "adapter"),
    settled: Sequence[tuple[str, str, str, Preferred]] = (),
    items: dict[str, dict[str, Any]] | None = None,
    **changes: Any,
) -> Ratings:
    pairs = [(one, other) for at, one in enumerate(arms) for other in arms[at + 1 :]]
    campaign = Campaign(
        name="c", task="toy", evaluation=digest_of("report"), data_digest=digest_of("data"),
        arms={arm: RatedArm(ref=f"toy:{n}", version_digest=digest_of(arm)) for n, arm in enumerate(arms, 1)},
        pairs=tuple(pairs), seed=7, created_at=MOMENT, created_by="amal",
    ).model_copy(update=changes)  # fmt: skip
    keys = dict.fromkeys([vote[0] for vote in votes] + [pair[0] for pair in settled])
    return Ratings(
        campaign=campaign,
        items=tuple(
            RatedItem.model_validate(
                {
                    "key": key,
                    "name": f"item {key}",
                    "messages": [{"role": "user", "content": f"question {key}"}],
                    "answers": {arm: f"{arm} says {key}" for arm in arms},
                    **(items or {}).get(key, {}),
                }
            )
            for key in keys
        ),
        votes=tuple(
            Vote(item=item, first=one, second=other, rater=rater, preferred=preferred, swapped=False, at=MOMENT)
            for item, one, other, rater, preferred in votes
        ),
        settled=tuple(
            Settled(item=item, first=one, second=other, preferred=preferred) for item, one, other, preferred in settled
        ),
    )


@pytest.fixture
def make_ratings() -> Callable[..., Ratings]:
    return ratings_of
