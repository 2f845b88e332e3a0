"""`/v1/fine_tuning/jobs`: requests go into the registry's queue, and what workers say of them comes from it.

Read `asked.py` for what a job may be, `training/jobs/worker.py` for who does it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from lifecycle.errors import InvalidInput, LimitReached, NotFound, Problem
from lifecycle.jobs.nouns import Job, JobRequest, new_id
from lifecycle.jobs.states import JobState
from lifecycle.version import digest_of
from service.admin import registry_of
from service.openai.fine_tuning.asked import check_evaluation, check_rank, cursor_of, job_request, metadata_of, slug
from service.openai.fine_tuning.owner import acting_for, owner_of, who
from service.openai.fine_tuning.shapes import checkpoint_object, event_object, job_object, list_object
from service.openai.http_input import json_object
from service.parts import parts_of
from service.request_context import context_of
from service.resolution import caller_of, permit, resolve

_RETRIED = timedelta(hours=1)
"""A client that says that it tries again means a job that is no older."""

router = APIRouter(prefix="/v1/fine_tuning")


@router.post("/jobs")
async def create(request: Request) -> Response:
    body = await json_object(request, request.app.state.body_limit)
    asked = job_request(body)
    check_rank(asked, request.app.state.config.max_lora_rank)
    check_evaluation(asked.metadata, request.app.state.config.evals)
    parts, registry, context = parts_of(request), registry_of(request), context_of(request)
    parts.under_way.check()
    caller = await parts.tuned.caller(caller_of(body, context), asked.model)
    resolved = resolve(asked.model, caller, parts.catalogue.snapshot, parts.base)
    start, base = resolved.version, resolved.base
    if start is not None and (start.spec.adapter is None or start.spec.base != base.digest):
        fault = f"{start.ref} is no adapter over {' or '.join(each.name for each in parts.base.every)}"
        raise InvalidInput("The request is not valid:", [Problem("model", fault, "the base, or one of its adapters")])
    name = slug(asked.suffix) or slug(f"ft-{base.name}") or "ft"
    permit(f"{name}:1", caller)
    await _check_files(request, asked)
    await _check_jobs(request)
    key = context.key.id if context.key is not None else ""
    job = Job(
        id=new_id("ftjob-"),
        owner=owner_of(request),
        state=JobState.VALIDATING,
        base=base.digest,
        name=name,
        request=asked.model_copy(update={"start": start.ref if start is not None else "", "key": key}),
        created_at=datetime.now(UTC),
    )
    job = await parts.at_registry.run(
        registry.jobs.create,
        job,
        asked=digest_of(body),
        again=request.headers.get("idempotency-key", "")[:255],
        since=job.created_at - _RETRIED if _is_retry(request) else None,
        actor=who(request),
    )
    return JSONResponse(job_object(job))


@router.get("/jobs")
async def listed(request: Request) -> Response:
    cursor, (metadata, bare) = cursor_of(request, limit=20), metadata_of(request)
    registry = registry_of(request)
    page = await parts_of(request).at_registry.run(registry.jobs.all, owner_of(request), cursor, metadata, bare=bare)
    return JSONResponse(list_object(map(job_object, page.items), page.has_more))


@router.get("/jobs/{id_}")
async def retrieve(request: Request, id_: str) -> Response:
    """Of one that waits, also its place in the queue: 1 is next."""
    run, jobs = parts_of(request).at_registry.run, registry_of(request).jobs
    job: Job = await run(jobs.get, id_, acting_for(request))
    place = {"queue_position": await run(jobs.before, job) + 1} if job.state is JobState.QUEUED else {}
    return JSONResponse(job_object(job) | place)


@router.get("/jobs/{id_}/events")
async def events(request: Request, id_: str) -> Response:
    cursor, registry = cursor_of(request, limit=20), registry_of(request)
    page = await parts_of(request).at_registry.run(registry.jobs.events, id_, acting_for(request), cursor)
    return JSONResponse(list_object(map(event_object, page.items), page.has_more))


@router.get("/jobs/{id_}/checkpoints")
async def checkpoints(request: Request, id_: str) -> Response:
    cursor, registry = cursor_of(request, limit=10), registry_of(request)
    page = await parts_of(request).at_registry.run(registry.jobs.checkpoints, id_, acting_for(request), cursor)
    return JSONResponse(list_object(map(checkpoint_object, page.items), page.has_more, ends=True))


@router.post("/jobs/{id_}/cancel")
async def cancel(request: Request, id_: str) -> Response:
    return await _move(request, id_, JobState.CANCELLED)


@router.post("/jobs/{id_}/pause")
async def pause(request: Request, id_: str) -> Response:
    return await _move(request, id_, JobState.PAUSED)


@router.post("/jobs/{id_}/resume")
async def resume(request: Request, id_: str) -> Response:
    return await _move(request, id_, JobState.QUEUED)


async def _move(request: Request, id_: str, to: JobState) -> Response:
    job: Job = await parts_of(request).at_registry.run(
        registry_of(request).jobs.move, id_, to, acting_for(request), actor=who(request)
    )
    return JSONResponse(job_object(job))


async def _check_files(request: Request, asked: JobRequest) -> None:
    """Raises `InvalidInput` for a file that the caller does not have, or that is for something else."""
    problems = []
    for place, id_ in (("training_file", asked.training_file), ("validation_file", asked.validation_file)):
        if id_ is None:
            continue
        try:
            file = await parts_of(request).at_registry.run(registry_of(request).files.get, id_, owner_of(request))
        except NotFound:
            problems.append(Problem(place, f"there is no file {id_}", "send it with purpose fine-tune first"))
            continue
        if file.purpose != "fine-tune":
            problems.append(Problem(place, f"{id_} is for {file.purpose}", "send it with purpose fine-tune"))
    if problems:
        raise InvalidInput("The request is not valid:", problems)


async def _check_jobs(request: Request) -> None:
    """Raises `LimitReached` when the key has as many unfinished jobs as it may."""
    key = context_of(request).key
    if key is None or key.limits.training_jobs is None:
        return
    unfinished = await parts_of(request).at_registry.run(registry_of(request).jobs.unfinished, key.owner)
    if unfinished >= key.limits.training_jobs:
        raise LimitReached(
            f"the {key} has {unfinished} unfinished jobs, and may have {key.limits.training_jobs}; wait for one to end",
            retry_after=60.0,
        )


def _is_retry(request: Request) -> bool:
    """OpenAI's clients count their tries in a header."""
    count = request.headers.get("x-stainless-retry-count", "0")
    return count.isdecimal() and int(count) > 0
