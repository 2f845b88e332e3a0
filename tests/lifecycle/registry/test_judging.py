"""Gates and verdicts in the registry: what a look leaves alone, what a verdict moves, and what a new gate confirms."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lifecycle.errors import InvalidInput, NotAllowed
from lifecycle.states import State
from lifecycle.verdict import Ruling
from lifecycle.version import digest_of

LOOK = ("5 of 200 items",)


def promote(house, ref, **options):
    return house.registry.promote(ref, actor="amal", **{"reason": "because", **options})


def test_without_a_gate_no_verdict_opens_prod_and_the_refusal_says_how_to_set_one(house, registry):
    version = house.draft()
    assert house.judge(version).state is State.EVALUATED, "the verdict is kept, and approves nothing"
    assert registry.verdicts(version.ref)[0].passed
    with pytest.raises(NotAllowed, match=r"dabt gate set triage --policy .* --eval"):
        promote(house, version.ref)


def test_setting_a_gate_approves_what_its_kept_verdicts_satisfy_at_once(house, registry):
    good, bad, other = (house.draft(system) for system in ("good", "bad", "other"))
    house.judge(good)
    house.judge(bad, passed=False)
    house.judge(other, policy="items ≥ 1")
    gate = house.gated()
    assert registry.gate("triage") == gate
    states = [registry.version(version.ref).state for version in (good, bad, other)]
    assert states == [State.APPROVED, State.EVALUATED, State.EVALUATED]
    promote(house, good.ref)
    moved, was_set = registry.audit("triage")[1:3]
    assert (moved.action, moved.detail["gate"]) == ("version.state", gate.digest)
    assert (was_set.action, was_set.subject, was_set.reason) == ("gate.set", "triage", "what patients need")
    assert was_set.detail == {"from": None, "to": gate.digest}


def test_a_new_gate_leaves_what_serves_and_is_asked_at_the_next_promotion(house, registry):
    version = house.promoted("a")
    before = registry.gate("triage")
    stricter = house.gated(policy="stricter")
    assert registry.audit("triage")[0].detail == {"from": before.digest, "to": stricter.digest}
    assert registry.version(version.ref).state is State.APPROVED
    assert house.prod() == {1: 1.0}
    with pytest.raises(NotAllowed, match="no verdict in suite triage under policy stricter"):
        promote(house, house.judged("b").ref)
    house.judge(version, passed=False, policy="policy")
    assert registry.version(version.ref).state is State.APPROVED, "the gate before asks for nothing any more"
    house.judge(version, passed=False, policy="stricter")
    assert registry.version(version.ref).state is State.DOUBTED


def test_a_new_gate_takes_back_a_rejection_that_its_verdicts_do_not_bear_out(house, registry):
    version = house.judged(passed=False)
    house.judge(version, policy="another")
    assert registry.version(version.ref).state is State.REJECTED
    house.gated(policy="another")
    assert registry.version(version.ref).state is State.APPROVED


def test_a_doubt_is_dispelled_by_a_passing_verdict_and_not_by_another_gate(house, registry):
    version = house.judged()
    house.judge(version, policy="another")
    assert house.judge(version, passed=False).state is State.DOUBTED
    house.gated(policy="another")
    assert registry.version(version.ref).state is State.DOUBTED
    assert house.judge(version, policy="another").state is State.APPROVED


def test_setting_the_same_gate_again_is_no_change(house, registry):
    house.gated()
    revision = registry.revision()
    house.gated()
    assert registry.revision() == revision


def test_a_gate_is_one_names(house, registry):
    house.gated("triage")
    assert registry.gate("digest") is None
    assert registry.gate("triage") == house.gate_of("triage")


@pytest.mark.parametrize("passed", [True, False])
def test_a_look_touches_no_standing_blocks_nothing_and_is_kept(house, registry, passed):
    serving, draft = house.promoted("a"), house.draft("b")
    for version in (serving, draft):
        report = house.report_on(version, provisional=LOOK)
        house.judge(version, report, passed=passed)
        assert registry.report(report.digest).provisional == LOOK
        assert registry.verdicts(version.ref)[0].provisional == LOOK
    assert registry.version(serving.ref).state is State.APPROVED
    assert registry.version(draft.ref).state is State.DRAFT
    house.promoted("c")
    registry.rollback("triage", actor="amal", reason="complaints")
    promote(house, "triage:3")
    promote(house, serving.ref)
    with pytest.raises(NotAllowed, match="only looks"):
        promote(house, draft.ref)


def test_an_undecided_verdict_moves_nothing_and_takes_nothing_back(house, registry):
    version = house.judged()
    assert house.judge(version, ruling=Ruling.UNDECIDED).state is State.APPROVED
    promote(house, version.ref)
    fresh, report = house.evaluated("b")
    assert registry.record_verdict(house.verdict_on(fresh, report, ruling=Ruling.UNDECIDED)).state is State.EVALUATED
    with pytest.raises(NotAllowed, match="is undecided"):
        promote(house, fresh.ref)


def test_a_whole_run_that_fails_doubts_what_serves_with_the_reason_in_the_trail_and_stops_nothing(house, registry):
    version = house.promoted("a")
    assert house.judge(version, passed=False).state is State.DOUBTED
    assert house.prod() == {1: 1.0}
    entry = registry.audit("triage")[0]
    assert (entry.action, entry.detail["from"], entry.detail["to"]) == ("version.state", "approved", "doubted")
    assert entry.reason == "beats base: 0.90 against 0.50"
    assert registry.doubt(version.ref) == "beats base: 0.90 against 0.50"
    house.promoted("b")
    with pytest.raises(NotAllowed, match="did not pass"):
        promote(house, version.ref)
    assert house.judge(version).state is State.APPROVED
    assert registry.doubt(version.ref) is None
    promote(house, version.ref)


def test_a_doubted_version_can_be_retired_and_stand_behind_other_aliases(house, registry):
    version = house.judged()
    house.judge(version, passed=False)
    promote(house, version.ref, alias="canary")
    house.judged("b")
    promote(house, "triage:2", alias="canary")
    assert registry.retire(version.ref, "amal", "replaced").state is State.RETIRED


def test_a_gate_with_two_suites_approves_only_what_passed_both(house, registry):
    other = house.suite.model_copy(update={"task": "safety"})
    house.gated("triage", house.suite, other)
    version = house.draft()
    assert house.judge(version).state is State.EVALUATED
    with pytest.raises(NotAllowed, match="no verdict in suite safety"):
        promote(house, version.ref)
    report = house.report_on(version, suite=other)
    assert house.judge(version, report).state is State.APPROVED
    promote(house, version.ref)


def test_a_verdict_cannot_claim_more_than_its_evaluation_holds(house, registry):
    version, report = house.evaluated()
    look = house.report_on(version, provisional=LOOK)
    silent = house.report_on(version, deployment=None, suite=None)
    for one in (look, silent):
        registry.record_report(one)
    verdict = house.verdict_on(version, report)
    claims = {
        "is provisional": {"evaluation_digest": look.digest},
        "names the suite": {"suite_digest": digest_of("other")},
        "names the deployment": {"deployment": digest_of("other")},
    }
    for says, claim in claims.items():
        with pytest.raises(InvalidInput, match=says):
            registry.record_verdict(verdict.model_copy(update=claim))
    unbound = {"evaluation_digest": silent.digest, "suite_digest": None, "deployment": None}
    assert registry.record_verdict(verdict.model_copy(update=unbound)).state is State.EVALUATED
    assert registry.record_verdict(verdict).state is State.APPROVED


def test_a_report_of_a_whole_run_makes_drafts_evaluated_and_a_looks_does_not(house, registry):
    version = house.draft()
    registry.record_report(house.report_on(version, provisional=LOOK))
    assert registry.version(version.ref).state is State.DRAFT
    registry.record_report(house.report_on(version, created_at=datetime(2026, 2, 1, tzinfo=UTC)))
    assert registry.version(version.ref).state is State.EVALUATED
