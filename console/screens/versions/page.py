"""A version's page: what it is, where it comes from, what was found of it, who calls it; taking it out of service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from console.forms import form_of
from console.rendering import language_of, show
from console.screens.reports.reading import reports_of
from console.screens.versions import lineage
from console.screens.versions.listing import STATE_WORDS
from console.screens.versions.reading import DAYS, NEWEST_REPORTS, Reading, read
from console.trail_words import ACTIONS
from console.viewer import Viewer, viewer_of
from lifecycle.access.keys import Role
from lifecycle.access.usage import Usage
from lifecycle.errors import Forbidden, NotFound
from lifecycle.states import CALLABLE, State
from lifecycle.version import Digest, Version

router = APIRouter(prefix="/ui/versions")


def version_at(request: Request, name: str, number: str) -> Version:
    """Raises `NotFound`, also for a version that the viewer's key may not know of."""
    viewer, snapshot = viewer_of(request), request.app.state.parts.catalogue.snapshot
    version: Version | None = snapshot.version(name, int(number)) if number.isdecimal() and len(number) < 10 else None
    if version is None or not viewer.sees(name) or not _shown_to(request, viewer, version):
        raise NotFound(f"there is no version {name}:{number} that your key covers; the list of versions has all")
    return version


def _shown_to(request: Request, viewer: Viewer, version: Version) -> bool:
    aliases = request.app.state.parts.catalogue.snapshot.aliases.get(version.name, {}).values()
    called = version.state in CALLABLE or any(version.number in alias.numbers for alias in aliases)
    return viewer.may(Role.EVALUATOR) or called


async def reading_of(request: Request, version: Version) -> Reading:
    """Raises nothing for a registry that is away: what it could not say is in the reading's `problem`."""
    state, viewer = request.app.state, viewer_of(request)
    parts = state.parts
    evaluations = await _evaluations(request, version) if viewer.may(Role.EVALUATOR) else []
    mine = None if viewer.may(Role.ADMIN) or viewer.key is None else viewer.key.id
    told: Reading = await parts.at_registry.run(
        lambda: read(
            state.registry,
            version,
            parts.catalogue.manifest,
            sorted(parts.catalogue.snapshot.aliases.get(version.name, {})),
            evaluations,
            inside=viewer.may(Role.EVALUATOR),
            use_of=mine,
            today=datetime.now(UTC).date(),
        )
    )
    return told


async def _evaluations(request: Request, version: Version) -> list[Digest]:
    """The newest that have it as an arm, by the index of all reports, which is in memory: no body is searched."""
    lines = (await reports_of(request)).lines
    these = (line.digest for line in lines if any(arm.version_digest == version.digest for arm in line.arms))
    return list(islice(these, NEWEST_REPORTS))


@router.get("/{name}/{number}")
async def version_page(request: Request, name: str, number: str) -> Response:
    version = version_at(request, name, number)
    said, viewer, parts = language_of(request), viewer_of(request), request.app.state.parts
    told = await reading_of(request, version)
    columns = lineage.boxes_of(version, told, said)
    aliases = parts.catalogue.snapshot.aliases.get(name, {}).values()
    behind = [
        (alias.alias, target.weight) for alias in aliases for target in alias.targets if target.number == version.number
    ]
    keys = {key.id: key.name for key in parts.catalogue.snapshot.keys.values()} if viewer.may(Role.ADMIN) else {}
    return show(
        request,
        "versions/page.html",
        version=version,
        told=told,
        columns=columns,
        drawings={
            "across": lineage.drawing(columns, mirrored=said.direction == "rtl"),
            "down": lineage.drawing_down(columns),
        },
        behind=behind,
        inside=viewer.may(Role.EVALUATOR),
        may_retire=viewer.may(Role.PUBLISHER) and version.state is not State.RETIRED,
        elsewhere=parts.base.refusal(version),
        golden=_golden(request, version, told),
        uses=_by_key(told.uses, keys),
        days=DAYS,
        in_process=request.app.state.history.counted.get(version.ref),
        entries=ACTIONS,
        rulings=lineage.RULINGS,
        states=STATE_WORDS,
        near=_near(request, version),
    )


@router.get("/{name}/{number}/retire")
async def ask_retire(request: Request, name: str, number: str) -> Response:
    if not viewer_of(request).may(Role.PUBLISHER):
        raise Forbidden("taking a version out of service needs a publisher's key")
    return show(request, "versions/retire.html", version=version_at(request, name, number))


@router.post("/{name}/{number}/retire")
async def retire(request: Request, name: str, number: str) -> Response:
    version = version_at(request, name, number)
    form = await form_of(request)
    body = {"ref": version.ref, "reason": form.get("reason", ""), "actor": "console"}
    await request.app.state.api.call(viewer_of(request), "POST", "/admin/retire", body)
    return RedirectResponse(f"/ui/versions/{name}/{version.number}", 303)


def _golden(request: Request, version: Version, told: Reading) -> Mapping[str, Any] | None:
    """How many answers of it were recorded, and whether the copy in memory was held against them."""
    if told.manifest is None or (made := version.spec.artifact) is None:
        return None
    parts = request.app.state.parts
    if made[0] == "adapter":
        in_memory = any(resident.digest == made[1] for resident in parts.residency.residents())
    elif made[0] == "classifier":
        in_memory = any(resident.digest == made[1] for resident in parts.classifiers.residents())
    else:
        in_memory = not parts.base.refusal(version) and parts.supervisor.engine_up
    return {
        "count": len(told.manifest.golden),
        "tolerance": request.app.state.config.golden_tolerance,
        "in_memory": in_memory,
        "is_classifier": made[0] == "classifier",
    }


def _by_key(uses: Sequence[Usage], names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Of all days together, the most used first."""
    sums: dict[str, dict[str, Any]] = {}
    for use in uses:
        of_key = sums.setdefault(use.key, {"key": use.key, "name": names.get(use.key, ""), "requests": 0, "tokens": 0})
        of_key["requests"] += use.requests
        of_key["tokens"] += use.tokens
    return sorted(sums.values(), key=lambda of_key: -of_key["requests"])


def _near(request: Request, version: Version) -> list[Version]:
    """The versions of its name that a reader would compare it with: those behind aliases, then the ones before it."""
    snapshot, viewer = request.app.state.parts.catalogue.snapshot, viewer_of(request)
    numbers = snapshot.versions.get(version.name, {})
    first = [number for alias in snapshot.aliases.get(version.name, {}).values() for number in sorted(alias.numbers)]
    rest = range(version.number - 1, max(0, version.number - 6), -1)
    wanted = dict.fromkeys([*first, *rest])
    wanted.pop(version.number, None)
    there = [numbers[number] for number in wanted if number in numbers]
    return [other for other in there if _shown_to(request, viewer, other)][:8]
