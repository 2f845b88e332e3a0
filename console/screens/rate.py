"""Blind ratings: the campaigns, two answers and the rater's word on them, and what votes come to when all is said."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from console.api import Refused
from console.forms import form_of
from console.language import N_
from console.markdown import readable, rendered
from console.rendering import language_of, show
from console.viewer import viewer_of
from lifecycle.conversation import texts_in
from lifecycle.errors import InvalidInput
from lifecycle.rating import QUESTION
from service.routes_ratings import HERE

if TYPE_CHECKING:
    from evals.people.results import Agreement, CampaignResults
    from lifecycle.rating import Ratings

router = APIRouter(prefix="/ui/rate")
RATER = "dabt_rater"
"""The cookie with the name of who rates, where there are no keys."""
_API = "/v1/dabt/ratings"
_YEAR = 365 * 24 * 3600
_ROLES = {"system": N_("Instructions"), "user": N_("Question"), "assistant": N_("Answer before"), "tool": N_("Tool")}
_ASKED = N_("Which answer is better?")
"""What a campaign asks unless it was told otherwise; other questions are their authors'."""
assert _ASKED == QUESTION
CHOICES = (
    ("a", "Digit1", "1", N_("The first is better")),
    ("b", "Digit2", "2", N_("The second is better")),
    ("tie", "Digit3", "3", N_("Both are as good")),
    ("both_bad", "Digit0", "0", N_("Both are bad")),
    ("skip", "KeyS", "S", N_("Skip")),
)
"""What is said, the key's place on the keyboard, what is printed there on most, and the words."""


@router.get("")
async def campaigns(request: Request) -> Response:
    asked = request.query_params
    state = asked.get("state", "open")
    query = {"state": state, "limit": "20", **({"after": asked["after"]} if "after" in asked else {})}
    listed = await request.app.state.api.call(viewer_of(request), "GET", _API, query=query)
    listed["data"] = [_dated(campaign) for campaign in listed["data"]]
    return show(request, "rate/campaigns.html", listed=listed, state=state, rater=_rater(request))


@router.post("")
async def name(request: Request) -> Response:
    """Who rates, where there are no keys."""
    form = await form_of(request)
    answer = RedirectResponse("/ui/rate", 303)
    answer.set_cookie(RATER, quote(form.get("rater", "").strip()[:64]), _YEAR, path="/ui", samesite="strict")
    return answer


@router.get("/{campaign}")
async def ballot(request: Request, campaign: str, after: str = "", undone: bool = False) -> Response:
    were = None
    if after:
        try:
            asked = {"rater": _rater(request)}
            told = await _asked(request, "GET", f"{campaign}/votes/{after}", query=asked)
            were = told["were"]
        except Refused:
            pass  # the vote was taken back, or the address is an old one
    return await _ballot(request, campaign, after=after, were=were, undone=undone)


@router.post("/{campaign}")
async def vote(request: Request, campaign: str) -> Response:
    form = await form_of(request)
    said = {"ballot": form.get("ballot", ""), "choice": form.get("choice", ""), "rater": _rater(request)}
    try:
        await _asked(request, "POST", f"{campaign}/votes", said)
    except Refused as refused:
        if refused.status != 409:
            raise
        return await _ballot(request, campaign, 409, problem=refused.message)
    return RedirectResponse(f"/ui/rate/{quote(campaign)}?after={quote(said['ballot'])}", 303)


@router.post("/{campaign}/undo")
async def undo(request: Request, campaign: str) -> Response:
    try:
        await _asked(request, "POST", f"{campaign}/undo", {"rater": _rater(request)})
    except Refused as refused:
        return await _ballot(request, campaign, refused.status, problem=refused.message)
    return RedirectResponse(f"/ui/rate/{quote(campaign)}?undone=1", 303)


@router.get("/{campaign}/standing")
async def standing(request: Request, campaign: str) -> Response:
    """How far it is and how far raters agree; what the votes come to when it is closed."""
    there = _dated(await _asked(request, "GET", campaign))
    state = request.app.state
    ratings = await state.parts.at_registry.run(state.registry.ratings.ratings, campaign)
    agreement, results = await asyncio.to_thread(_figures, ratings)
    return show(request, "rate/standing.html", campaign=there, agreement=agreement, results=results)


@router.post("/{campaign}/close")
async def close(request: Request, campaign: str) -> Response:
    form = await form_of(request)
    reason = form.get("reason", "").strip()
    await _asked(request, "POST", f"{campaign}/close", {"reason": reason, "actor": "console"})
    return RedirectResponse(f"/ui/rate/{quote(campaign)}/standing", 303)


async def _ballot(request: Request, campaign: str, status: int = 200, **told: Any) -> Response:
    """The next pair for this rater, with what is to be said of the last."""
    there = _dated(await _asked(request, "GET", campaign))
    given = None
    if there["closed_at"] is None:
        given = (await _asked(request, "POST", f"{campaign}/next", {"rater": _rater(request)}))["ballot"]
    said = language_of(request)
    question = said.text(_ASKED) if there["question"] == QUESTION else there["question"]
    values = {"after": "", "were": None, "undone": False, "problem": "", **told}
    if given is not None:
        values["answers"] = [await asyncio.to_thread(rendered, given[which]) for which in ("a", "b")]
        values["messages"] = [
            (said.text(_ROLES.get(message["role"], "Question")), readable(texts_in(message.get("content"))))
            for message in given["messages"]
        ]
    return show(
        request, "rate/ballot.html", status, campaign=there, ballot=given, question=question, choices=CHOICES,
        rater=_rater(request), mine=there["progress"]["raters"].get(_rater(request), 0), **values,
    )  # fmt: skip


async def _asked(request: Request, method: str, path: str, body: Any = None, **more: Any) -> Any:
    return await request.app.state.api.call(viewer_of(request), method, f"{_API}/{path}", body, **more)


def _dated(campaign: dict[str, Any]) -> dict[str, Any]:
    moments = {name: at and datetime.fromisoformat(at) for name, at in campaign.items() if name.endswith("_at")}
    return {**campaign, **moments}


def _rater(request: Request) -> str:
    viewer = viewer_of(request)
    return viewer.called or unquote(request.cookies.get(RATER, "")).strip() or HERE


def _figures(ratings: Ratings) -> tuple[Agreement, CampaignResults | None]:
    from evals.people.results import agreement_of, results_of

    results = None
    if ratings.campaign.closed_at is not None:
        with suppress(InvalidInput):  # nobody has voted
            results = results_of(ratings)
    return agreement_of(ratings), results
