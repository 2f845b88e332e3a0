"""One task over time, as `dabt reports history` says it: plotted, and as a table with what served then."""

from __future__ import annotations

from xml.etree import ElementTree

from fastapi import APIRouter, Request
from markupsafe import Markup
from starlette.responses import Response

from console.language import N_, Language
from console.rendering import language_of, show
from console.screens.reports.listing import rulings
from console.screens.reports.reading import PLACE, Paged, address, archive_of, reports_of, version_link
from evals.archive.history import History, Trail, history
from evals.archive.history_shown import drawing
from evals.report.words import Words
from lifecycle.aliases import PROD
from lifecycle.errors import DabtError, NotFound
from lifecycle.registry import Registry

router = APIRouter(prefix=PLACE)
_REPORTS = 30
"""Of one page: a plot of more is too wide to read."""
_TRAIL = 5_000
"""Changes of a name that are looked through for the moves of its alias."""
_TITLE = N_("%(task)s: %(metric)s over its evaluations, with intervals of 95 %%")


@router.get("/history")
async def over_time(request: Request) -> Response:
    query, archive = request.query_params, archive_of(request)
    task, metric, arm = (query.get(name, "") for name in ("task", "metric", "arm"))
    found = await reports_of(request)
    lines = [line for line in found.lines if line.task == task]
    if not lines:
        raise NotFound(f"no evaluation of {task[:80]} is kept here; the list of reports shows what there is")
    chosen = Paged.of(
        lines, query.get("page", ""), _REPORTS,
        lambda n: address("/history", task=task, metric=metric, arm=arm, page=n),
    )  # fmt: skip
    names = sorted({name for line in chosen.rows for name in line.names})
    problem = found.problem
    trails: dict[str, Trail] = {}
    try:
        trails = await request.app.state.parts.at_registry.run(_trails, archive.registry, names)
    except DabtError as error:
        problem = str(error)
    kept = [line.slim for line in chosen.rows]
    made = history(task, kept, trails, metric=metric, arms=[arm] if arm else ())
    spoken = language_of(request)
    words = Words.of(spoken.code, spoken.digits)
    title = spoken.text(_TITLE, task=words.isolated(task), metric=words.isolated(made.metric))
    plot = await archive.files.run(_plotted, made, title, spoken) if made.points else ""
    known = {line.slim.name: line for line in chosen.rows}
    figures = sorted({name for it in kept for result in it.report.arms for name in result.metrics})
    arms = sorted({result.arm for it in kept for result in it.report.arms})
    return show(
        request, "reports/history.html", made=made, plot=Markup(plot), page=chosen, figures=figures, arms=arms,  # noqa: S704
        arm=arm, known=known, problem=problem, words=rulings(request), version_link=version_link,
    )  # fmt: skip


def _trails(registry: Registry, names: list[str]) -> dict[str, Trail]:
    return {name: Trail.of(registry.audit(name, _TRAIL), f"{name}:{PROD}") for name in names}


def _plotted(made: History, title: str, spoken: Language) -> str:
    return ElementTree.tostring(drawing(made, title, Words.of(spoken.code, spoken.digits)), encoding="unicode")
