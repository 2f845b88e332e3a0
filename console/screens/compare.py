"""One conversation to several versions side by side: the page, the stream of answers, and a pair's way to raters."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Request
from pydantic import Field, ValidationError
from starlette.responses import JSONResponse, Response

from console.api import Refused
from console.callable_names import callable_names
from console.forms import fields_of
from console.heard import heard
from console.markdown import rendered
from console.rendering import language_of, show
from console.side_by_side import MOST, Question, SideBySide
from console.viewer import viewer_of
from console.whole_answers import Conversation, earlier, whole_answers
from lifecycle.access.keys import Role
from lifecycle.errors import DabtError, InvalidInput, NotFound
from lifecycle.registry import Registry
from lifecycle.validation import problems_of
from lifecycle.version import Frozen, digest_of
from service.openai import http_errors
from service.openai.http_input import json_object, unless_disconnected

Body = TypeVar("Body", bound=Frozen)

router = APIRouter(prefix="/ui/compare")
SAMPLING = ("temperature", "max_tokens", "seed")


class Texts(Frozen):
    texts: tuple[str, ...] = Field(max_length=200)


class Pair(Frozen):
    messages: tuple[dict[str, Any], ...]
    answers: Annotated[tuple[dict[str, Any], ...], Field(min_length=2, max_length=2)]
    """`version`, `digest` and `text` of each."""


@router.get("")
async def compare(request: Request) -> Response:
    asked = request.query_params
    return _page(request, asked.getlist("m"), {name: asked.get(name, "") for name in SAMPLING})


@router.post("")
async def whole(request: Request) -> Response:
    """The form of a page without scripts: answered when all versions have answered."""
    fields = await fields_of(request)
    names, form = [value for name, value in fields if name == "m"], dict(fields)
    sampling = {name: form.get(name, "").strip() for name in SAMPLING}
    told: dict[str, Any] = {name: form.get(name, "") for name in ("question", "system", "before")}
    try:
        conversation = _conversation(names, sampling, told)
        answers = await unless_disconnected(
            request.receive, whole_answers(request.app.state.api, viewer_of(request), conversation)
        )
    except InvalidInput as error:
        return _page(request, names, sampling, 400, problem=str(error), **told)
    told["before"] = conversation.after(answers)
    return _page(request, names, sampling, answers=answers, conversation=conversation, **told)


def _conversation(names: Sequence[str], sampling: Mapping[str, str], told: Mapping[str, str]) -> Conversation:
    """Raises `InvalidInput` with all that is wrong."""
    body = {
        "models": _models(names),
        "question": told["question"],
        "system": told["system"],
        "sampling": {name: value for name, value in sampling.items() if value},
    }
    before = earlier(told["before"])
    try:
        return Conversation.model_validate({**body, "before": before})
    except ValidationError as error:
        raise InvalidInput("The request is not valid:", problems_of(error, body)) from error


def _models(names: Sequence[str]) -> list[str]:
    return [name.strip()[:200] for name in names if name.strip()][:MOST]


def _page(
    request: Request, names: Sequence[str], sampling: Mapping[str, str], status: int = 200, **values: Any
) -> Response:
    models = _models(names)
    places = min(MOST, max(2, len(models) + 1))
    bare: dict[str, Any] = {"answers": [], "problem": "", "question": "", "system": "", "before": ""}
    return show(
        request,
        "compare/page.html",
        status,
        models=[*models, *[""] * (places - len(models))],
        most=MOST,
        sampling=sampling,
        names=_names(request, ""),
        may_rate=viewer_of(request).may(Role.EVALUATOR),
        version_page=_version_page,
        anew="/ui/compare?" + urlencode([("m", model) for model in models]),
        **{**bare, **values},
    )


def _version_page(ref: str) -> str:
    name, _, number = ref.partition(":")
    return f"/ui/versions/{quote(name, safe='')}/{number}" if number.isdecimal() else "/ui/versions"


@router.get("/names")
async def names(request: Request, q: str = "") -> Response:
    return JSONResponse(_names(request, q[:200]))


@router.post("/answers")
async def answers(request: Request) -> Response:
    try:
        question = await _body(request, Question)
    except DabtError as error:
        return http_errors.response(error)
    return SideBySide(request.app.state.api, viewer_of(request), question)


@router.post("/markdown")
async def markdown(request: Request) -> Response:
    """The answers of a conversation that a page shows again."""
    try:
        asked = await _body(request, Texts)
    except DabtError as error:
        return http_errors.response(error)
    return JSONResponse([await asyncio.to_thread(rendered, text) for text in asked.texts])


@router.post("/pairs")
async def pairs(request: Request) -> Response:
    """Two answers go to the raters' queue, in a campaign of the two versions."""
    try:
        pair = await _body(request, Pair)
        api, parts = request.app.state.api, request.app.state.parts
        refs = [str(answer.get("version", "")) for answer in pair.answers]
        name = await parts.at_registry.run(_campaign, request.app.state.registry, refs)
        made = await api.call(
            viewer_of(request), "POST", f"/v1/dabt/ratings/{name}/answers", pair.model_dump(mode="json")
        )
    except Refused as refused:
        message = heard(refused.message, language_of(request)) or refused.message
        return JSONResponse({"error": {"message": message, "code": refused.code}}, refused.status)
    except DabtError as error:
        return http_errors.response(error)
    return JSONResponse({"campaign": made["name"], "pairs": made["progress"]["pairs"]})


def _names(request: Request, typed: str) -> list[str]:
    parts = request.app.state.parts
    return callable_names(typed, viewer_of(request), parts.catalogue.snapshot, parts.base)


def _campaign(registry: Registry, refs: list[str]) -> str:
    """`triage-1-and-triage-2`, or with a number behind it when that one is closed."""
    first = re.sub(r"[^a-z0-9]+", "-", "-and-".join(sorted(refs)).lower()).strip("-")
    if len(first) > 50:
        first = f"{first[:40].rstrip('-')}-{digest_of(sorted(refs))[7:15]}"
    number = 1
    while True:
        name = first if number == 1 else f"{first}-{number}"
        try:
            if registry.ratings.get(name).closed_at is None:
                return name
        except NotFound:
            return name
        number += 1


async def _body(request: Request, kind: type[Body]) -> Body:
    """Raises `InvalidInput` with all that is wrong."""
    body = await json_object(request, int(request.app.state.config.max_body_mib * 2**20))
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        raise InvalidInput("The request is not valid:", problems_of(error, body)) from error
