"""The registry's campaigns, in which people rate answers (`lifecycle/rating.py`): `registry.ratings`.

A pair of answers is handed out as a ballot. Whoever is given one has it for a while (`LEASE`), so that two raters at
once are never given the same place, and no rater is given a pair twice. What leaves this book for a rater names no arm,
and neither does any error or any entry of the trail on a single pair: that says A or B, as they stood.

A campaign keeps the answers themselves, so it outlives its versions. When one of them is retired, its pairs are handed
out no more, and the votes that are there stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import ColumnElement, Connection, Row, and_, case, func, insert, or_, select, update

from lifecycle.errors import Conflict, InvalidInput, NotAllowed, NotFound, Problem
from lifecycle.jobs.nouns import new_id
from lifecycle.rating import (
    LEASE,
    Ballot,
    Campaign,
    CampaignProgress,
    Choice,
    Preferred,
    RatedItem,
    Rater,
    Ratings,
    Settled,
    Vote,
)
from lifecycle.registry import audit
from lifecycle.registry import rating_tables as rated
from lifecycle.registry.database import Database
from lifecycle.registry.rating_checks import (
    collected_by,
    require_new,
    require_same_arms,
    require_versions,
    retired_arms,
)
from lifecycle.registry.readable import valid
from lifecycle.version import Digest

_C, _I, _P, _B = rated.campaigns.c, rated.items.c, rated.pairs.c, rated.ballots.c
_AT_ONCE = 500
_SIDES = {Choice.A: Preferred.FIRST, Choice.B: Preferred.SECOND, Choice.TIE: Preferred.TIE,
          Choice.BOTH_BAD: Preferred.BOTH_BAD}  # fmt: skip


class RatingBook:
    """Safe to share between threads and processes, as the registry is."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- campaigns ------------------------------------------------------------------------------------------------

    def create(self, campaign: Campaign, items: Sequence[RatedItem], *, actor: str) -> Campaign:
        """Open it. Raises `NotFound` for a report or version that the registry lacks, `InvalidInput` for a name that
        is taken, for arms that are not the report's and for items without an answer of each arm, `NotAllowed` for a
        version that is retired."""
        with self._database.write() as tx:
            require_new(tx, campaign, items)
            if retired := retired_arms(tx, campaign):
                raise NotAllowed(f"nobody is asked about a version that is retired: {', '.join(sorted(retired))}")
            _open(tx, campaign, items, actor)
        return campaign

    def collect(self, campaign: Campaign, item: RatedItem, *, actor: str) -> Campaign:
        """Put the answers of one conversation into the campaign of this name, which is opened where there is none.

        What is there already is not put there again. Raises `InvalidInput` where the campaign of this name has other
        arms or is an evaluation's, and for an arm that is no version of the registry's, `NotAllowed` for one that is
        closed and for a version that is retired.
        """
        with self._database.write() as tx:
            require_versions(tx, campaign, item)
            if retired := retired_arms(tx, campaign):
                raise NotAllowed(f"nobody is asked about a version that is retired: {', '.join(sorted(retired))}")
            if tx.execute(select(_C.number).where(_C.name == campaign.name)).first() is None:
                _open(tx, campaign, [item], actor)
                return campaign
            there = _campaign(row := _open_row(tx, campaign.name))
            require_same_arms(there, campaign)
            if tx.execute(select(_I.number).where((_I.campaign == row.number) & (_I.key == item.key))).first() is None:
                _add(tx, there, row.number, [item])
                audit.append(tx, actor, "rating.collect", campaign.name, {"item": item.key})
            return there

    def get(self, name: str) -> Campaign:
        """Raises `NotFound`."""
        with self._database.read() as tx:
            return _campaign(_row(tx, name))

    def all(self) -> list[Campaign]:
        """Newest first."""
        with self._database.read() as tx:
            return [_campaign(row) for row in tx.execute(select(rated.campaigns).order_by(_C.number.desc()))]

    def close(self, name: str, *, actor: str, reason: str = "") -> Campaign:
        """Nobody votes any more. Closing a closed one changes nothing."""
        with self._database.write() as tx:
            row = _row(tx, name)
            if row.closed_at is None:
                tx.execute(update(rated.campaigns).where(_C.number == row.number).values(closed_at=datetime.now(UTC)))
                votes = tx.execute(select(func.count()).where((_B.campaign == row.number) & _voted(_B))).scalar_one()
                audit.append(tx, actor, "rating.close", name, {"votes": votes}, reason)
            return _campaign(_row(tx, name))

    def ratings(self, name: str) -> Ratings:
        """All that it holds, whose answers are whose: for figures, and for no rater."""
        with self._database.read() as tx:
            return _ratings(tx, _row(tx, name))

    def closed_on(self, data_digest: Digest, versions: Iterable[Digest]) -> list[Ratings]:
        """Of the campaigns on these items that are closed and have two of the versions, the oldest first."""
        wanted = set(versions)
        with self._database.read() as tx:
            rows = tx.execute(select(rated.campaigns).where(_C.closed_at.is_not(None)).order_by(_C.number)).all()
            return [
                _ratings(tx, row)
                for row in rows
                if (campaign := _campaign(row)).data_digest == data_digest
                and len({arm.version_digest for arm in campaign.arms.values()} & wanted) > 1
            ]

    def note_export(self, name: str, rows: int, *, actor: str) -> None:
        """Rows of it were written for training. Raises `NotAllowed` while it is open: they tell whose answers are
        whose."""
        with self._database.write() as tx:
            if _row(tx, name).closed_at is None:
                raise NotAllowed(f"{name} is open, and its rows tell whose answers are whose: `dabt rate close {name}`")
            audit.append(tx, actor, "rating.export", name, {"rows": rows})

    # -- raters ---------------------------------------------------------------------------------------------------

    def next(self, name: str, rater: str) -> Ballot | None:
        """What the rater is to vote on now; the same again until they have. None when nothing is left for them.

        Pairs with the fewest votes come first. Raises `NotAllowed` for a campaign that is closed.
        """
        rater = _rater(rater)
        with self._database.write() as tx:
            row = _open_row(tx, name)
            campaign, moment = _campaign(row), _moment(tx)
            pair = tx.execute(_queue(row.number, campaign, rater, moment, retired_arms(tx, campaign))).first()
            if pair is None:
                return None
            known = {"given_at": moment, "choice": None, "voted_at": None}
            mine = (_B.pair == pair.number) & (_B.rater == rater)
            if not tx.execute(update(rated.ballots).where(mine).values(known)).rowcount:
                item = tx.execute(select(_I.key).where(_I.number == pair.item)).scalar_one()
                order = campaign.swapped(item, pair.first, pair.second, rater)
                made = {"id": new_id("ballot-"), "campaign": row.number, "pair": pair.number, "rater": rater}
                tx.execute(insert(rated.ballots).values(**made, swapped=order, **known))
            return _ballot(tx, campaign, tx.execute(select(rated.ballots).where(mine)).one())

    def vote(self, name: str, ballot: str, rater: str, choice: Choice) -> dict[str, str]:
        """Keep it. Where the campaign reveals, whose answers A and B were; else nothing.

        Raises `NotFound` for a ballot that this rater was not given, `Conflict` for one that is voted on, or that
        waited so long that others have been given the pair, `NotAllowed` for a campaign that is closed.
        """
        rater = _rater(rater)
        with self._database.write() as tx:
            campaign = _campaign(row := _open_row(tx, name))
            given = _given(tx, row, ballot, rater)
            if given.choice is not None:
                raise Conflict(f"this ballot is voted on; `dabt rate undo {name}` takes the last vote back")
            moment = _moment(tx)
            others = select(func.count()).where((_B.pair == given.pair) & (_B.rater != rater) & _counts(_B, moment))
            if tx.execute(others).scalar_one() >= campaign.votes:
                raise Conflict("this ballot waited so long that others were given it: ask for the next")
            tx.execute(
                update(rated.ballots).where(_B.number == given.number).values(choice=choice.value, voted_at=moment)
            )
            audit.append(tx, rater, "rating.vote", name, {"ballot": ballot, "choice": choice.value})
            return _whose(tx, given) if campaign.reveal else {}

    def revealed(self, name: str, ballot: str, rater: str) -> dict[str, str]:
        """The same once more, after the vote; nothing where the campaign does not reveal, and before the vote.

        Raises `NotFound` for a ballot that this rater was not given.
        """
        with self._database.read() as tx:
            campaign = _campaign(row := _row(tx, name))
            given = _given(tx, row, ballot, rater)
            return _whose(tx, given) if campaign.reveal and given.choice is not None else {}

    def undo(self, name: str, rater: str) -> Ballot:
        """Take the rater's last vote or skip back: the ballot is before them again, as it was.

        Raises `NotFound` when there is none, `NotAllowed` for a closed campaign and for one that reveals.
        """
        rater = _rater(rater)
        with self._database.write() as tx:
            campaign = _campaign(row := _open_row(tx, name))
            if campaign.reveal:
                raise NotAllowed(f"{name} tells whose answers they were after each vote, so no vote is taken back")
            mine = (_B.campaign == row.number) & (_B.rater == rater) & _B.choice.is_not(None)
            newest = select(rated.ballots).where(mine).order_by(_B.voted_at.desc(), _B.number.desc()).limit(1)
            if (last := tx.execute(newest).first()) is None:
                raise NotFound(f"{rater} has no vote in {name} to take back", place="rater")
            again = {"choice": None, "voted_at": None, "given_at": _moment(tx)}
            tx.execute(update(rated.ballots).where(_B.number == last.number).values(again))
            audit.append(tx, rater, "rating.undo", name, {"ballot": last.id, "choice": last.choice})
            return _ballot(tx, campaign, last)

    def progress(self, name: str) -> CampaignProgress:
        """Raises `NotFound`."""
        with self._database.read() as tx:
            row = _row(tx, name)
            campaign, moment = _campaign(row), _moment(tx)
            retired, here = sorted(retired_arms(tx, campaign)), _B.campaign == row.number

            def count(where: ColumnElement[bool]) -> int:
                return int(tx.execute(select(func.count()).where(where)).scalar_one())

            pairs, asked = _P.campaign == row.number, _P.settled.is_(None)
            resting = pairs & asked & (_P.first.in_(retired) | _P.second.in_(retired))
            rested = select(_P.number).where(resting)
            raters = select(_B.rater, func.count()).where(here & _voted(_B)).group_by(_B.rater).order_by(_B.rater)
            return CampaignProgress(
                pairs=count(pairs & asked),
                settled=count(pairs & ~asked),
                resting=count(resting),
                wanted=(count(pairs & asked) - count(resting)) * campaign.votes
                + count(here & _voted(_B) & _B.pair.in_(rested)),
                votes=count(here & _voted(_B)),
                waiting=0 if row.closed_at else count(here & _B.choice.is_(None) & (_B.given_at > moment - LEASE)),
                skipped=count(here & (_B.choice == Choice.SKIP.value)),
                raters=dict(tx.execute(raters).all()),
            )


