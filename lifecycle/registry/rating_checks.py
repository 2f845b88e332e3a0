"""What `rating_book.py` asks before answers are rated: of an evaluation, or collected one conversation at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Select, select

from lifecycle.errors import InvalidInput, Problem
from lifecycle.rating import Campaign, RatedItem
from lifecycle.registry import rating_tables as rated
from lifecycle.registry import records, tables
from lifecycle.states import State
from lifecycle.version import Ref

_I = rated.items.c


def require_new(tx: Connection, campaign: Campaign, items: Sequence[RatedItem]) -> None:
    """Raises `InvalidInput` with every fault."""
    problems = []
    if tx.execute(select(rated.campaigns.c.number).where(rated.campaigns.c.name == campaign.name)).first() is not None:
        problems.append(Problem("name", f"{campaign.name} is there already", "choose another: none is given twice"))
    report = records.to_report(records.report_row(tx, campaign.evaluation or ""))
    there = {arm.arm: arm.version_digest for arm in report.arms}
    problems += [
        Problem(f"arms.{label}", f"is {arm.version_digest}, which is no arm {label} of the evaluation")
        for label, arm in campaign.arms.items()
        if there.get(label) != arm.version_digest
    ]
    if not items:
        problems.append(Problem("items", "there are none to rate", "take more of the evaluation's items"))
    lacking = [(item, sorted(campaign.arms.keys() - item.answers.keys())) for item in items]
    problems += [Problem(item.name, f"has no answer of {', '.join(arms)}") for item, arms in lacking if arms][:20]
    if problems:
        raise InvalidInput(f"the campaign {campaign.name} cannot be opened", problems)


def require_versions(tx: Connection, campaign: Campaign, item: RatedItem) -> None:
    """Raises `InvalidInput` for arms that are not what the registry has under their names, and without an answer."""
    versions, problems = tables.versions.c, []
    for label, arm in campaign.arms.items():
        if label not in item.answers:
            problems.append(Problem("answers", f"there is none of {label}"))
        if arm.is_base:
            continue
        ref = Ref.parse(arm.ref)
        here = (versions.name == ref.name) & (versions.number == ref.number)
        digest = tx.execute(select(versions.digest).where(here)).scalar()
        if digest is None:
            problems.append(Problem("answers", f"there is no version {arm.ref}"))
        elif digest != arm.version_digest:
            problems.append(Problem("answers", f"{arm.ref} is {digest}, and not {arm.version_digest}"))
    if problems:
        raise InvalidInput(f"these answers cannot be rated in {campaign.name}:", problems)


def require_same_arms(there: Campaign, campaign: Campaign) -> None:
    """Raises `InvalidInput` where the campaign that is there rates other answers."""
    if there.evaluation is not None:
        fault, cure = "has the answers of an evaluation, and takes no others", "choose another name"
    elif _digests(there) != _digests(campaign):
        fault, cure = f"rates {', '.join(arm.ref for arm in there.arms.values())}", "choose another name for these"
    else:
        return
    raise InvalidInput("these answers cannot be put there:", [Problem(there.name, fault, cure)])


def collected_by(campaign: int, rater: str) -> Select[Any]:
    """The items that this rater has read with their names."""
    return select(_I.number).where((_I.campaign == campaign) & (_I.body["collected_by"].as_string() == rater))


def _digests(campaign: Campaign) -> dict[str, str]:
    return {label: arm.version_digest for label, arm in campaign.arms.items()}


def retired_arms(tx: Connection, campaign: Campaign) -> set[str]:
    """Arms whose version nobody serves any more."""
    versions, gone = tables.versions.c, set()
    for label, arm in campaign.arms.items():
        if arm.is_base:
            continue
        ref = Ref.parse(arm.ref)
        here = (versions.name == ref.name) & (versions.number == ref.number)
        if tx.execute(select(versions.state).where(here)).scalar() in (None, State.RETIRED.value):
            gone.add(label)
    return gone
