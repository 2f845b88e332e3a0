"""A file of rows: what the checks say of it, line by line with the cure, and how its rows are spread."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from console.api import Api
from console.checking import Checks
from console.rendering import show
from console.viewer import viewer_of
from lifecycle.access.keys import owner_of
from lifecycle.jobs.nouns import UploadedFile

router = APIRouter(prefix="/ui/train")
_BARS = 20
"""Values of a field that are drawn; the rest is counted together."""


@router.get("/files/{id_}")
async def file(request: Request, id_: str) -> Response:
    state = request.app.state
    owner = owner_of(viewer_of(request).key)
    sent: UploadedFile = await state.parts.at_registry.run(state.registry.files.get, id_, owner)
    folder: Path = await state.parts.at_store.run(state.parts.store.get, sent.digest)
    checks: Checks = state.checks
    checked = await checks.of(id_, folder / id_, sent.filename)
    spreads: dict[str, Any] = {}
    if checked is not None and checked.report is not None and checked.report.balance is not None:
        balance = checked.report.balance
        spreads = {"": _bars(balance.languages), **{field: _bars(counts) for field, counts in balance.fields.items()}}
    return show(request, "train/file.html", file=sent, checked=checked, spreads=spreads)


@router.post("/files/{id_}/delete")
async def delete(request: Request, id_: str) -> Response:
    api: Api = request.app.state.api
    await api.call(viewer_of(request), "DELETE", f"/v1/files/{id_}")
    return RedirectResponse("/ui/train", 303)


def _bars(counts: Mapping[str, int]) -> list[tuple[str, int, float, float]]:
    """(value, rows, share, share of the longest bar), the most frequent first; past `_BARS` the rest is one with no
    name.
    """
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    if len(ranked) > _BARS:
        ranked = [*ranked[:_BARS], ("", sum(count for _, count in ranked[_BARS:]))]
    total, most = sum(count for _, count in ranked), max((count for _, count in ranked), default=1)
    return [(value, count, count / total, count / most) for value, count in ranked]