def _queue(number: int, campaign: Campaign, rater: str, moment: datetime, retired: set[str]) -> Any:
    """What this rater is to be given: what they have already, the newest first; else what lacks most votes."""
    mine, others = rated.ballots, rated.ballots.alias("others")
    here = and_(others.c.pair == _P.number, others.c.rater != rater, _counts(others.c, moment))
    taken = select(func.count(others.c.number)).where(here).correlate(rated.pairs).scalar_subquery()
    free = (_P.campaign == number) & _P.settled.is_(None) & (taken < campaign.votes)
    if campaign.evaluation is None:
        free &= _P.item.not_in(collected_by(number, rater))
    if retired:
        free &= _P.first.not_in(sorted(retired)) & _P.second.not_in(sorted(retired))
    joined = rated.pairs.outerjoin(mine, and_(_B.pair == _P.number, _B.rater == rater))
    before = case((_B.number.is_not(None), 0), else_=1)
    ahead = case((_P.place >= campaign.begins(rater), 0), else_=1)
    order = (before, _B.given_at.desc(), taken, ahead, _P.place, _P.number)
    return select(rated.pairs).select_from(joined).where(free & _B.choice.is_(None)).order_by(*order).limit(1)


def _voted(ballots: Any) -> ColumnElement[bool]:
    voted: ColumnElement[bool] = ballots.choice.is_not(None) & (ballots.choice != Choice.SKIP.value)
    return voted


