"""What is wrong now, as far as this service knows: what /ready says, and what deploy/prometheus warns of and is known
without a history of figures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal
from urllib.parse import quote

from console.language import N_
from console.screens.overview.figures import split_aliases
from console.viewer import Viewer
from lifecycle.access.keys import Role
from lifecycle.registry.audit import AuditEntry
from lifecycle.states import State
from service.bases_now import bases_now
from service.parts import Parts

ROLLED_BACK_FOR = timedelta(hours=24)
"""So long a canary that was rolled back by itself is told of."""
_MOST_REFS = 5


@dataclass(frozen=True, slots=True)
class Alert:
    weight: Literal["critical", "warning"]
    sentence: str
    """In English; shown translated, with `names` filled in."""
    names: dict[str, str] = field(default_factory=dict)
    """All of them names, ids or codes."""
    said: str = ""
    """More of it, as the service itself says it."""
    place: str = ""
    """The page where something can be done."""


def alerts_of(parts: Parts, viewer: Viewer, rolled_back: list[AuditEntry]) -> list[Alert]:
    """The critical ones first."""
    told = [*_of_the_service(parts, viewer), *_of_versions(parts, viewer), *_of_the_trail(viewer, rolled_back)]
    return sorted(told, key=lambda alert: alert.weight != "critical")


def change_page(ref: str) -> str:
    return f"/ui/overview/change?ref={quote(ref)}"


def _of_the_service(parts: Parts, viewer: Viewer) -> Iterator[Alert]:
    waiting = parts.supervisor.waiting_for()
    if parts.under_way.draining_since is not None:
        yield Alert("critical", N_("The service is stopping, and takes no new requests."))
    elif waiting:
        yield Alert("critical", N_("The service is not ready: requests are refused."), said="; ".join(waiting))
    for now in () if waiting else bases_now(parts):
        if not now.is_ready:
            yield Alert(
                "critical", N_("Requests to %(base)s and to versions over it are refused. Other bases answer."),
                {"base": now.base.name}, "; ".join(now.waiting_for),
            )  # fmt: skip
    if parts.catalogue.problem is not None:
        yield Alert(
            "warning",
            N_("The registry cannot be read (%(code)s). Serving goes on from its revision %(revision)s."),
            {"code": parts.catalogue.problem, "revision": str(parts.catalogue.snapshot.revision)},
        )
    if (structured := parts.engine.structured_output()) != "ok" and not waiting:
        yield Alert(
            "warning", N_("No answer is held to a schema or grammar now (%(code)s). Other requests go on."),
            {"code": structured},
        )  # fmt: skip
    left_out = parts.catalogue.snapshot.left_out
    if left_out and viewer.may(Role.EVALUATOR):
        refs = [f"{kind} {ref}" for kind, ref in left_out]
        more = f" … {len(refs)}" if len(refs) > _MOST_REFS else ""
        yield Alert(
            "warning", N_("This release cannot read rows of the registry that another one wrote. Upgrade the service."),
            said=", ".join(refs[:_MOST_REFS]) + more,
        )  # fmt: skip


def _of_versions(parts: Parts, viewer: Viewer) -> Iterator[Alert]:
    snapshot = parts.catalogue.snapshot
    for alias in split_aliases(snapshot):
        if viewer.sees(alias.name) and (problem := parts.traffic.guard.problem(alias)) is not None:
            yield Alert(
                "critical", N_("The canary of %(alias)s broke a bound and cannot be rolled back. It still answers."),
                {"alias": alias.ref}, problem, change_page(alias.ref),
            )  # fmt: skip
    failures = {**parts.residency.failures(), **parts.classifiers.failures()}
    for name, of_name in snapshot.aliases.items():
        if not viewer.sees(name):
            continue
        for alias in of_name.values():
            for version in snapshot.behind(alias):
                if failures and (made := version.spec.artifact) is not None and made[1] in failures:
                    yield Alert(
                        "warning", N_("%(version)s behind %(alias)s does not load: its callers get errors."),
                        {"version": version.ref, "alias": alias.ref}, failures[made[1]], change_page(alias.ref),
                    )  # fmt: skip
                if version.state is State.DOUBTED:
                    yield Alert(
                        "warning", N_("%(version)s serves %(alias)s and has failed an evaluation since."),
                        {"version": version.ref, "alias": alias.ref}, place=change_page(alias.ref),
                    )  # fmt: skip


def _of_the_trail(viewer: Viewer, rolled_back: list[AuditEntry]) -> Iterator[Alert]:
    since = datetime.now(UTC) - ROLLED_BACK_FOR
    for entry in rolled_back:
        if entry.at >= since and viewer.sees(entry.subject.partition(":")[0]):
            yield Alert(
                "warning", N_("The canary of %(alias)s was rolled back by itself."), {"alias": entry.subject},
                entry.reason, change_page(entry.subject),
            )  # fmt: skip
