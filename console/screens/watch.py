"""How the service does: its requests, times, queue and memory over the last minutes and hours, by version.

The numbers are those of `console/history.py`. The page has them as tables; `static/watch.js` draws them too, from
/ui/watch/series. The one stream of events (`console/live.py`) says when there are new ones: then the page fetches the
points that it lacks, and its cards and tables are made again.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from fastapi import APIRouter, Request
from starlette.datastructures import State
from starlette.responses import JSONResponse, Response

from console.history import COARSE_STEP, REST, STEP, WINDOWS, History, Tick, figures, joined, series, together
from console.language import N_
from console.live import Figure, Source
from console.rendering import show
from console.viewer import Viewer, viewer_of
from lifecycle.access.keys import Role
from lifecycle.version import Digest
from service.bases_now import BaseNow, bases_now
from service.catalogue import Snapshot
from service.observability.counted import NOTHING, Counted
from service.parts import Parts

router = APIRouter(prefix="/ui/watch")


def sources(state: State) -> list[Source]:
    """The moment of the newest figures, and a stamp of how the parts are."""

    async def read() -> dict[str, Figure]:
        parts: Parts = state.parts
        told = (
            parts.supervisor.waiting_for(), parts.catalogue.problem, parts.catalogue.snapshot.revision,
            parts.gate.taken, parts.gate.waiting, sorted(parts.residency.digests()), parts.traffic.guard.stuck(),
            [now.waiting_for for now in bases_now(parts)],
        )  # fmt: skip
        return {"watch.newest": state.history.newest, "watch.parts": f"{zlib.crc32(repr(told).encode()):08x}"}

    return [Source("watch", Role.EVALUATOR, read)]


_ROWS = 12
"""Of the table in time."""
_MOST_VERSIONS = 50
_NAMED = 6
"""Versions that are named beside an adapter in memory."""
WINDOW_WORDS = {
    "15m": N_("15 minutes"), "1h": N_("an hour"), "6h": N_("6 hours"), "24h": N_("a day"),
}  # fmt: skip
CHARTS = (
    (N_("Requests and errors, a second"), "rate", (("requests", N_("requests")), ("errors", N_("errors")))),
    (
        N_("Time to the first token, seconds"),
        "seconds",
        (("ttft_p50", N_("median")), ("ttft_p95", N_("95th percentile"))),
    ),
    (N_("Time for each token, seconds"), "seconds", (("itl_p50", N_("median")), ("itl_p95", N_("95th percentile")))),
    (N_("In the queue, seconds"), "seconds", (("queue_p50", N_("median")), ("queue_p95", N_("95th percentile")))),
    (N_("Tokens written, a second"), "rate", (("tokens", N_("tokens")),)),
    (
        N_("Now in the service"),
        "count",
        (
            ("requests_in_flight", N_("requests under way")),
            ("waiting_for_slot", N_("waiting for a slot")),
            ("slots_taken", N_("slots taken")),
            ("resident_adapters", N_("adapters in memory")),
        ),
    ),
)
"""Title, unit, and the series with their names. Shown as figures and drawn."""


@dataclass(frozen=True, slots=True)
class OfVersion:
    ref: str
    told: Counted
    figures: dict[str, float | None]
    page: str
    """Of the version; empty for the base, and for what is summed up."""


@dataclass(frozen=True, slots=True)
class InMemory:
    digest: Digest
    refs: tuple[str, ...]
    more: int
    leases: int
    requests: int
    pinned: bool
    in_slot: bool
    """Whether a request of it is in the batch now."""
    seconds: float


def _window(request: Request) -> str:
    asked = request.query_params.get("window", "")
    return asked if asked in WINDOWS else "15m"


def _version(request: Request) -> str:
    """The one that is looked at alone; none where the key does not cover it."""
    asked = request.query_params.get("version", "")[:200]
    return asked if asked and viewer_of(request).sees(asked.partition(":")[0]) else ""


def _history(request: Request) -> History:
    history: History = request.app.state.history
    return history


@router.get("")
async def watch(request: Request) -> Response:
    window, version, viewer = _window(request), _version(request), viewer_of(request)
    parts, history = request.app.state.parts, _history(request)
    ticks = history.ticks(window)
    of_versions = _of_versions(ticks, parts.catalogue.snapshot, viewer)
    seconds = sum(tick.seconds for tick in ticks)
    told = together(tick.of(version) for tick in ticks)
    bases = bases_now(parts)
    return show(
        request,
        "watch.html",
        window=window,
        windows=WINDOW_WORDS,
        version=version,
        versions=sorted({row.ref for row in of_versions} | ({version} if version else set())),
        charts=CHARTS,
        told=told,
        now=figures(told, seconds),
        in_time=_in_time(ticks, version),
        of_versions=[row for row in of_versions if not version or row.ref == version],
        residents=_in_memory(parts, viewer),
        places=parts.residency.capacity,
        bases=bases,
        slots=(parts.gate.taken, _slots(bases) or request.app.state.config.max_loras, parts.gate.waiting),
        engine_up=parts.supervisor.engine_up,
        waiting=parts.supervisor.waiting_for(),
        since=parts.supervisor.since,
        registry=(parts.catalogue.snapshot.revision, parts.catalogue.age, parts.catalogue.problem),
        store_problem=await request.app.state.store_health.problem(),
        stuck=parts.traffic.guard.stuck(),
        grafana=request.app.state.config.grafana_url,
        newest=history.newest,
    )


@router.get("/series")
async def columns(request: Request) -> Response:
    """What `static/watch.js` draws: of the whole window, or what came after a moment."""
    window, history = _window(request), _history(request)
    after = _moment(request.query_params.get("after", ""))
    step = STEP if WINDOWS[window] <= WINDOWS["1h"] else COARSE_STEP
    ticks = [tick for tick in history.ticks(window) if tick.at > after]
    return JSONResponse({"newest": history.newest, **series(ticks, _version(request), step)})


def _slots(bases: Sequence[BaseNow]) -> int:
    return sum(now.slots[1] for now in bases)


def _moment(text: str) -> float:
    """Seconds since 1970; 0 for what is none."""
    try:
        moment = float(text)
    except ValueError:
        return 0.0
    return moment if math.isfinite(moment) else 0.0


def _of_versions(ticks: Sequence[Tick], snapshot: Snapshot, viewer: Viewer) -> list[OfVersion]:
    """The most asked first, of those that the key covers."""
    sums: dict[str, Counted] = {}
    for tick in ticks:
        for version, told in tick.versions.items():
            sums[version] = sums.get(version, NOTHING) + told
    seconds = sum(tick.seconds for tick in ticks)
    rows = []
    for version in sorted(sums, key=lambda version: -sums[version].requests)[:_MOST_VERSIONS]:
        name, _, number = version.partition(":")
        if version != REST and not viewer.sees(name):
            continue
        known = number.isdecimal() and snapshot.version(name, int(number)) is not None
        page = f"/ui/versions/{name}/{number}" if known else ""
        rows.append(OfVersion(version, sums[version], figures(sums[version], seconds), page))
    return rows


def _in_time(ticks: Sequence[Tick], version: str) -> list[tuple[datetime, Counted, dict[str, float | None]]]:
    """The window in about a dozen stretches, the newest first."""
    size = max(1, -(-len(ticks) // _ROWS))
    stretches = [joined(ticks[at : at + size]) for at in range(0, len(ticks), size)]
    return [
        (datetime.fromtimestamp(tick.at, UTC), tick.of(version), figures(tick.of(version), tick.seconds))
        for tick in reversed(stretches)
    ]


def _in_memory(parts: Parts, viewer: Viewer) -> list[InMemory]:
    """The adapters in the engine's memory, with the versions behind aliases that they answer for."""
    snapshot = parts.catalogue.snapshot
    refs: dict[Digest, list[str]] = {}
    resident = {adapter.digest for adapter in parts.residency.residents()}
    for name, aliases in snapshot.aliases.items():
        if not viewer.sees(name):
            continue
        for version in {v.number: v for alias in aliases.values() for v in snapshot.behind(alias)}.values():
            if version.spec.adapter in resident:
                refs.setdefault(version.spec.adapter, []).append(version.ref)
    rows = []
    for adapter in parts.residency.residents():
        named = refs.get(adapter.digest, [])
        rows.append(
            InMemory(
                adapter.digest,
                tuple(named[:_NAMED]),
                max(0, len(named) - _NAMED),
                adapter.leases,
                adapter.requests,
                adapter.pinned,
                adapter.name in parts.gate.in_slots,
                adapter.resident_seconds,
            )
        )
    return rows
