"""Each part of the service and how it is: from memory, but for a look at a file and a question to the store."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from console.language import N_
from console.screens.settings.table import without_secrets
from lifecycle.home import Home
from service.bases_now import bases_now
from service.config import ServeConfig
from service.parts import Parts

State = Literal["well", "off", "trouble", "unasked"]
STATE_WORDS = {"well": N_("well"), "off": N_("off"), "trouble": N_("in trouble"), "unasked": N_("not asked for yet")}


@dataclass(frozen=True, slots=True)
class Health:
    part: str
    state: State
    said: str = ""
    """In the service's own words, which are English; names and figures as a rule."""

    @property
    def words(self) -> str:
        return STATE_WORDS[self.state]


async def health_of(state: Any) -> list[Health]:
    """`state` is the console's."""
    parts: Parts = state.parts
    config: ServeConfig = state.config
    home: Home = state.home
    kept, away = await asyncio.gather(asyncio.to_thread(_last_known, home), state.store_health.problem())
    return [
        *_engines(parts),
        _registry(parts, state.registry.name),
        Health(N_("Artifact store"), "trouble" if away else "well", away or without_secrets(parts.store.url)),
        _worker(config, getattr(state.service, "worker", None)),
        _embedding(parts),
        _limits(parts),
        Health(N_("Retrieval"), "well", f"{parts.library.in_memory} indexes in memory"),
        Health(N_("Last-known state"), "well" if kept else "off", kept),
        Health(N_("Traces"), "well" if config.traces_url else "off", config.otlp_protocol if config.traces_url else ""),
        Health(N_("Structured output"), "well", str(parts.engine.structured_output())),
        _canaries(parts),
    ]


def _engines(parts: Parts) -> list[Health]:
    """One for each base, once the service has begun to answer."""
    if not (bases := bases_now(parts)) or not parts.supervisor.engine_up:
        return [_engine(parts)]
    return [
        Health(N_("Engine"), "well" if now.is_ready else "trouble", ": ".join([now.base.name, *now.waiting_for]))
        for now in bases
    ]


def _engine(parts: Parts) -> Health:
    if parts.supervisor.fatal is not None:
        return Health(N_("Engine"), "trouble", parts.supervisor.fatal)
    waiting = [] if parts.supervisor.engine_up else parts.supervisor.waiting_for()
    facts = parts.supervisor.facts
    return Health(
        N_("Engine"), "trouble" if waiting else "well", "; ".join(waiting) or (str(facts.engine) if facts else "")
    )


def _registry(parts: Parts, name: str) -> Health:
    catalogue = parts.catalogue
    if catalogue.problem is not None:
        return Health(N_("Registry"), "trouble", f"{name}: {catalogue.problem}; read {catalogue.age:.0f} s ago")
    unread = len(catalogue.snapshot.left_out)
    said = f"{name}, revision {catalogue.snapshot.revision}"
    return Health(N_("Registry"), "trouble" if unread else "well", said + (f", {unread} unreadable" if unread else ""))


def _worker(config: ServeConfig, worker: Any) -> Health:
    if not config.worker:
        return Health(N_("Worker for fine-tuning jobs"), "off")
    runs = worker is not None and worker.runs
    return Health(N_("Worker for fine-tuning jobs"), "well" if runs else "trouble", "" if runs else "not running now")


def _embedding(parts: Parts) -> Health:
    if parts.embedder is None:
        return Health(N_("Embedding model"), "off")
    states: dict[str, State] = {"unasked": "unasked", "failed": "trouble"}
    return Health(N_("Embedding model"), states.get(parts.embedder.standing, "well"), parts.embedder.name)


def _limits(parts: Parts) -> Health:
    where = parts.accounts.counted_in
    said = {"process": "in this process", "redis": "in Redis", "away": "Redis is away: in this process meanwhile"}
    return Health(N_("Limits of keys"), "trouble" if where == "away" else "well", said[where])


def _canaries(parts: Parts) -> Health:
    stuck = parts.traffic.guard.stuck()
    return Health(N_("Canaries"), "trouble" if stuck else "well", f"{stuck} cannot be rolled back" if stuck else "")


def _last_known(home: Home) -> str:
    """When the last-known state was written; empty where there is none."""
    try:
        return datetime.fromtimestamp(home.last_known.stat().st_mtime, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except OSError:
        return ""
