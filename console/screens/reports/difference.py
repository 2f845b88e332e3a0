"""Two evaluations set against each other, as `dabt reports diff` says it: each arm on the items that both have."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from console.rendering import show
from console.screens.reports.reading import (
    PLACE,
    Paged,
    address,
    archive_of,
    kept,
    report_of,
    report_words,
    reports_of,
    spec_of,
    version_link,
)
from evals.archive.diff import ArmDiff, Flip, ReportDiff, compare
from evals.report.page_words import as_markup
from evals.report.sentences import said
from evals.report.words import seen

router = APIRouter(prefix=PLACE)
_FLIPS = 25


@router.get("/diff")
async def difference(request: Request) -> Response:
    """Without both reports it asks for them; `arm` and `page` are of the items whose score is another now."""
    query, archive = request.query_params, archive_of(request)
    asked = {name: query.get(name, "").strip() for name in ("a", "b", "metric", "arm")}
    if not asked["a"] or not asked["b"]:
        found = await reports_of(request)
        return show(request, "reports/pick.html", lines=found.lines[:200], asked=asked)
    before, was = await report_of(request, asked["a"])
    after, now = await report_of(request, asked["b"])

    def compared() -> ReportDiff:
        return compare(kept(before, was), kept(after, now), metric=asked["metric"], spec_of=spec_of(request))

    key = (before, archive.index.stamp(before), after, archive.index.stamp(after), asked["metric"])
    made = await archive.difference(key, compared)
    words = report_words(request)

    def flips(arm: ArmDiff) -> Paged[Flip]:
        number = query.get("page", "") if arm.after_arm == asked["arm"] else ""
        return Paged.of(
            arm.flips, number, _FLIPS, lambda n: address("/diff", **{**asked, "arm": arm.after_arm}, page=n)
        )

    figures = sorted({name for report in (was.report, now.report) for arm in report.arms for name in arm.metrics})
    return show(
        request, "reports/diff.html", made=made, before=before, after=after, asked=asked, flips=flips, figures=figures,
        seen=seen, said=lambda text, group: as_markup(said(text, group, words)), version_link=version_link,
    )  # fmt: skip
