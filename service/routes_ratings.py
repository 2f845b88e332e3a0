"""People's blind ratings over HTTP: campaigns with how far they are, ballots and votes, and answers that are collected.

The same book as `dabt rate` (`lifecycle/registry/rating_book.py`). With keys the rater is the key's holder; without
any, whoever the request says. Nothing here tells whose an answer is, but to a rater who has voted where the campaign
reveals. What votes come to is for `evals`, and the pages: `dabt rate results`.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from itertools import combinations
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import JSONResponse, Response

from lifecycle.access.keys import allows
from lifecycle.errors import Forbidden, InvalidInput, Problem
from lifecycle.rating import QUESTION, Campaign, CampaignProgress, Choice, RatedArm, RatedItem, Rater
from lifecycle.registry.rating_book import RatingBook
from lifecycle.version import Digest, Frozen, Ref, digest_of
from service.access.authentication import actor_of
from service.admin import Text, registry_of
from service.openai.http_input import admin_body
from service.openai.messages import check_messages
from service.parts import parts_of
from service.request_context import context_of

router = APIRouter(prefix="/v1/dabt/ratings")
HERE = "local"
"""Who rates where there are no keys and the request names nobody."""
COLLECTED = "conversations"
"""The task of a campaign whose answers are collected."""
_MOST = 100


class Asked(Frozen):
    rater: Rater = HERE


class VoteAsked(Asked):
    ballot: Text
    choice: Choice


class Closing(Frozen):
    reason: str = ""
    actor: Text = "api"


class Answered(Frozen):
    """What a version answered, by the headers of its answer."""

    version: Text
    digest: Digest
    deployment: Digest | None = None
    text: Annotated[str, Field(max_length=200_000)]


class Conversation(Frozen):
    messages: tuple[dict[str, Any], ...] = Field(min_length=1)
    """What every version was asked; earlier answers may differ, and are left out then."""
    answers: tuple[Answered, ...] = Field(min_length=2, max_length=6)
    votes: int = Field(default=2, ge=1, le=100)
    question: Annotated[str, Field(min_length=1, max_length=500)] = QUESTION
    actor: Text = "api"


@router.get("")
async def campaigns(request: Request, state: str = "all", limit: int = 20, after: str = "") -> Response:
    """Newest first, those whose versions the key covers: `state` is open, closed or all; `after` is a name."""
    if state not in ("open", "closed", "all") or not 1 <= limit <= _MOST:
        raise InvalidInput(f"state is open, closed or all, and limit is 1 to {_MOST}")
    page, more = await parts_of(request).at_registry.run(_page, request, state, limit, after)
    return JSONResponse({"object": "list", "data": [_shown(*row) for row in page], "has_more": more})


@router.get("/{name}")
async def campaign(request: Request, name: str) -> Response:
    return JSONResponse(_shown(*await parts_of(request).at_registry.run(_far, request, name)))


@router.post("/{name}/next")
async def following(request: Request, name: str) -> Response:
    """What the rater is to vote on now; `ballot` is null when nothing is left for them."""
    asked = await admin_body(request, Asked)
    ballot = await _in(request, name, "next", rater_of(request, asked.rater))
    return JSONResponse({"ballot": None if ballot is None else ballot.model_dump(mode="json")})


@router.post("/{name}/votes")
async def vote(request: Request, name: str) -> Response:
    """`were` says whose answers A and B were, where the campaign reveals; else it is null."""
    asked = await admin_body(request, VoteAsked)
    rater = rater_of(request, asked.rater)
    were = await _in(request, name, "vote", asked.ballot, rater, asked.choice)
    return JSONResponse({"ballot": asked.ballot, "choice": asked.choice.value, "were": were or None})


@router.get("/{name}/votes/{ballot}")
async def voted(request: Request, name: str, ballot: str, rater: str = HERE) -> Response:
    """`were` once more, after the vote."""
    were = await _in(request, name, "revealed", ballot, rater_of(request, rater))
    return JSONResponse({"ballot": ballot, "were": were or None})


@router.post("/{name}/undo")
async def undo(request: Request, name: str) -> Response:
    """Takes the rater's last vote back, and gives its ballot."""
    asked = await admin_body(request, Asked)
    ballot = await _in(request, name, "undo", rater_of(request, asked.rater))
    return JSONResponse({"ballot": ballot.model_dump(mode="json")})


@router.post("/{name}/close")
async def close(request: Request, name: str) -> Response:
    asked = await admin_body(request, Closing)
    at, book = parts_of(request).at_registry, _book(request)
    await at.run(_covered, request, name)
    closed = await at.run(lambda: book.close(name, actor=actor_of(request, asked.actor), reason=asked.reason))
    return JSONResponse(_shown(closed, await at.run(book.progress, name)))


