"""Gates and verdicts within a transaction: what is kept of them, and the states of versions that follow.

The rules are in `standing.py`; `registry.py` opens the transaction.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from lifecycle.errors import InvalidInput, NotAllowed
from lifecycle.gates import Gate
from lifecycle.registry import alias_stack, audit, records, tables
from lifecycle.registry.moves import Decision
from lifecycle.report import Report
from lifecycle.standing import satisfied, state_after
from lifecycle.states import State, move
from lifecycle.verdict import Verdict
from lifecycle.version import Ref, Version

_AWAITING = (State.EVALUATED.value, State.REJECTED.value)


def set_gate(tx: Connection, gate: Gate, decision: Decision) -> None:
    """See `Registry.set_gate`."""
    before = records.gate(tx, gate.name)
    if before is not None and before.digest == gate.digest:
        return
    body = gate.model_dump(mode="json")
    row = {"name": gate.name, "digest": gate.digest, "body": body, "created_at": datetime.now(UTC)}
    tx.execute(insert(tables.gates).values(row))
    change = {"from": before.digest if before else None, "to": gate.digest}
    audit.append(tx, decision.actor, "gate.set", gate.name, change, decision.reason)
    # Only what it confirms: what was approved stays so, and what its own gate rejected waits for a verdict under this.
    here = (tables.versions.c.name == gate.name) & tables.versions.c.state.in_(_AWAITING)
    for version in tx.execute(select(tables.versions).where(here).order_by(tables.versions.c.number)).all():
        if satisfied(gate, version.digest, records.verdicts(tx, version)):
            move_state(tx, version, State.APPROVED, decision.actor, {"gate": gate.digest})


def record_verdict(tx: Connection, verdict: Verdict, actor: str) -> Version:
    """See `Registry.record_verdict`."""
    row = records.version_row(tx, verdict.ref)
    version = records.to_version(row)
    if row.digest != verdict.version_digest:
        raise InvalidInput(f"the verdict is for {verdict.version_digest}, and {verdict.ref} is {row.digest}")
    report = records.to_report(records.report_row(tx, verdict.evaluation_digest))
    _check_rests_on(report, verdict)
    if records.first(tx, tables.verdicts, tables.verdicts.c.digest == verdict.digest):
        return version
    if version.state is State.RETIRED:
        raise NotAllowed(f"{version.ref} is retired: no verdict is recorded on it")
    tx.execute(
        insert(tables.verdicts).values(
            digest=verdict.digest,
            version_id=row.id,
            evaluation_digest=verdict.evaluation_digest,
            passed=verdict.passed,
            body=verdict.model_dump(mode="json"),
        )
    )
    names = {"verdict": verdict.digest, "evaluation": verdict.evaluation_digest, "policy": verdict.policy_digest}
    kind = {"provisional": True} if verdict.provisional else {}
    audit.append(tx, actor, "verdict.record", version.ref, {**names, "ruling": verdict.ruling.value, **kind})
    gate = records.gate(tx, version.name)
    state = state_after(version.state, gate, verdict, records.verdicts(tx, row))
    return move_state(tx, row, state, actor, names, verdict.why if state is State.DOUBTED else "")


def retire(tx: Connection, ref: str | Ref, actor: str, reason: str) -> Version:
    """Raises `NotAllowed` while an alias points at the version."""
    row = records.version_row(tx, ref)
    version = records.to_version(row)
    behind = [alias.ref for alias in alias_stack.every(tx, version.name) if version.number in alias.numbers]
    if behind:
        raise NotAllowed(f"{version.ref} is behind {', '.join(behind)}; move that first, then retire it")
    return move_state(tx, row, State.RETIRED, actor, reason=reason)


def move_state(
    tx: Connection, row: Row[Any], to: State, actor: str, detail: dict[str, Any] | None = None, reason: str = ""
) -> Version:
    """The version in its new state, recorded; nothing is, when it is in it already."""
    version = records.to_version(row)
    if version.state is to:
        return version
    move(version.ref, version.state, to)
    tx.execute(update(tables.versions).where(tables.versions.c.id == row.id).values(state=to.value))
    states = {"from": version.state.value, "to": to.value}
    audit.append(tx, actor, "version.state", version.ref, {**states, **(detail or {})}, reason)
    return version.model_copy(update={"state": to})


def _check_rests_on(report: Report, verdict: Verdict) -> None:
    """Raises `InvalidInput` when the verdict claims more than its evaluation holds."""
    arm = next((arm for arm in report.arms if arm.version_digest == verdict.version_digest), None)
    if arm is None:
        raise InvalidInput(f"{verdict.ref} was no arm of the evaluation {verdict.evaluation_digest}")
    if report.provisional and not verdict.provisional:
        reasons = "; ".join(report.provisional)
        raise InvalidInput(f"the evaluation {report.digest} is provisional ({reasons}), and so are verdicts on it")
    suite = report.suite.digest if report.suite else None
    deployment = arm.deployment or report.deployment
    answered = deployment.digest if deployment else None
    for name, claimed, there in (("suite", verdict.suite_digest, suite), ("deployment", verdict.deployment, answered)):
        if claimed not in (None, there):
            raise InvalidInput(f"the verdict names the {name} {claimed}, and its evaluation {there}")
