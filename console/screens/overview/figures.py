"""What the overview shows live: the evidence against each canary, and a stamp that changes when the page does."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from starlette.datastructures import State

from console.live import Figure, Source
from lifecycle.access.keys import Role
from lifecycle.aliases import Alias
from lifecycle.registry import Registry
from service.bases_now import bases_now
from service.catalogue import Snapshot
from service.parts import Parts


def sources(state: State) -> list[Source]:
    parts: Parts = state.parts
    registry: Registry = state.registry
    known: tuple[Snapshot | None, list[Alias]] = (None, [])

    def watched() -> list[Alias]:
        """The split aliases of the newest snapshot, looked for once in each."""
        nonlocal known
        snapshot = parts.catalogue.snapshot
        if known[0] is not snapshot:
            known = snapshot, list(split_aliases(snapshot))
        return known[1]

    async def evidence() -> dict[str, Figure]:
        return {key: value for alias in watched() for key, value in evidence_of(parts, alias).items()}

    async def stamps() -> dict[str, Figure]:
        jobs = await parts.at_registry.run(registry.jobs.under_way, None)
        states = [(job.id, job.state, job.progress.step, job.progress.total_steps) for job in jobs]
        return {"overview.stamp": stamp(parts), "overview.jobs": f"{zlib.crc32(repr(states).encode()):08x}"}

    return [
        Source("canary", Role.CALLER, evidence, lambda key: key.removeprefix("canary.").partition(":")[0]),
        Source("overview", Role.CALLER, stamps),
    ]


def split_aliases(snapshot: Snapshot) -> Iterator[Alias]:
    for of_name in snapshot.aliases.values():
        yield from (alias for alias in of_name.values() if alias.incumbent is not None)


def evidence_of(parts: Parts, alias: Alias) -> dict[str, Figure]:
    """`canary.triage:prod.4.error_rate.value`, and so on, as far as this service has seen or heard."""
    figures: dict[str, Figure] = {}
    for figure in parts.traffic.guard.figures(alias):
        place = f"canary.{alias.ref}.{figure.canary}.{figure.name}"
        figures |= {f"{place}.value": figure.value, f"{place}.baseline": figure.baseline}
        figures |= {f"{place}.n": figure.n, f"{place}.evidence": min(figure.evidence, 1.0)}
    return figures


def stamp(parts: Parts) -> str:
    """Another one when a page that was made before would be made otherwise now; jobs have their own."""
    snapshot, guard = parts.catalogue.snapshot, parts.traffic.guard
    told = (
        snapshot.revision, parts.supervisor.waiting_for(), parts.under_way.draining_since, parts.catalogue.problem,
        len(snapshot.left_out), guard.stuck(), sorted(parts.residency.failures()), sorted(parts.classifiers.failures()),
        parts.engine.structured_output(), [now.waiting_for for now in bases_now(parts)],
    )  # fmt: skip
    return f"{zlib.crc32(repr(told).encode()):08x}"
