"""How traffic moves: an alias's targets and its policy, checked, changed and recorded within one transaction.

The rules are in `aliases.py`, the stack of moves too; `registry.py` opens the transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from lifecycle import aliases
from lifecycle.aliases import Alias, Target
from lifecycle.errors import AliasMoved, InvalidInput, NotAllowed
from lifecycle.registry import alias_stack, audit, records
from lifecycle.states import State
from lifecycle.traffic import TrafficPolicy
from lifecycle.version import Ref, Version


@dataclass(frozen=True, slots=True)
class Decision:
    """Whose it is, and why; `force` goes past the gate."""

    actor: str
    reason: str
    force: bool = False
    expected_revision: int | None = None
    """The registry's revision that it was made by: an alias that has been changed since is left as it is."""


def point(tx: Connection, name: str, alias: str, targets: Sequence[Target], decision: Decision) -> Alias:
    """See `Registry.set_alias`."""
    wanted = Alias(name=name, alias=aliases.check_name(alias), targets=aliases.shares(targets))
    if decision.force and not decision.reason.strip():
        raise InvalidInput("forcing past the gate needs a written reason")
    _require_unchanged(tx, wanted.ref, decision)
    before = alias_stack.find(tx, name, alias)
    refused: list[str] = []
    overridden: list[str] = []
    for target in aliases.growing(before, wanted.targets):
        row = records.version_row(tx, Ref(name=name, number=target.number))
        version, gate = records.to_version(row), records.gate(tx, name)
        if why := aliases.refusal(alias, version, gate, records.verdicts(tx, row)):
            (overridden if decision.force and version.state is not State.RETIRED else refused).append(why)
    if refused:
        raise NotAllowed(f"{wanted.ref} was not moved: {'; '.join(refused)}")
    if before is not None and before.targets == wanted.targets:
        return before
    alias_stack.push(tx, name, alias, wanted.targets, forced=bool(overridden))
    detail: dict[str, Any] = {"from": _shares(before), "to": _shares(wanted)}
    if overridden:
        detail["overridden"] = overridden
    action = audit.FORCE if overridden else audit.MOVE
    audit.append(tx, decision.actor, action, wanted.ref, detail, decision.reason)
    return alias_stack.get(tx, name, alias)


def promote(tx: Connection, ref: str | Ref, alias: str, share: float | None, decision: Decision) -> Alias:
    """See `Registry.promote`."""
    version = records.to_version(records.version_row(tx, ref))
    _require_unchanged(tx, f"{version.name}:{alias}", decision)
    targets: Sequence[Target] = [Target(number=version.number)]
    if share is not None:
        targets = aliases.beside(alias_stack.get(tx, version.name, alias), version.number, share)
    return point(tx, version.name, alias, targets, decision)


def rollback(tx: Connection, name: str, alias: str, decision: Decision) -> Alias:
    """See `Registry.rollback`."""
    _require_unchanged(tx, f"{name}:{alias}", decision)
    before = alias_stack.get(tx, name, alias)
    return _back(tx, before, alias_stack.pop(tx, name, alias), decision, {})


def stop_canary(tx: Connection, name: str, alias: str, decision: Decision) -> Alias:
    """See `Registry.stop_canary`."""
    _require_unchanged(tx, f"{name}:{alias}", decision)
    before = alias_stack.get(tx, name, alias)
    if (was_forced := alias_stack.pop_to_incumbent(tx, before)) is None:
        raise NotAllowed(f"{before.ref} has no canary beside a version that had it to itself before: {before}")
    return _back(tx, before, was_forced, decision, {})


def roll_back_canary(tx: Connection, judged: Alias, decision: Decision, figures: dict[str, Any]) -> Alias | None:
    """See `Registry.roll_back_canary`."""
    was_forced = alias_stack.pop_to_incumbent(tx, judged)
    return None if was_forced is None else _back(tx, judged, was_forced, decision, {"figures": figures})


