"""What people say of a report's arms: closed campaigns on the same versions, items and deployment, all votes together.

All of them count, so that a second campaign adds to the first and takes no place of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from evals.people.tally import Said, compared, pairs_in, said_in
from lifecycle.deployment import Deployment
from lifecycle.people import PeopleComparison
from lifecycle.report import ArmResult, Where
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


def _digest(deployment: Deployment | None) -> Digest | None:
    return deployment.digest if deployment else None