def _counts(ballots: Any, moment: datetime) -> ColumnElement[bool]:
    """Ballots that are votes, or may become one."""
    return or_(_voted(ballots), ballots.choice.is_(None) & (ballots.given_at > moment - LEASE))


def _open(tx: Connection, campaign: Campaign, items: Sequence[RatedItem], actor: str) -> None:
    row = {"name": campaign.name, "evaluation": campaign.evaluation or "", "created_at": campaign.created_at}
    body = campaign.model_dump(mode="json", exclude={"closed_at"})
    tx.execute(insert(rated.campaigns).values(**row, body=body))
    number = _row(tx, campaign.name).number
    for at in range(0, len(items), _AT_ONCE):
        _add(tx, campaign, number, items[at : at + _AT_ONCE])
    arms = {label: arm.ref for label, arm in campaign.arms.items()}
    detail = {"evaluation": campaign.evaluation, "arms": arms, "items": len(items), "votes": campaign.votes}
    audit.append(tx, actor, "rating.create", campaign.name, detail)


def _moment(tx: Connection) -> datetime:
    """By the registry's one clock (`database.now`)."""
    if tx.dialect.name == "sqlite":
        return datetime.now(UTC)
    moment: datetime = tx.execute(select(func.now())).scalar_one()
    return moment