def note_stuck(tx: Connection, judged: Alias, problem: str, decision: Decision) -> None:
    """See `Registry.note_stuck`."""
    now = alias_stack.find(tx, judged.name, judged.alias)
    unmoved = now is not None and (now.move, now.policy.canary) == (judged.move, judged.policy.canary)
    if unmoved and audit.stuck(tx, judged.ref) != problem:
        audit.append(tx, decision.actor, audit.STUCK, judged.ref, {"problem": problem}, decision.reason)


def amend_policy(
    tx: Connection, name: str, alias: str, amend: Callable[[TrafficPolicy], TrafficPolicy], decision: Decision
) -> Alias:
    """See `Registry.amend_policy`."""
    _require_unchanged(tx, f"{name}:{alias}", decision)
    before = alias_stack.get(tx, name, alias)
    policy = amend(before.policy)
    if policy == before.policy:
        return before
    if policy.shadow is not None:
        version = _version(tx, name, policy.shadow.version)
        if why := aliases.refusal("shadow", version):
            raise NotAllowed(f"the policy of {before.ref} was not changed: {why}")
    alias_stack.set_policy(tx, before, policy)
    change = {"from": before.policy.model_dump(mode="json"), "to": policy.model_dump(mode="json")}
    audit.append(tx, decision.actor, audit.POLICY, before.ref, change, decision.reason)
    return alias_stack.get(tx, name, alias)


def _require_unchanged(tx: Connection, ref: str, decision: Decision) -> None:
    """Raises `AliasMoved` with what was done to the alias after the revision that the decision was made by."""
    if (expected := decision.expected_revision) is None:
        return
    if expected > (newest := audit.newest(tx)):
        raise InvalidInput(f"expected_revision is {expected}, and the registry is at {newest}")
    if changes := audit.changes_of_alias(tx, ref, expected):
        told = "; ".join(f"at {entry.at:%Y-%m-%d %H:%M} UTC {entry.actor}: {_said(entry)}" for entry in changes)
        raise AliasMoved(f"{ref} was changed since you looked at it, and nothing was done: {told}. Look at it again")


def _said(entry: audit.AuditEntry) -> str:
    """What was done, and why."""
    why = entry.reason or "no reason was given"
    to = entry.detail.get("to")
    if entry.action == audit.POLICY or not isinstance(to, dict):
        return f"changed its policy ({why})"
    what = ", ".join(f"{version} ({100 * share:.4g}%)" for version, share in to.items())
    if entry.action == audit.ROLLBACK:
        return f"led it back to {what} ({why})"
    if entry.action == audit.FORCE:
        return f"moved it past the gate to {what} ({why})"
    return f"moved it to {what} ({why})"


def _back(tx: Connection, before: Alias, was_forced: bool, decision: Decision, detail: dict[str, Any]) -> Alias:
    """The alias as a move back has left it, recorded. Raises `NotAllowed`, which undoes the move, for what is gone."""
    now = alias_stack.get(tx, before.name, before.alias)
    # What `prod` pointed at had passed its gate or was forced: no evaluation since bars the way back to it.
    gone = {State.RETIRED} if was_forced or now.alias == aliases.PROD else {State.RETIRED, State.REJECTED}
    versions = [_version(tx, now.name, target.number) for target in now.targets]
    if bad := [f"{version.ref} is {version.state}" for version in versions if version.state in gone]:
        raise NotAllowed(f"{now.ref} was not rolled back: {', '.join(bad)} since; promote another version")
    detail = {"from": _shares(before), "to": _shares(now), **detail}
    audit.append(tx, decision.actor, audit.ROLLBACK, now.ref, detail, decision.reason)
    return now


def _version(tx: Connection, name: str, number: int) -> Version:
    return records.to_version(records.version_row(tx, Ref(name=name, number=number)))


def _shares(alias: Alias | None) -> dict[str, float]:
    return {f"{alias.name}:{target.number}": target.weight for target in alias.targets} if alias else {}