@router.post("/{name}/answers")
async def collect(request: Request, name: str) -> Response:
    """Put the answers to one conversation before raters; the campaign is opened where there is none of the name."""
    asked = await admin_body(request, Conversation)
    check_messages({"messages": [dict(message) for message in asked.messages]})
    made, item = _campaign(request, name, asked), _item(request, asked)
    _check(request, made)
    at, book = parts_of(request).at_registry, _book(request)
    there = await at.run(lambda: book.collect(made, item, actor=actor_of(request, asked.actor)))
    return JSONResponse(_shown(there, await at.run(book.progress, name)))


def rater_of(request: Request, said: str) -> str:
    """The key's holder, under the name that `dabt rate --rater` would give; without keys, whoever the request says."""
    key = context_of(request).key
    return said if key is None else key.name


async def _in(request: Request, name: str, what: str, *values: Any) -> Any:
    def asked() -> Any:
        _covered(request, name)
        return getattr(_book(request), what)(name, *values)

    return await parts_of(request).at_registry.run(asked)


def _page(request: Request, state: str, limit: int, after: str) -> tuple[list[tuple[Campaign, CampaignProgress]], bool]:
    book = _book(request)
    there = [it for it in book.all() if _covers(request, it)]
    there = [it for it in there if state == "all" or (it.closed_at is None) == (state == "open")]
    at = next((at for at, it in enumerate(there, 1) if it.name == after), 0)
    page = there[at : at + limit]
    return [(it, book.progress(it.name)) for it in page], len(there) > at + limit


def _far(request: Request, name: str) -> tuple[Campaign, CampaignProgress]:
    return _covered(request, name), _book(request).progress(name)


def _covered(request: Request, name: str) -> Campaign:
    campaign = _book(request).get(name)
    _check(request, campaign)
    return campaign


def _check(request: Request, campaign: Campaign) -> None:
    """Raises `Forbidden` where the key does not cover a version whose answers are rated, and does not name it."""
    if not _covers(request, campaign):
        raise Forbidden(f"the {context_of(request).key} is not for all versions whose answers {campaign.name} has")


def _covers(request: Request, campaign: Campaign) -> bool:
    key = context_of(request).key
    return key is None or all(allows(key.models, arm.ref) for arm in campaign.arms.values())


def _campaign(request: Request, name: str, asked: Conversation) -> Campaign:
    """Raises `InvalidInput` with everything that is wrong."""
    base = parts_of(request).base
    arms: dict[str, RatedArm] = {}
    problems: list[Problem] = []
    for at, answer in enumerate(asked.answers):
        is_base = (answer.version, answer.digest) == (base.name, base.digest)
        if answer.version in arms:
            problems.append(Problem(f"answers.{at}.version", f"{answer.version} is there twice", "send one of them"))
        elif not is_base and Ref.parse(answer.version).number is None:
            problems.append(Problem(f"answers.{at}.version", "is no version", f"write one such as {answer.version}:3"))
        arms[answer.version] = RatedArm(
            ref=answer.version, version_digest=answer.digest, deployment=answer.deployment, is_base=is_base
        )
    if problems:
        raise InvalidInput("these answers cannot be rated:", problems)
    try:
        return Campaign(
            name=name,
            task=COLLECTED,
            arms=arms,
            pairs=tuple(combinations(sorted(arms), 2)),
            votes=asked.votes,
            question=asked.question,
            seed=secrets.randbelow(2**32),
            created_at=datetime.now(UTC),
            created_by=actor_of(request, asked.actor),
        )
    except ValueError:
        problem = Problem("name", f"{name[:80]!r} is no name", "write lower-case letters, digits, - and _, at most 63")
        raise InvalidInput("no campaign can have this name:", [problem]) from None


def _item(request: Request, asked: Conversation) -> RatedItem:
    answers = {answer.version: answer.text for answer in asked.answers}
    digest = digest_of([list(asked.messages), answers])
    key = context_of(request).key
    return RatedItem(
        key=digest,
        name=digest[7:19],
        messages=asked.messages,
        answers=dict(answers),
        collected_by=None if key is None else key.name,
    )


def _shown(campaign: Campaign, far: CampaignProgress) -> dict[str, Any]:
    """Without the seed, which tells whose an answer is, and without the arms: raters need not know who takes part."""
    facts = campaign.model_dump(
        mode="json", include={"name", "task", "question", "votes", "show_target", "reveal", "created_at", "closed_at"}
    )
    return {"object": "rating.campaign", **facts, "progress": far.model_dump(mode="json")}


def _book(request: Request) -> RatingBook:
    return registry_of(request).ratings
