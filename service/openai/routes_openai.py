"""The OpenAI API: parse once, one call, return."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog
from fastapi import APIRouter, Request
from pydantic_core import to_json
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from lifecycle.access.keys import Role
from lifecycle.errors import DabtError, Forbidden, InvalidInput, NotAllowed, Problem
from lifecycle.version import Digest
from service.admin import registry_of
from service.engine.interface import Kind
from service.openai import allowed_fields, http_errors, models, responses
from service.openai import embeddings as embedding
from service.openai.event_stream import EventStream
from service.openai.fine_tuning.owner import owner_of, who
from service.openai.http_input import json_object, unless_disconnected
from service.openai.messages import check_messages
from service.openai.prompts import check_tokens
from service.parts import Parts, parts_of
from service.request_context import code_of, context_of
from service.resolution import Caller, caller_of, resolve
from service.serving import STREAMED, Reply, Service

router = APIRouter()

log = structlog.get_logger(__name__)


@router.post("/v1/chat/completions")
async def chat_completions(request: Request) -> Response:
    return await _answer(request, "chat")


@router.post("/v1/completions")
async def completions(request: Request) -> Response:
    return await _answer(request, "completion")


@router.post("/v1/dabt/likelihoods")
async def likelihoods(request: Request) -> Response:
    return await _answer(request, "likelihood")


@router.post("/classify")
@router.post("/v1/classify")
async def classify(request: Request) -> Response:
    return await _answer(request, "classification")


@router.post("/v1/responses")
async def create_response(request: Request) -> Response:
    body = await json_object(request, request.app.state.body_limit)
    answer = responses.answer(_service(request), body, context_of(request))
    return _streamed(request, answer, responses.failed) if body.get("stream") else await _whole(request, answer)


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
    asked = (parts.catalogue.snapshot, await _running(parts), caller)
    page = parts.models.page(*asked)
    if page is None:
        page = await asyncio.to_thread(parts.models.make, *asked)
    tuned = await parts.tuned.all(caller) if may_train(caller) else []
    return Response(models.with_tuned(page, tuned, asked[0], asked[1]), media_type="application/json")


@router.get("/v1/models/{model:path}")
async def retrieve_model(request: Request, model: str) -> Response:
    parts = parts_of(request)
    caller = await parts.tuned.caller(caller_of({}, context_of(request)), model)
    return _json(models.card_of(model, parts.catalogue.snapshot, await _running(parts), caller))


@router.delete("/v1/models/{model:path}")
async def delete_model(request: Request, model: str) -> Response:
    """What a job of the caller's has made: its name is gone, and with the last of its names the version is retired."""
    parts, caller = parts_of(request), caller_of({}, context_of(request))
    if not may_train(caller):
        raise Forbidden(f"the {caller.key} deletes no models: that needs a trainer's or more")
    if not model.startswith("ft:"):
        raise NotAllowed(f"{model!r} was not made by a fine-tuning job; only names that begin with ft: are deleted")
    jobs = registry_of(request).jobs
    await parts.at_registry.run(jobs.delete_tuned, model, owner_of(request), actor=who(request))
    parts.tuned.forget(model)
    await parts.catch_up()
    return _json({"id": model, "object": "model", "deleted": True})


@router.post("/tokenize")
async def tokenize(request: Request) -> Response:
    """The base's tokenizer and chat template on the caller's own text, without any version's recipe."""
    body = await json_object(request, request.app.state.body_limit)
    if "messages" in body:
        body = check_messages(body)
    elif not isinstance(body.get("prompt"), str):
        raise InvalidInput("The request is not valid:", [Problem("prompt", "must be a string", "or send messages")])
    base = await _base_of(request, body)
    return _json(await parts_of(request).engine.tokenize(allowed_fields.for_tokenizer(body), base))


@router.post("/detokenize")
async def detokenize(request: Request) -> Response:
    body = await json_object(request, request.app.state.body_limit)
    check_tokens(body)
    return _json(await parts_of(request).engine.detokenize(body, await _base_of(request, body)))


async def _base_of(request: Request, body: dict[str, Any]) -> Digest:
    """Whose tokenizer is meant, where there are several bases: that of `model`, or the first base's without one."""
    parts, model = parts_of(request), body.get("model")
    if not parts.base.beside or model is None:
        return ""
    caller = await parts.tuned.caller(caller_of(body, context_of(request)), model)
    return resolve(model, caller, parts.catalogue.snapshot, parts.base).base.digest


async def _answer(request: Request, kind: Kind) -> Response:
    body = await json_object(request, request.app.state.body_limit)
    answer = _service(request).answer(kind, body, context_of(request))
    failed = http_errors.whole_stream
    streams = body.get("stream") and kind in STREAMED
    return _streamed(request, answer, failed) if streams else await _whole(request, answer)


async def _whole(request: Request, answer: Coroutine[Any, Any, Reply]) -> Response:
    try:
        reply = await unless_disconnected(request.receive, answer)
    except ClientDisconnect:
        return Response(status_code=499)  # nobody reads it
    return _json(reply.body)


def _streamed(request: Request, answer: Coroutine[Any, Any, Reply], failed: Callable[[DabtError], str]) -> EventStream:
    """`failed` is the whole stream of a request that failed before its first event, when its status had been sent."""

    def told(error: Exception) -> str:
        context_of(request).code = code_of(error)
        if isinstance(error, DabtError):
            return failed(error)
        log.error("a fault in the service", path=request.url.path, exc_info=error)
        return failed(http_errors.unexpected())

    return EventStream(answer, request.app.state.config.keep_alive_seconds, told)


def may_train(caller: Caller) -> bool:
    return caller.key is None or caller.key.role.includes(Role.TRAINER)


async def _running(parts: Parts) -> models.Running:
    return await models.running(parts.base, parts.embedder, parts.supervisor.facts)


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _json(value: object) -> Response:
    return Response(to_json(value, inf_nan_mode="null"), media_type="application/json")
