"""The items of an evaluation: filtered, searched and paged, and each on a page of its own with a link that stays."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import get_args

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from console.language import N_
from console.rendering import show
from console.screens.reports.reading import (
    PLACE,
    Archive,
    Paged,
    address,
    archive_of,
    index_of,
    report_of,
    report_words,
)
from evals.archive.item_index import ItemFilter, Outcome, first_items
from evals.archive.items import Item, disagrees
from evals.archive.report_index import ReportLine
from evals.report.evaluation import Evaluation
from evals.report.packed import readable
from evals.report.sentences import known
from evals.report.words import seen
from lifecycle.errors import DabtError, InvalidInput
from lifecycle.report import Report

router = APIRouter(prefix=PLACE)
_ROWS = 50
_BEGINNING = 160
"""Characters of a question that a list shows."""
OUTCOMES: dict[str, str] = {
    "right": N_("right"),
    "wrong": N_("wrong"),
    "without": N_("without a figure"),
    "failed": N_("request failed"),
    "cut": N_("cut"),
}


@dataclass(frozen=True, slots=True)
class ItemQuery:
    """What the address asks for."""

    filter: ItemFilter
    slice: str
    """As the form sends it; see `slice_of`."""

    def address(self, line: ReportLine, place: str, **more: object) -> str:
        it = self.filter
        return address(
            f"/{line.id}/{place}", q=it.words, slice=self.slice, arm=it.arm, outcome=it.outcome,
            disagree="yes" if it.disagree else "", against=it.against, **more,
        )  # fmt: skip

    @property
    def narrowed(self) -> bool:
        return self.filter != ItemFilter(arm=self.filter.arm, against=self.filter.against)


def asked_of(query: Mapping[str, str]) -> ItemQuery:
    """Raises `InvalidInput`."""
    chosen = query.get("slice", "")
    outcome: Outcome | None = next((it for it in get_args(Outcome) if it == query.get("outcome")), None)
    if query.get("outcome") and outcome is None:
        raise InvalidInput(f"'{query['outcome'][:40]}' is no outcome; it is one of {', '.join(OUTCOMES)}")
    slices = (_field_and_value(chosen),) if chosen else ()
    words, arm, against = (query.get(name, "").strip() for name in ("q", "arm", "against"))
    return ItemQuery(ItemFilter(words, slices, arm, outcome, bool(query.get("disagree")), against), chosen)


def slice_of(field: str, value: str) -> str:
    """A slice as an address and a form have it, whatever stands in it: JSON, of ASCII alone."""
    return json.dumps([field, value])


@router.get("/{id_}/items")
async def rows(request: Request, id_: str) -> Response:
    line, evaluation = await report_of(request, id_)
    asked, archive, report = asked_of(request.query_params), archive_of(request), evaluation.report
    number = request.query_params.get("page", "")

    def link(page: int) -> str:
        return asked.address(line, "items", page=page)

    first = None
    if asked == ItemQuery(ItemFilter(), "") and number in ("", "1"):
        first = await archive.files.run(_first, archive, line, evaluation)
    if first is not None:
        page = Paged(first, report.n_items, 1, max(-(-report.n_items // _ROWS), 1), link)
        fields = _told_fields(report)
        archive.background.begin(begin_index(request, line, evaluation))  # whoever looks at these goes on to others
    else:
        index = await index_of(request, line, evaluation)
        chosen = Paged.of(await archive.files.run(index.places, asked.filter), number, _ROWS, link)
        items = await archive.files.run(index.read, chosen.rows)
        anchored = list(zip(map(index.anchor, chosen.rows), items, strict=True))
        page = Paged(anchored, chosen.count, chosen.page, chosen.pages, link)
        fields = index.fields
    return show(
        request, "reports/items.html", line=line, page=page, asked=asked, fields=fields, outcomes=OUTCOMES,
        report=report, differs=lambda item: disagrees(item, report.of_items), slice_of=slice_of, seen=seen,
        beginning=_beginning,
    )  # fmt: skip


@router.get("/{id_}/items/{key:path}")
async def row(request: Request, id_: str, key: str) -> Response:
    """By its anchor, which is made of its key and stays the same in every report; a key or a name leads there."""
    line, evaluation = await report_of(request, id_)
    asked, archive = asked_of(request.query_params), archive_of(request)
    index = await index_of(request, line, evaluation)
    at = index.place(key)
    if key != index.anchor(at):
        return RedirectResponse(asked.address(line, f"items/{index.anchor(at)}"), 303)
    item = (await archive.files.run(index.read, [at]))[0]
    places = await archive.files.run(index.places, asked.filter)
    rank = bisect_left(places, at)
    is_in = rank < len(places) and places[rank] == at

    def link(rank: int) -> str:
        return asked.address(line, f"items/{index.anchor(places[rank])}") if 0 <= rank < len(places) else ""

    words = report_words(request)
    return show(
        request, "reports/item.html", line=line, item=item, asked=asked, report=evaluation.report, count=len(places),
        number=rank + 1 if is_in else 0, previous=link(rank - 1), following=link(rank + is_in), readable=readable,
        seen=seen, back=asked.address(line, "items", page=rank // _ROWS + 1),
        permalink=address(f"/{line.id}/items/{key}"),
        explained=lambda text, group: known(text, group, words) or seen(text),
    )  # fmt: skip


def _field_and_value(chosen: str) -> tuple[str, str]:
    try:
        field, value = json.loads(chosen)
    except (ValueError, TypeError):
        field, value = None, None
    if not isinstance(field, str) or not isinstance(value, str):
        raise InvalidInput(f'\'{chosen[:80]}\' is no slice: write ["field", "value"]')
    return field, value


def _first(archive: Archive, line: ReportLine, evaluation: Evaluation) -> list[tuple[str, Item]] | None:
    """The first page without an index, where there is none yet; None where there is one, and where the report does not
    know how many items there are."""
    report = evaluation.report
    if line.folder is None or not line.has_items or line.tool:
        return None
    arms = [arm.arm for arm in report.arms]
    return None if archive.items.known(line.folder, arms, report.of_items) else first_items(line.folder, _ROWS)


async def begin_index(request: Request, line: ReportLine, evaluation: Evaluation) -> None:
    with suppress(DabtError):  # whoever asks for it is told
        await index_of(request, line, evaluation)


def _told_fields(report: Report) -> dict[str, list[str]]:
    """The slices that the report itself tells of, of one field each."""
    fields: dict[str, list[str]] = {}
    for part in report.slices:
        if len(part.where) == 1:
            [(name, value)] = part.where.items()
            fields.setdefault(name, []).append(value)
    return {name: sorted(values) for name, values in fields.items()}


def _beginning(text: str) -> str:
    line = " ".join(seen(text).split())
    return line if len(line) <= _BEGINNING else f"{line[:_BEGINNING]}…"
