"""Every evaluation: looked for by words and days, with what was decided of each arm."""

from __future__ import annotations

from typing import get_args

from fastapi import APIRouter, Request
from starlette.responses import Response

from console.language import N_
from console.rendering import language_of, show
from console.screens.reports.reading import PLACE, Paged, address, day, report_words, reports_of, version_link
from evals.archive.library import Word
from evals.archive.report_index import Sought
from lifecycle.errors import InvalidInput

router = APIRouter(prefix=PLACE)
_ROWS = 25
_LOOK = N_("a look")


def rulings(request: Request) -> dict[str, str]:
    """What was decided of an arm → the word for it, which is that of the report's own page."""
    told = report_words(request)
    of_report = {word: told(f"ruling.{word}") for word in ("passed", "failed", "undecided")}
    return of_report | {"look": language_of(request).text(_LOOK)}


@router.get("")
async def reports(request: Request) -> Response:
    asked = {name: request.query_params.get(name, "").strip() for name in ("q", "since", "until", "word", "tool")}
    found = await reports_of(request)
    sought = Sought(asked["q"], day(asked["since"]), day(asked["until"]), _word(asked["word"]))
    lines = [line for line in found.lines if sought.takes(line) and (not asked["tool"] or line.tool)]
    page = Paged.of(lines, request.query_params.get("page", ""), _ROWS, lambda n: address("", **asked, page=n))
    return show(
        request, "reports/list.html", found=found, page=page, asked=asked, words=rulings(request),
        version_link=version_link, narrowed=any(asked.values()),
    )  # fmt: skip


def _word(text: str) -> Word | None:
    for word in get_args(Word):
        if text == word:
            chosen: Word = word
            return chosen
    if text:
        raise InvalidInput(f"'{text[:40]}' is no ruling; it is one of {', '.join(get_args(Word))}")
    return None
