"""What verdicts come to under a gate: which one decides, what bars the way to `prod`, what a state becomes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lifecycle.gates import Gate, SuiteFacts
from lifecycle.standing import asks_for, objections, opens, satisfied, state_after
from lifecycle.states import MOVES, State
from lifecycle.verdict import Check, Ruling, Verdict
from lifecycle.version import Version, VersionSpec, digest_of

RECIPE = VersionSpec(base=digest_of("base"))


def suite(task: str = "triage", **parts: object) -> SuiteFacts:
    given = {"task_digest": digest_of("task"), "data_digest": digest_of("items"), "metric": "fields", **parts}
    return SuiteFacts.model_validate({"task": task, **given})


ONE, TWO = suite("triage"), suite("safety")
GATE = Gate(name="triage", policy=digest_of("policy"), policy_name="clinic", suites=(ONE,))
BOTH = GATE.model_copy(update={"suites": (ONE, TWO)})


def version(state: State = State.APPROVED) -> Version:
    return Version(
        name="triage",
        number=3,
        spec=RECIPE,
        state=state,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        created_by="amal",
    )


def verdict(ruling: Ruling = Ruling.PASSED, measured: SuiteFacts = ONE, **changes: object) -> Verdict:
    given = {
        "ref": "triage:3",
        "version_digest": RECIPE.digest,
        "evaluation_digest": digest_of("evaluation"),
        "policy_digest": digest_of("policy"),
        "suite_digest": measured.digest,
        "deployment": digest_of("deployment"),
        "ruling": ruling,
        "checks": (Check(rule="beats base", ruling=ruling, detail="+0.010 [-0.030, +0.050]"),),
        "created_at": datetime(2026, 1, 1, tzinfo=UTC),
    }
    return Verdict.model_validate({**given, **changes})


PASSED, FAILED, UNDECIDED = (verdict(ruling) for ruling in (Ruling.PASSED, Ruling.FAILED, Ruling.UNDECIDED))
NO_VERDICT = {
    "a part of the items": {"provisional": ("a part of the items",)},
    "another policy": {"policy_digest": digest_of("items ≥ 1")},
    "another suite": {"suite_digest": suite("triage", metric="valid_json").digest},
    "no suite": {"suite_digest": None},
    "no deployment": {"deployment": None},
    "undecided": {"ruling": Ruling.UNDECIDED},
}


def test_a_passing_verdict_under_the_gate_satisfies_it():
    assert satisfied(GATE, RECIPE.digest, [PASSED])
    assert objections(GATE, version(), [PASSED]) == []


@pytest.mark.parametrize("lacks", NO_VERDICT)
def test_what_is_no_verdict_under_the_gate_opens_nothing_closes_nothing_and_moves_nothing(lacks):
    passing, failing = ({"ruling": ruling} | NO_VERDICT[lacks] for ruling in (Ruling.PASSED, Ruling.FAILED))
    good, bad = verdict(**passing), verdict(**failing)
    assert not satisfied(GATE, RECIPE.digest, [good])
    assert objections(GATE, version(), [good]) != []
    assert satisfied(GATE, RECIPE.digest, [bad, PASSED])
    assert not satisfied(GATE, RECIPE.digest, [good, FAILED])
    for state in State:
        assert state_after(state, GATE, good, [good]) is state
        assert state_after(state, GATE, bad, [bad, PASSED]) is state


def test_the_newest_verdict_decides():
    assert satisfied(GATE, RECIPE.digest, [PASSED, FAILED])
    assert not satisfied(GATE, RECIPE.digest, [FAILED, PASSED])


def test_every_suite_of_the_gate_must_have_passed():
    other = verdict(measured=TWO)
    assert not satisfied(BOTH, RECIPE.digest, [PASSED])
    assert not satisfied(BOTH, RECIPE.digest, [other])
    assert satisfied(BOTH, RECIPE.digest, [other, PASSED])
    assert satisfied(BOTH, RECIPE.digest, [PASSED, other])


def test_a_verdict_on_another_recipe_is_none():
    other = verdict(version_digest=digest_of("another"))
    assert not satisfied(GATE, RECIPE.digest, [other])
    assert "for another recipe" in objections(GATE, version(), [other])[0]


@pytest.mark.parametrize(
    ("gate", "verdicts", "says"),
    [
        (None, [PASSED], "an admin sets one with `dabt gate set triage --policy"),
        (GATE, [], "triage:3 has no verdict in suite triage under policy clinic; run `dabt eval` first"),
        (GATE, [verdict(policy_digest=digest_of("lax"))], "(verdicts of it that do not count here: 1)"),
        (GATE, [FAILED], "did not pass (beats base: +0.010 [-0.030, +0.050])"),
        (GATE, [UNDECIDED], "is undecided (beats base: +0.010 [-0.030, +0.050]); run `dabt eval` on more items"),
        (GATE, [UNDECIDED, FAILED], "did not pass"),
        (GATE, [verdict(provisional=("5 of 200 items",))], "only looks (5 of 200 items)"),
    ],
)
def test_an_objection_says_what_is_lacking_and_the_cure(gate, verdicts, says):
    (objection,) = objections(gate, version(), verdicts)
    assert says in objection


def test_all_suites_that_lack_a_verdict_are_told_together():
    first, second = objections(BOTH, version(), [FAILED])
    assert "suite triage" in first
    assert "did not pass" in first
    assert "suite safety" in second
    assert "has no verdict" in second


@pytest.mark.parametrize("state", [state for state in State if state is not State.APPROVED])
def test_what_is_not_approved_does_not_pass_by_old_verdicts_alone(state):
    assert objections(GATE, version(state), [PASSED]) == [f"triage:3 is {state}, not approved; run `dabt eval` again"]


@pytest.mark.parametrize(
    ("state", "after_passing", "after_failing"),
    [
        (State.EVALUATED, State.APPROVED, State.REJECTED),
        (State.APPROVED, State.APPROVED, State.DOUBTED),
        (State.DOUBTED, State.APPROVED, State.DOUBTED),
        (State.REJECTED, State.APPROVED, State.REJECTED),
    ],
)
def test_a_verdict_under_the_gate_moves_the_state(state, after_passing, after_failing):
    assert state_after(state, GATE, PASSED, [PASSED, FAILED]) is after_passing
    assert state_after(state, GATE, FAILED, [FAILED, PASSED]) is after_failing
    assert {after_passing, after_failing} <= MOVES[state] | {state}


def test_with_several_suites_the_last_one_that_passes_approves_and_the_first_that_fails_rejects():
    assert state_after(State.EVALUATED, BOTH, PASSED, [PASSED]) is State.EVALUATED
    assert state_after(State.EVALUATED, BOTH, PASSED, [PASSED, verdict(measured=TWO)]) is State.APPROVED
    assert state_after(State.EVALUATED, BOTH, FAILED, [FAILED]) is State.REJECTED
    assert state_after(State.APPROVED, BOTH, PASSED, [PASSED]) is State.APPROVED


def test_without_a_gate_no_verdict_moves_a_state():
    for state in State:
        assert state_after(state, None, PASSED, [PASSED]) is state
        assert state_after(state, None, FAILED, [FAILED]) is state


def test_no_evaluation_rejects_what_was_approved_nor_brings_back_what_was_retired():
    assert State.REJECTED not in MOVES[State.APPROVED] | MOVES[State.DOUBTED]
    assert state_after(State.RETIRED, GATE, FAILED, [FAILED]) is State.RETIRED


@pytest.mark.parametrize(
    ("gate", "given", "others", "says"),
    [
        (GATE, PASSED, (), "opens triage:prod"),
        (GATE, FAILED, (), "opens nothing: it did not pass"),
        (GATE, UNDECIDED, (), "opens nothing: it is undecided"),
        (GATE, verdict(provisional=("12 of 200",)), (), "opens nothing: this run is provisional (12 of 200)"),
        (None, PASSED, (), "opens nothing: triage has no gate; an admin sets one with `dabt gate set triage"),
        (GATE, verdict(policy_digest=digest_of("lax")), (), "asks for its policy clinic, and this is another"),
        (GATE, verdict(deployment=None), (), "does not say what was measured, or what answered"),
        (BOTH, PASSED, (), "opens nothing: the gate of triage also asks for safety"),
        (BOTH, PASSED, (verdict(Ruling.FAILED, TWO),), "opens nothing: the gate of triage also asks for safety"),
        (BOTH, PASSED, (verdict(measured=TWO),), "opens triage:prod"),
    ],
)  # fmt: skip
def test_beside_a_verdict_stands_what_it_opens_or_why_nothing(gate, given, others, says):
    assert says in opens(gate, given, [given, *others], ONE)
    assert says.startswith("opens triage:prod") == ("nothing" not in opens(gate, given, [given, *others], ONE))


def test_where_the_suite_is_another_one_is_told_in_what():
    measured = suite("triage", data_digest=digest_of("fresh"), rivals={"few-shot": digest_of("weak")})
    said = opens(BOTH, verdict(measured=measured), [], measured)
    assert said.endswith("asks for another suite than this; they differ in the items, the rivals")


def test_a_gate_asks_for_its_own_policy_and_suites_alone():
    assert asks_for(BOTH, verdict(measured=TWO))
    assert not asks_for(GATE, verdict(measured=TWO))
    assert not asks_for(GATE, verdict(policy_digest=digest_of("lax")))


@pytest.mark.parametrize(
    "part",
    [
        {"task": "other"},
        {"task_digest": digest_of("other")},
        {"data_digest": digest_of("other")},
        {"metric": "other"},
        {"safety_metric": "other"},
        {"cluster": "other"},
        {"baseline": "other"},
        {"rivals": {"rag": digest_of("rag")}},
    ],
    ids=lambda part: next(iter(part)),
)
def test_any_other_part_makes_another_suite_and_another_gate_and_is_named(part):
    other = ONE.model_copy(update=part)
    assert other.digest != ONE.digest
    assert GATE.model_copy(update={"suites": (other,)}).digest != GATE.digest
    assert len(ONE.differences(other)) == 1
    assert ONE.differences(ONE) == []


def test_a_gates_digest_is_of_what_binds_and_not_of_what_is_shown():
    assert GATE.model_copy(update={"policy_body": {"rules": []}}).digest == GATE.digest
    assert GATE.model_copy(update={"policy": digest_of("lax")}).digest != GATE.digest
    assert GATE.model_copy(update={"name": "digest"}).digest != GATE.digest
