"""One evaluation: what its own page shows (`evals/report/html.py`), candidates beside what served, and downloads."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from markupsafe import Markup
from starlette.background import BackgroundTask
from starlette.responses import FileResponse, Response

from console.rendering import show
from console.screens.reports.listing import rulings
from console.screens.reports.reading import (
    PLACE,
    archive_of,
    index_of,
    kept,
    report_of,
    report_words,
    reports_of,
    version_link,
)
from console.screens.reports.rows import asked_of, begin_index
from evals.archive.csv_export import export
from evals.archive.report_index import ReportLine
from evals.people.in_report import votes_now
from evals.report.evaluation import Evaluation
from evals.report.html import render_html, render_sections
from evals.report.words import Words
from lifecycle.errors import DabtError
from lifecycle.report import ArmResult, Comparison

router = APIRouter(prefix=PLACE)
_OTHERS = 50
"""Reports of the same task that are offered for a comparison."""


@router.get("/{id_}")
async def report(request: Request, id_: str) -> Response:
    line, evaluation = await report_of(request, id_)
    if line.has_items and not line.tool:
        archive_of(request).background.begin(begin_index(request, line, evaluation))  # its items are asked for next
    others = [other for other in (await reports_of(request)).lines if other.task == line.task and other != line]
    words = report_words(request)
    with suppress(DabtError):  # without the registry, the votes as they were when it ran
        now, registry = datetime.now(UTC), request.app.state.registry
        at_registry = request.app.state.parts.at_registry
        votes = await at_registry.run(votes_now, evaluation.report, evaluation.verdicts, registry, now)
        evaluation = replace(evaluation, votes=votes)
    body = await archive_of(request).files.run(_body, line, evaluation, words)
    return show(
        request, "reports/report.html", line=line, evaluation=evaluation, body=Markup(body),  # noqa: S704 - escaped there
        others=others[:_OTHERS], beside=_beside_prod(evaluation), words=rulings(request), version_link=version_link,
    )  # fmt: skip


@router.get("/{id_}/evaluation.json")
async def as_json(request: Request, id_: str) -> Response:
    from evals.report.stored import FILE, StoredEvaluation

    line, evaluation = await report_of(request, id_)
    headers = _attached(line, "evaluation.json")
    if line.folder is not None and (line.folder / FILE).is_file():
        return FileResponse(line.folder / FILE, media_type="application/json", headers=headers)
    text = StoredEvaluation.of(evaluation).model_dump_json(indent=2)
    return Response(text, media_type="application/json", headers=headers)


@router.get("/{id_}/items.csv")
async def as_csv(request: Request, id_: str) -> Response:
    """All items, or those that the filter takes, as `dabt reports show --csv --bom` writes them."""
    line, evaluation = await report_of(request, id_)
    index = await index_of(request, line, evaluation)
    asked = asked_of(request.query_params)
    path = await archive_of(request).files.run(_written, "csv")

    def write() -> None:
        places = index.places(asked.filter)
        chosen = None if len(places) == len(index) else index.read(places)
        export(kept(line, evaluation), path, bom=True, chosen=chosen)

    return await _sent(request, path, write, "text/csv; charset=utf-8", _attached(line, "items.csv"))


@router.get("/{id_}/report.html")
async def as_page(request: Request, id_: str) -> Response:
    """The page that stands alone, in the reader's language."""
    line, evaluation = await report_of(request, id_)
    words = report_words(request)
    path = await archive_of(request).files.run(_written, "html")

    def write() -> None:
        items: Iterator[Any] = kept(line, evaluation).items() if line.has_items else iter(())
        path.write_text(render_html(evaluation, items, words), encoding="utf-8")

    return await _sent(request, path, write, "text/html; charset=utf-8", _attached(line, "report.html"))


def _body(line: ReportLine, evaluation: Evaluation, words: Words) -> str:
    """What stands in the items stands in the rows, unless they are on another machine."""

    def link(arm: ArmResult) -> str:
        return "" if line.tool else version_link(arm.ref)

    return render_sections(evaluation, words, link, examples=not line.has_items)


def _beside_prod(evaluation: Evaluation) -> list[tuple[ArmResult, Comparison]]:
    """Each arm that is another version than the one that served, with its difference to that."""
    report = evaluation.report
    if report.prod is None:
        return []
    pairs = [(arm, report.difference(arm.arm, report.prod)) for arm in report.arms if arm.arm != report.prod]
    return [(arm, gap) for arm, gap in pairs if gap is not None]


def _written(kind: str) -> Path:
    with tempfile.NamedTemporaryFile(suffix=f".{kind}", delete=False) as file:
        return Path(file.name)


async def _sent(request: Request, path: Path, write: Any, media: str, headers: dict[str, str]) -> Response:
    """A file that is written now, and gone when it has been sent."""

    def remove() -> None:
        with suppress(OSError):
            path.unlink()

    try:
        await archive_of(request).files.run(write)
    except BaseException:
        remove()
        raise
    return FileResponse(path, media_type=media, headers=headers, background=BackgroundTask(remove))


def _attached(line: ReportLine, name: str) -> dict[str, str]:
    """A name that every system can keep, with the task's own letters for those that can."""
    whole = f"{line.task.replace('/', '-')}-{line.id}-{name}"
    plain = "".join(sign if sign.isascii() and (sign.isalnum() or sign in "-_.") else "_" for sign in whole)
    return {"content-disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(whole, safe='')}"}
