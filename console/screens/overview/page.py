"""What each alias serves now, since when, by whom and why; its verdicts and doubts, canaries, jobs and alerts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from fastapi import APIRouter, Request
from markupsafe import Markup, escape
from starlette.responses import Response

from console.language import N_
from console.paging import Paging
from console.rendering import as_name, language_of, show
from console.screens.overview.alerts import ROLLED_BACK_FOR, Alert, alerts_of, change_page
from console.screens.overview.figures import stamp
from console.viewer import Viewer, viewer_of
from lifecycle.access import keys
from lifecycle.access.keys import Role
from lifecycle.aliases import Alias, Target
from lifecycle.errors import DabtError
from lifecycle.jobs.nouns import Job
from lifecycle.registry import Registry
from lifecycle.registry.audit import AuditEntry
from lifecycle.registry.listings import AliasNow
from lifecycle.states import State
from lifecycle.version import Version
from service.catalogue import Snapshot
from service.parts import Parts
from service.traffic.canary import Figure
from service.traffic.canary_guard import ACTOR

MOST_ALERTS = 20
KINDS = {
    "all": N_("all aliases"),
    "split": N_("with several versions"),
    "doubted": N_("with a doubted version"),
}
STATES = {
    "draft": N_("draft"),
    "evaluated": N_("evaluated"),
    "approved": N_("approved"),
    "rejected": N_("rejected"),
    "doubted": N_("doubted"),
    "retired": N_("retired"),
}
WATCHED = {
    "error_rate": N_("errors"),
    "ttft": N_("time to the first token, against the incumbent's"),
    "total": N_("time for the whole answer, against the incumbent's"),
    "empty": N_("empty answers"),
    "cut_off": N_("answers that were cut off"),
    "not_json": N_("answers that are no JSON"),
    "off_schema": N_("answers that do not fit the schema"),
}
router = APIRouter()


@dataclass(frozen=True, slots=True)
class AliasRow:
    alias: Alias
    behind: list[tuple[Target, Version | None]]
    """With its version, where this release can read it."""
    now: AliasNow | None
    """None while the registry cannot be asked."""
    figures: list[Figure]
    stuck: str | None


@dataclass(frozen=True, slots=True)
class FromRegistry:
    now: dict[str, AliasNow]
    jobs: list[Job]
    rolled_back: list[AuditEntry]


@router.get("/ui")
@router.get("/ui/")
async def overview(request: Request) -> Response:
    state, viewer = request.app.state, viewer_of(request)
    parts: Parts = state.parts
    snapshot = parts.catalogue.snapshot
    words = request.query_params.get("q", "").strip()[:100]
    kind = request.query_params.get("show", "all")
    kind = kind if kind in KINDS else "all"
    shown = list(aliases_of(snapshot, viewer, words, kind))
    paged = Paging.of(request.query_params.get("page", ""), len(shown), request.url)
    here = list(paged.of_all(shown))
    try:
        known = await parts.at_registry.run(_read, state.registry, here, viewer)
    except DabtError:  # it is away: what serves is known all the same, and the alerts say so
        known = FromRegistry({}, [], [])
    guard = parts.traffic.guard
    rows = [
        AliasRow(
            alias,
            [(target, snapshot.version(alias.name, target.number)) for target in alias.targets],
            known.now.get(alias.ref),
            guard.figures(alias),
            guard.problem(alias),
        )
        for alias in here
    ]
    alerts = alerts_of(parts, viewer, known.rolled_back)
    language = language_of(request)

    def said(alert: Alert) -> Markup:
        return escape(language.text(alert.sentence)) % {key: as_name(name) for key, name in alert.names.items()}

    return show(
        request, "overview/page.html", rows=rows, alerts=alerts[:MOST_ALERTS], more_alerts=len(alerts) - MOST_ALERTS,
        jobs=known.jobs, words=words, kind=kind, kinds=KINDS, paged=paged,
        versions=snapshot.size, base=", ".join(each.name for each in parts.base.every),
        stamp=stamp(parts), change_page=change_page,
        may_move=viewer.may(Role.PUBLISHER), said=said,
        states=STATES, watched=WATCHED,
    )  # fmt: skip


def aliases_of(snapshot: Snapshot, viewer: Viewer, words: str, kind: str) -> Iterator[Alias]:
    """Those that this person may see and looks for, by name; `triage:4` finds what serves that version."""
    for name in sorted(snapshot.aliases):
        if not viewer.sees(name):
            continue
        for alias in snapshot.aliases[name].values():
            if words and words not in alias.ref and words not in {f"{name}:{number}" for number in alias.numbers}:
                continue
            if kind == "split" and len(alias.targets) < 2:
                continue
            if kind == "doubted" and all(version.state is not State.DOUBTED for version in snapshot.behind(alias)):
                continue
            yield alias


def _read(registry: Registry, aliases: list[Alias], viewer: Viewer) -> FromRegistry:
    jobs = []
    if viewer.may(Role.TRAINER):  # as /v1/fine_tuning: an admin's key looks at everybody's
        jobs = registry.jobs.under_way(None if viewer.may(Role.ADMIN) else keys.owner_of(viewer.key))
    since = datetime.now(UTC) - ROLLED_BACK_FOR
    return FromRegistry(registry.listings.now(aliases), jobs, registry.listings.rolled_back(ACTOR, since))
