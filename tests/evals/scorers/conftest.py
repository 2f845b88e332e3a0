"""One scorer over one answer, without an endpoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from evals.sample import Sample
from evals.scorers.scorer import Score, ScoringContext
from evals.scorers.scoring import ItemScore, score
from evals.scorers.table import SCORERS
from evals.solvers.solver import Attempt

Scored = Callable[..., Any]


def call(name: str, arguments: object) -> dict[str, Any]:
    return {"id": "c1", "type": "function", "function": {"name": name, "arguments": arguments}}


@pytest.fixture
def scored() -> Scored:
    """`await scored("exact", "answer", "target")`: the figures; settings by their names."""

    async def of(
        kind: str,
        answer: str,
        target: Any,
        *,
        calls: tuple[dict[str, Any], ...] = (),
        meta: Any = None,
        **settings: Any,
    ) -> Score:
        scorer, problems = SCORERS.read({"type": kind, **settings}, kind)
        assert problems == []
        assert scorer is not None
        sample = Sample(key="k", id="i", messages=(), target=target, metadata=meta or {})
        scorer = scorer.settled([sample])
        assert scorer.problems(sample) == []
        made: ItemScore = await score([scorer], sample, Attempt((), answer, calls), ScoringContext())
        return made.parts[0]

    return of
