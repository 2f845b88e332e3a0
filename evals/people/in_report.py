"""What people say of a report's arms: closed campaigns on the same versions, items and deployment, all votes together.

All of them count, so that a second campaign adds to the first and takes no place of it. A page that is made again shows
the votes that there are by then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from evals.people.tally import Said, compared, pairs_in, said_in
from lifecycle.deployment import Deployment
from lifecycle.people import PeopleComparison
from lifecycle.report import ArmResult, Report, Where
from lifecycle.verdict import Verdict
from lifecycle.version import Digest

if TYPE_CHECKING:
    from lifecycle.registry import Registry


def people_of(
    arms: Sequence[ArmResult],
    data: Digest,
    deployment: Deployment | None,
    registry: Registry,
    slices: Sequence[Where] = (),
) -> tuple[PeopleComparison, ...]:
    """Of every two of the arms that people have rated, on all items and on each of `slices`."""
    here = {(arm.version_digest, _digest(arm.deployment or deployment)): arm.arm for arm in arms}
    said: list[Said] = []
    for ratings in registry.ratings.closed_on(data, [arm.version_digest for arm in arms]):
        rated = ratings.campaign.arms.items()
        names = {label: here.get((arm.version_digest, arm.deployment)) for label, arm in rated}
        said += said_in(ratings, {label: name for label, name in names.items() if name})
    pairs = pairs_in(said, [arm.arm for arm in arms])
    told = (compared(said, arm, against, where) for arm, against in pairs for where in (None, *slices))
    return tuple(comparison for comparison in told if comparison)


@dataclass(frozen=True)
class VotesNow:
    """What people say of the arms of a report that was made before: its own words stay as its digest binds them."""

    at: datetime
    told: tuple[PeopleComparison, ...]


def votes_now(report: Report, verdicts: Sequence[Verdict], registry: Registry, at: datetime) -> VotesNow | None:
    """Of closed campaigns, on all items and on the slices that the report or its verdicts name; None for a report of
    another tool or from before suites, and where this registry knows of no votes on its arms."""
    if report.suite is None or report.imported:
        return None
    named = [told.where for told in report.people] + [check.slice for verdict in verdicts for check in verdict.checks]
    slices = [where for at_, where in enumerate(named) if where and where not in named[:at_]]
    told = people_of(report.arms, report.suite.data_digest, report.deployment, registry, slices)
    return VotesNow(at, told) if told else None


def _digest(deployment: Deployment | None) -> Digest | None:
    return deployment.digest if deployment else None
