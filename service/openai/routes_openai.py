"""The OpenAI API: parse once, one call, return."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from fastapi import APIRouter, Request
from pydantic_core import to_json
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from lifecycle.errors import InvalidInput, Problem
from service.engine.interface import Kind
from service.openai import allowed_fields, models, responses
from service.openai import embeddings as embedding
from service.openai.event_stream import EventStream
from service.openai.http_input import json_object, unless_disconnected
from service.openai.messages import check_messages
from service.openai.prompts import check_tokens
from service.parts import parts_of
from service.request_context import context_of
from service.resolution import caller_of
from service.serving import Reply, Service

router = APIRouter()


@router.post("/v1/chat/completions")
async def chat_completions(request: Request) -> Response:
    return await _answer(request, "chat")


@router.post("/v1/completions")
async def completions(request: Request) -> Response:
    return await _answer(request, "completion")


@router.post("/v1/responses")
async def create_response(request: Request) -> Response:
    body = await json_object(request, request.app.state.body_limit)
    return await _sent(request, responses.answer(_service(request), body, context_of(request)))


@router.api_route("/v1/responses/{response_id:path}", methods=["GET", "POST", "DELETE"])
async def kept_response(request: Request, response_id: str) -> Response:
    raise responses.not_kept(response_id)


@router.post("/v1/embeddings")
async def embeddings(request: Request) -> Response:
    body = await json_object(request, request.app.state.body_limit)
    try:
        return _json(
            await unless_disconnected(request.receive, embedding.answer(parts_of(request), body, context_of(request)))
        )
    except ClientDisconnect:
        return Response(status_code=499)  # nobody reads it


@router.get("/v1/models")
async def list_models(request: Request) -> Response:
    parts = parts_of(request)
    caller = caller_of({}, context_of(request))
    cards = models.listed(parts.catalogue.snapshot, await models.running(parts), caller)
    return _json({"object": "list", "data": cards})


@router.get("/v1/models/{model:path}")
async def retrieve_model(request: Request, model: str) -> Response:
    parts = parts_of(request)
    caller = caller_of({}, context_of(request))
    return _json(models.found(model, parts.catalogue.snapshot, await models.running(parts), caller))


@router.post("/tokenize")
async def tokenize(request: Request) -> Response:
    """The base's tokenizer and chat template on the caller's own text, without any version's recipe."""
    body = await json_object(request, request.app.state.body_limit)
    if "messages" in body:
        body = check_messages(body)
    elif not isinstance(body.get("prompt"), str):
        raise InvalidInput("The request is not valid:", [Problem("prompt", "must be a string", "or send messages")])
    return _json(await parts_of(request).engine.tokenize(allowed_fields.for_tokenizer(body)))


@router.post("/detokenize")
async def detokenize(request: Request) -> Response:
    body = await json_object(request, request.app.state.body_limit)
    check_tokens(body)
    return _json(await parts_of(request).engine.detokenize(body))


async def _answer(request: Request, kind: Kind) -> Response:
    body = await json_object(request, request.app.state.body_limit)
    return await _sent(request, _service(request).answer(kind, body, context_of(request)))


async def _sent(request: Request, answer: Coroutine[Any, Any, Reply]) -> Response:
    try:
        reply = await unless_disconnected(request.receive, answer)
    except ClientDisconnect:
        return Response(status_code=499)  # nobody reads it
    if reply.events is not None:
        return EventStream(reply.first, reply.events)
    return _json(reply.body)


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _json(value: object) -> Response:
    return Response(to_json(value, inf_nan_mode="null"), media_type="application/json")
