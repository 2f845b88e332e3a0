"""The OpenAI API: parse once, one call, return."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic_core import to_json
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from service import models
from service.engine import Kind
from service.event_stream import EventStream
from service.http_input import json_object, unless_disconnected
from service.serving import Service, caller_of

router = APIRouter()


@router.post("/v1/chat/completions")
async def chat_completions(request: Request) -> Response:
    return await _answer(request, "chat")


@router.post("/v1/completions")
async def completions(request: Request) -> Response:
    return await _answer(request, "completion")


@router.get("/v1/models")
async def list_models(request: Request) -> Response:
    parts = _service(request).parts
    cards = models.listed(parts.catalogue.snapshot, parts.base, caller_of({}, request.headers))
    return _json({"object": "list", "data": cards})


@router.get("/v1/models/{model:path}")
async def retrieve_model(request: Request, model: str) -> Response:
    parts = _service(request).parts
    return _json(models.found(model, parts.catalogue.snapshot, parts.base, caller_of({}, request.headers)))


@router.post("/tokenize")
async def tokenize(request: Request) -> Response:
    """The base's tokenizer and chat template on the caller's own text, without any version's recipe."""
    body = await json_object(request, request.app.state.body_limit)
    return _json(await _service(request).parts.engine.tokenize(body))


@router.post("/detokenize")
async def detokenize(request: Request) -> Response:
    body = await json_object(request, request.app.state.body_limit)
    return _json(await _service(request).parts.engine.detokenize(body))


async def _answer(request: Request, kind: Kind) -> Response:
    body = await json_object(request, request.app.state.body_limit)
    answer = _service(request).answer(kind, body, request.headers)
    try:
        reply = await unless_disconnected(request.receive, answer)
    except ClientDisconnect:
        return Response(status_code=499)  # nobody reads it
    if reply.events is not None:
        return EventStream(reply.first, reply.events, reply.headers)
    return _json(reply.body, reply.headers)


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _json(value: object, headers: dict[str, str] | None = None) -> Response:
    return Response(to_json(value, inf_nan_mode="null"), headers=headers, media_type="application/json")
