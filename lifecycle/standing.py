"""A version's standing: what its verdicts come to under its name's gate. Pure.

`aliases.py` asks `objections` before `prod` moves, `registry/judging.py` moves states by `state_after` and `satisfied`,
`evals` shows `opens` beside each verdict. Lists of verdicts are those of one version, the newest first.
"""

from __future__ import annotations

from collections.abc import Sequence

from lifecycle.gates import Gate, SuiteFacts
from lifecycle.states import State
from lifecycle.verdict import Ruling, Verdict
from lifecycle.version import Version

SET_GATE = "dabt gate set {name} --policy policy.yaml --eval {name}.yaml --reason …"


def asks_for(gate: Gate, verdict: Verdict) -> bool:
    """Whether the verdict is by the gate's policy, in one of its suites."""
    return verdict.policy_digest == gate.policy and verdict.suite_digest in {suite.digest for suite in gate.suites}


def deciding(gate: Gate, suite: SuiteFacts, version_digest: str, verdicts: Sequence[Verdict]) -> Verdict | None:
    """The newest verdict that counts in this suite; looks and what was left undecided do not."""
    of_suite = _in_suite(gate, suite, version_digest, verdicts)
    return next((verdict for verdict in of_suite if verdict.decides), None)


def satisfied(gate: Gate, version_digest: str, verdicts: Sequence[Verdict]) -> bool:
    """Whether the deciding verdict passed in every suite."""
    decisive = [deciding(gate, suite, version_digest, verdicts) for suite in gate.suites]
    return all(verdict is not None and verdict.passed for verdict in decisive)


def objections(gate: Gate | None, version: Version, verdicts: Sequence[Verdict]) -> list[str]:
    """Why the version is not through its name's gate, each reason with its cure; empty when it is."""
    if gate is None:
        command = SET_GATE.format(name=version.name)
        return [f"{version.name} has no gate, so no verdict can open its prod; an admin sets one with `{command}`"]
    lacking = [_lacks(gate, suite, version, verdicts) for suite in gate.suites]
    reasons = [words for words in lacking if words is not None]
    if not reasons and version.state is not State.APPROVED:
        return [f"{version.ref} is {version.state}, not approved; run `dabt eval` again"]
    return reasons


def state_after(state: State, gate: Gate | None, verdict: Verdict, verdicts: Sequence[Verdict]) -> State:
    """The state once `verdict`, the first of `verdicts`, is recorded. Looks and other gates' verdicts move nothing."""
    if gate is None or not verdict.decides or not asks_for(gate, verdict):
        return state
    if verdict.passed:
        return State.APPROVED if satisfied(gate, verdict.version_digest, verdicts) else state
    return {State.EVALUATED: State.REJECTED, State.APPROVED: State.DOUBTED}.get(state, state)


def opens(gate: Gate | None, verdict: Verdict, verdicts: Sequence[Verdict], suite: SuiteFacts | None) -> str:
    """Which aliases the verdict opens, or why none. `suite` is what was measured, to say where it is another."""
    why = _not_asked_for(gate, verdict, suite) or _not_enough(gate, verdict, verdicts)
    return f"opens nothing: {why}" if why else f"opens {_name(verdict)}:prod"


def _not_asked_for(gate: Gate | None, verdict: Verdict, suite: SuiteFacts | None) -> str | None:
    name = _name(verdict)
    if verdict.provisional:
        return f"this run is provisional ({'; '.join(verdict.provisional)})"
    if gate is None:
        return f"{name} has no gate; an admin sets one with `{SET_GATE.format(name=name)}`"
    if verdict.policy_digest != gate.policy:
        return f"the gate of {name} asks for its policy {gate.policy_name}, and this is another"
    if asks_for(gate, verdict):
        return None
    if suite is None:
        return f"the gate of {name} asks for another suite"
    nearest = min((suite.differences(asked) for asked in gate.suites), key=len)
    return f"the gate of {name} asks for another suite than this; they differ in {', '.join(nearest)}"


def _not_enough(gate: Gate | None, verdict: Verdict, verdicts: Sequence[Verdict]) -> str | None:
    if verdict.ruling is not Ruling.PASSED:
        return "it did not pass" if verdict.ruling is Ruling.FAILED else "it is undecided"
    if not verdict.decides or gate is None:
        return "it does not say what was measured, or what answered"
    lacking = [
        suite.task
        for suite in gate.suites
        if (decisive := deciding(gate, suite, verdict.version_digest, verdicts)) is None or not decisive.passed
    ]
    return f"the gate of {gate.name} also asks for {', '.join(lacking)}" if lacking else None


def _name(verdict: Verdict) -> str:
    return verdict.ref.partition(":")[0]


def _in_suite(gate: Gate, suite: SuiteFacts, version_digest: str, verdicts: Sequence[Verdict]) -> list[Verdict]:
    wanted = (gate.policy, suite.digest, version_digest)
    return [
        verdict
        for verdict in verdicts
        if (verdict.policy_digest, verdict.suite_digest, verdict.version_digest) == wanted
    ]


def _lacks(gate: Gate, suite: SuiteFacts, version: Version, verdicts: Sequence[Verdict]) -> str | None:
    """Why the version has not passed in this suite; None when it has."""
    where = f"in suite {suite.task} under policy {gate.policy_name}"
    if (verdict := deciding(gate, suite, version.digest, verdicts)) is not None:
        if verdict.passed:
            return None
        return f"the newest verdict on {version.ref} {where} did not pass ({verdict.why})"
    of_suite = _in_suite(gate, suite, version.digest, verdicts)
    if undecided := [verdict for verdict in of_suite if not verdict.provisional]:
        why = undecided[0].why
        return f"the newest verdict on {version.ref} {where} is undecided ({why}); run `dabt eval` on more items"
    if of_suite:
        looks = "; ".join(of_suite[0].provisional)
        return f"{version.ref} has no verdict {where}, only looks ({looks}); run `dabt eval` on the whole of it"
    if any(verdict.version_digest != version.digest for verdict in verdicts):
        return f"{version.ref} has a verdict for another recipe, and none of its own {where}; run `dabt eval` again"
    others = f" (verdicts of it that do not count here: {len(verdicts)})" if verdicts else ""
    return f"{version.ref} has no verdict {where}{others}; run `dabt eval` first"
