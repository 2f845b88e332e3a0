"""Scorers that an evaluation adds to its task's own, whatever the task is: they say more of the same answers.

The deciding and the safety figure stay the task's. A policy's rule may name any figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from evals.scorers.table import SCORERS
from evals.tasks.building import described, require_once, require_scorable
from evals.tasks.suite import Suite
from lifecycle.errors import InvalidConfig, Problem
from lifecycle.version import digest_of


def with_scorers(suite: Suite, entries: Sequence[Any]) -> Suite:
    """`entries` are names, or mappings with `type` and the scorer's settings, as in a short task file.

    Raises `InvalidConfig` with every entry that is no scorer, or with the figures that are there already, and
    `InvalidData` with the samples that cannot be scored.
    """
    written, problems = [], list[Problem]()
    for number, entry in enumerate(entries):
        scorer, faults = SCORERS.read(entry, f"scorers.{number}")
        written += [scorer] if scorer else []
        problems += faults
    if problems:
        raise InvalidConfig(f"the answers to '{suite.name}' cannot be scored", problems)
    settled = tuple(scorer.settled(suite.samples) for scorer in written)
    scorers = (*suite.scorers, *settled)
    require_once(suite.name, [figure for scorer in scorers for figure in scorer.figures()])
    require_scorable(suite.name, suite.samples, [sample.id for sample in suite.samples], settled)
    # As they are written: what they settle by the items is told by the items, of which a look has fewer.
    added = [described(scorer) for scorer in written]
    return replace(
        suite,
        scorers=scorers,
        digest=digest_of([suite.digest, added]),
        scoring=suite.scoring and digest_of([suite.scoring, added]),
    )
