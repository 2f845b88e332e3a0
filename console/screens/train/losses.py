"""What was measured of jobs: the losses of one, step by step, and those of several over each other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request
from markupsafe import Markup
from starlette.responses import Response

from console.api import Api
from console.language import N_, Language
from console.rendering import language_of, show
from console.screens.train.drawing import KINDS, Line, drawing
from console.viewer import viewer_of

router = APIRouter(prefix="/ui/train")

_MOST_EVENTS = 100
"""Of one page of the API."""
_MOST_PAGES = 50
_MOST_JOBS = 100
FIGURES = {"valid_loss": N_("Loss in validation"), "train_loss": N_("Loss in training")}
_BASE = KINDS - 1
"""The stroke of the base's own validation loss, where one run is drawn."""


@dataclass(frozen=True, slots=True)
class Run:
    """A job that was chosen."""

    job: Mapping[str, Any]
    """As the API tells it."""
    kind: int
    """Of its line."""
    curve: Mapping[str, Any]

    def last(self, figure: str) -> float | None:
        return next((value for value in reversed(self.curve[figure]) if value is not None), None)

    @property
    def best(self) -> tuple[float, int] | None:
        """The lowest loss in validation, and the first step that had it."""
        pairs = zip(self.curve["valid_loss"], self.curve["steps"], strict=True)
        return min(((value, step) for value, step in pairs if value is not None), default=None)


@router.get("/losses")
async def losses(request: Request) -> Response:
    """`job` once for each run; of those with the name in `name`, or of all."""
    query = request.query_params
    name, figure = query.get("name", ""), query.get("figure", "valid_loss")
    figure = figure if figure in FIGURES else "valid_loss"
    wanted = list(dict.fromkeys(query.getlist("job")))[:KINDS]
    api: Api = request.app.state.api
    viewer = viewer_of(request)
    listed = await api.call(viewer, "GET", "/v1/fine_tuning/jobs", query={"limit": str(_MOST_JOBS)})
    names = sorted({called(job) for job in listed["data"]})
    offered = [job for job in listed["data"] if not name or called(job) == name]
    known = {job["id"]: job for job in offered}
    runs = []
    for kind, id_ in enumerate(wanted):
        job = known.get(id_) or await api.call(viewer, "GET", f"/v1/fine_tuning/jobs/{id_}")
        runs.append(Run(job, kind, await curve_of(request, id_)))
    spoken = language_of(request)
    label = spoken.text(FIGURES[figure])
    lines = [Line(run.kind, points(run.curve, figure)) for run in runs]
    rest = [job for job in offered if job["id"] not in wanted]
    return show(
        request, "train/losses.html", runs=runs, others=rest, names=names, name=name, figure=figure, figures=FIGURES,
        most=KINDS, called=called, at=at, picture=_drawn(lines, spoken, label), more=listed["has_more"],
    )  # fmt: skip


def called(job: Mapping[str, Any]) -> str:
    """The name of its versions, as far as it was told one."""
    return str(job["user_provided_suffix"] or job["model"])


def at(seconds: int) -> datetime:
    """Of a time as the API tells it."""
    return datetime.fromtimestamp(seconds, UTC)


def picture_of(curve: Mapping[str, Any], spoken: Language, label: str) -> Markup:
    """Of one job: training, validation, and the base's own as a level line."""
    lines = [Line(kind, points(curve, figure)) for kind, figure in enumerate(("train_loss", "valid_loss"))]
    if (base := curve["base_valid_loss"]) is not None and curve["steps"]:
        lines.append(Line(_BASE, [(step, base) for step in (0, curve["steps"][-1])]))
    return _drawn(lines, spoken, label)


def points(curve: Mapping[str, Any], figure: str) -> list[tuple[int, float | None]]:
    """Of the steps at which it was measured: training's and validation's are not the same ones."""
    measured = set(curve["measured"][figure])
    pairs = zip(curve["steps"], curve[figure], strict=True)
    return [(step, value) for step, value in pairs if step in measured]


async def curve_of(request: Request, id_: str) -> dict[str, Any]:
    """`steps`, and a list beside it for each figure that was told of any step; None where there is none. `measured` has
    the steps of each figure, also those at which it was no number. `events` is how many there are."""
    api: Api = request.app.state.api
    told: dict[int, dict[str, float]] = {}
    measured: dict[str, set[int]] = {name: set() for name in FIGURES}
    base: float | None = None
    after, events = "", 0
    for _ in range(_MOST_PAGES):
        query = {"limit": str(_MOST_EVENTS), "order": "asc", **({"after": after} if after else {})}
        page = await api.call(viewer_of(request), "GET", f"/v1/fine_tuning/jobs/{id_}/events", query=query)
        events += len(page["data"])
        for event in page["data"]:
            data = event["data"]
            if _is_measured(data.get("base_valid_loss")):
                base = data["base_valid_loss"]
            if "step" in data:
                step = int(data["step"])
                kept = told.setdefault(step, {})
                for name in FIGURES.keys() & data.keys():
                    measured[name].add(step)
                    if _is_measured(data[name]):
                        kept[name] = data[name]
        if not page["has_more"] or not page["data"]:
            break
        after = page["data"][-1]["id"]
    steps = sorted(told)
    known = {name: [told[step].get(name) for step in steps] for name in FIGURES}
    return {
        "steps": steps, **known, "base_valid_loss": base, "events": events,
        "measured": {name: sorted(steps_of) for name, steps_of in measured.items()},
    }  # fmt: skip


def _is_measured(value: Any) -> bool:
    """A loss that is no number any more is a gap of the curve."""
    return isinstance(value, int | float) and math.isfinite(value)


def _drawn(lines: Sequence[Line], spoken: Language, label: str) -> Markup:
    mirrored = spoken.direction == "rtl"
    return Markup(drawing(lines, lambda value: spoken.figures(value, 4), mirrored=mirrored, label=label))  # noqa: S704 - escaped by ElementTree