def _add(tx: Connection, campaign: Campaign, number: int, items: Sequence[RatedItem]) -> None:
    rows = [{"campaign": number, "key": item.key, "body": item.model_dump(mode="json")} for item in items]
    tx.execute(insert(rated.items), rows)
    keys = select(_I.key, _I.number).where((_I.campaign == number) & _I.key.in_([item.key for item in items]))
    numbers = dict(tx.execute(keys).all())
    pairs = [
        {
            "campaign": number,
            "item": numbers[item.key],
            "first": first,
            "second": second,
            "place": campaign.place(item.key, first, second),
            "settled": settled.value if (settled := item.settled(first, second)) else None,
        }
        for item in items
        for first, second in campaign.pairs
    ]
    tx.execute(insert(rated.pairs), pairs)


def _row(tx: Connection, name: str) -> Row[Any]:
    row = tx.execute(select(rated.campaigns).where(_C.name == name)).first()
    if row is None:
        raise NotFound(f"there is no campaign {name}; `dabt rate list` shows what there is", place="campaign")
    return row


def _open_row(tx: Connection, name: str) -> Row[Any]:
    row = _row(tx, name)
    if row.closed_at is not None:
        raise NotAllowed(f"{name} is closed: nobody votes in it any more")
    return row


def _given(tx: Connection, campaign: Row[Any], ballot: str, rater: str) -> Row[Any]:
    here = (_B.campaign == campaign.number) & (_B.id == ballot) & (_B.rater == _rater(rater))
    if (given := tx.execute(select(rated.ballots).where(here)).first()) is None:
        raise NotFound(f"{campaign.name} gave {rater} no ballot {ballot}", place="ballot")
    return given


def _whose(tx: Connection, given: Row[Any]) -> dict[str, str]:
    """Which arms' answers stood as A and as B."""
    pair = tx.execute(select(rated.pairs).where(_P.number == given.pair)).one()
    first, second = (pair.second, pair.first) if given.swapped else (pair.first, pair.second)
    return {Choice.A.value: first, Choice.B.value: second}


def _rater(rater: str) -> str:
    try:
        return TypeAdapter(Rater).validate_python(rater)
    except ValidationError:
        problem = Problem("rater", f"{rater!r:.80} is no name", "write 1 to 64 characters, on one line")
        raise InvalidInput("nobody can vote under this name:", [problem]) from None


def _campaign(row: Row[Any]) -> Campaign:
    return valid(Campaign, {**row.body, "closed_at": row.closed_at}, row.name)


def _item(row: Row[Any]) -> RatedItem:
    return valid(RatedItem, row.body, row.key)


def _ballot(tx: Connection, campaign: Campaign, given: Row[Any]) -> Ballot:
    pair = tx.execute(select(rated.pairs).where(_P.number == given.pair)).one()
    item = _item(tx.execute(select(rated.items).where(_I.number == pair.item)).one())
    answers = item.answers[pair.first] or "", item.answers[pair.second] or ""
    a, b = reversed(answers) if given.swapped else answers
    return Ballot(
        id=given.id,
        campaign=campaign.name,
        question=campaign.question,
        messages=item.messages,
        target=item.target if campaign.show_target else None,
        a=a,
        b=b,
    )


def _ratings(tx: Connection, row: Row[Any]) -> Ratings:
    items = [
        _item(item) for item in tx.execute(select(rated.items).where(_I.campaign == row.number).order_by(_I.number))
    ]
    joined = rated.pairs.join(rated.items, _P.item == _I.number)
    pairs = select(_I.key, _P.first, _P.second, _P.settled).select_from(joined)
    settled = tx.execute(pairs.where((_P.campaign == row.number) & _P.settled.is_not(None)).order_by(_P.number))
    cast = (
        select(_I.key, _P.first, _P.second, _B.rater, _B.choice, _B.swapped, _B.voted_at)
        .select_from(joined.join(rated.ballots, _B.pair == _P.number))
        .where((_P.campaign == row.number) & _B.choice.is_not(None))
        .order_by(_B.number)
    )
    return Ratings(
        campaign=_campaign(row),
        items=tuple(items),
        votes=tuple(_vote(vote) for vote in tx.execute(cast)),
        settled=tuple(
            Settled(item=pair.key, first=pair.first, second=pair.second, preferred=Preferred(pair.settled))
            for pair in settled
        ),
    )


def _vote(row: Any) -> Vote:
    said = _SIDES.get(Choice(row.choice))
    preferred = said.turned if said and row.swapped else said
    names = {"item": row.key, "first": row.first, "second": row.second, "rater": row.rater}
    return Vote(**names, preferred=preferred, swapped=row.swapped, at=row.voted_at)
