"""Jobs: asked for by a form or as YAML, watched while they run, stopped and gone on with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from console.api import Api, Refused
from console.forms import form_of
from console.language import N_
from console.rendering import language_of, show
from console.screens.train.losses import FIGURES, at, curve_of, picture_of
from console.viewer import viewer_of
from lifecycle.config_file import mapping_of, refuse_unusable
from lifecycle.errors import InvalidConfig
from lifecycle.models.preflight import SERVED_RANKS
from lifecycle.registry import Registry
from service.parts import Parts
from training.lora_shape import LoraShape
from training.optimisation import OptimisationSettings

router = APIRouter(prefix="/ui/train")
_LOSSES = N_("Losses of training and of validation, by step")

_AUTO = ("n_epochs", "batch_size", "learning_rate_multiplier", "lora_rank")
_USUAL = OptimisationSettings()
_RANK = LoraShape().r
ENDED = frozenset({"succeeded", "failed", "cancelled"})


@router.get("")
async def jobs(request: Request, after: str = "") -> Response:
    api, viewer = _api(request), viewer_of(request)
    query = {"limit": "20", **({"after": after} if after else {})}
    listed = await api.call(viewer, "GET", "/v1/fine_tuning/jobs", query=query)
    files = await api.call(viewer, "GET", "/v1/files", query={"purpose": "fine-tune", "limit": "50"})
    return show(
        request, "train/jobs.html", jobs=listed["data"], more=listed["has_more"], files=files["data"],
        more_files=files["has_more"], after=after, at=at,
    )  # fmt: skip


@router.get("/new")
async def new(request: Request, file: str = "") -> Response:
    return await _form(request, {"training_file": file, "method": "supervised"}, "")


@router.post("/jobs")
async def create(request: Request) -> Response:
    form = await form_of(request)
    try:
        written = form.get("yaml", "")
        body = _written(written) if written.strip() else _asked(form)
        job = await _api(request).call(viewer_of(request), "POST", "/v1/fine_tuning/jobs", body)
    except InvalidConfig as error:
        return await _form(request, form, str(error), 400)
    except Refused as refused:
        return await _form(request, form, refused.message, refused.status)
    return RedirectResponse(f"/ui/train/jobs/{job['id']}", 303)


def _written(text: str) -> dict[str, Any]:
    """What a person wrote in YAML, and JSON can say."""
    body = mapping_of(text.encode(), "the text")
    refuse_unusable(body, "the text")
    return body


@router.get("/jobs/{id_}")
async def job(request: Request, id_: str) -> Response:
    api, viewer = _api(request), viewer_of(request)
    told = await api.call(viewer, "GET", f"/v1/fine_tuning/jobs/{id_}")
    events = await api.call(viewer, "GET", f"/v1/fine_tuning/jobs/{id_}/events", query={"limit": "100"})
    checkpoints = await api.call(viewer, "GET", f"/v1/fine_tuning/jobs/{id_}/checkpoints")
    curve, spoken = await curve_of(request, id_), language_of(request)
    return show(
        request, "train/job.html", job=told, events=events["data"], checkpoints=checkpoints["data"], curve=curve,
        ended=told["status"] in ENDED, evaluation=await _evaluation(request, told["dabt"]), at=at, left=_left(told),
        picture=picture_of(curve, spoken, spoken.text(_LOSSES)),
    )  # fmt: skip


@router.get("/jobs/{id_}/curve")
async def curve(request: Request, id_: str) -> Response:
    """The losses so far, for the drawing; a step without one, and one that is no number, is null."""
    told = await _api(request).call(viewer_of(request), "GET", f"/v1/fine_tuning/jobs/{id_}")
    known = await curve_of(request, id_)
    drawn = {name: known[name] for name in ("steps", *FIGURES, "base_valid_loss", "events")}
    return JSONResponse({**drawn, "status": told["status"], "progress": told["dabt"]["progress"]})


@router.post("/jobs/{id_}/{move}")
async def move(request: Request, id_: str, move: Literal["cancel", "pause", "resume"]) -> Response:
    await _api(request).call(viewer_of(request), "POST", f"/v1/fine_tuning/jobs/{id_}/{move}")
    return RedirectResponse(f"/ui/train/jobs/{id_}", 303)


async def _form(request: Request, values: Mapping[str, str], problem: str, status: int = 200) -> Response:
    files = await _api(request).call(
        viewer_of(request), "GET", "/v1/files", query={"purpose": "fine-tune", "limit": "1000"}
    )
    state = request.app.state
    folder = state.config.evals
    evaluations = sorted(path.stem for path in folder.glob("*.yaml")) if folder is not None else []
    ranks = [rank for rank in SERVED_RANKS if rank <= state.config.max_lora_rank]
    return show(
        request, "train/new.html", status, files=files["data"], values=defaultdict(str, values), problem=problem,
        base=state.parts.base.name, evaluations=evaluations, usual=_USUAL, rank=_RANK, ranks=ranks,
    )  # fmt: skip


def _asked(form: Mapping[str, str]) -> dict[str, Any]:
    """The body that the form means; a field that is left empty is left out. The API says what is wrong with it."""
    kind = form.get("method", "supervised")
    names = (*_AUTO, "beta") if kind == "dpo" else _AUTO
    hyper = {name: _number(form[name]) for name in names if form.get(name, "").strip()}
    if rate := form.get("learning_rate", "").strip():
        number = _number(rate)
        # Without the last digits of a division: 1e-3 is 5 times the usual rate.
        times = number if isinstance(number, str) else float(f"{number / _USUAL.lr:.12g}")
        hyper["learning_rate_multiplier"] = times
    body: dict[str, Any] = {"method": {"type": kind, kind: {"hyperparameters": hyper}}}
    for name in ("model", "training_file", "validation_file", "suffix"):
        if value := form.get(name, "").strip():
            body[name] = value
    if seed := form.get("seed", "").strip():
        body["seed"] = _number(seed)
    if evaluation := form.get("evaluation", "").strip():
        body["metadata"] = {"dabt_eval": evaluation}
    return body


def _number(text: str) -> str | int | float:
    """As YAML reads it; what is no number stays as it is, for the API to refuse."""
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return text


async def _evaluation(request: Request, told: Mapping[str, Any]) -> str | None:
    """The digest of the evaluation that the job's verdict rests on."""
    if not told["evaluation"] or not told["evaluation"]["verdict"]:
        return None
    parts: Parts = request.app.state.parts
    registry: Registry = request.app.state.registry
    verdicts = await parts.at_registry.run(registry.verdicts, str(told["version"]))
    wanted = told["evaluation"]["verdict"]
    return next((verdict.evaluation_digest for verdict in verdicts if verdict.digest == wanted), None)


def _left(job: Mapping[str, Any]) -> float | None:
    """Seconds until it is expected to end; None where nothing is known, and once it should have ended."""
    finish = job["estimated_finish"]
    left = None if finish is None else finish - datetime.now(UTC).timestamp()
    return left if left is not None and left > 0 else None


def _api(request: Request) -> Api:
    api: Api = request.app.state.api
    return api
