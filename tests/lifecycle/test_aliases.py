"""Moving traffic: the gate before `prod`, forcing past it, splitting, and rolling back; on both databases."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from lifecycle.errors import InvalidInput, NotAllowed, NotFound
from lifecycle.registry import Target, tables
from lifecycle.states import State
from lifecycle.version import digest_of


def promote(house, ref, **options):
    return house.registry.promote(ref, actor="amal", **{"reason": "because", **options})


def test_prod_takes_a_version_whose_verdict_passed(house):
    version = house.judged()
    assert promote(house, version.ref).targets == (Target(number=1, weight=1.0),)
    assert house.registry.version("triage") == version


def test_prod_refuses_a_version_without_a_verdict(house):
    house.evaluated()
    with pytest.raises(NotAllowed, match="has no verdict"):
        promote(house, "triage:1")
    with pytest.raises(NotFound, match="no triage:prod"):
        house.registry.version("triage")


def test_prod_refuses_a_version_whose_newest_verdict_failed(house):
    version, report = house.evaluated()
    house.registry.record_verdict(house.verdict_on(version, report))
    house.registry.record_verdict(house.verdict_on(version, report, passed=False))
    with pytest.raises(NotAllowed, match=r"did not pass \(beats base"):
        promote(house, "triage:1")


def test_prod_refuses_a_passing_verdict_for_another_digest(house):
    """The registry lets no such verdict in, so this one is slipped in behind its back: the gate must still hold."""
    version = house.judged()
    body = house.registry.verdicts(version.ref)[0].model_copy(update={"version_digest": digest_of("another")})
    with house.registry._database.write() as tx:
        tx.execute(update(tables.verdicts).values(body=body.model_dump(mode="json")))
    with pytest.raises(NotAllowed, match="for another recipe"):
        promote(house, version.ref)


def test_a_forced_promotion_needs_a_written_reason_and_leaves_a_record(house):
    house.draft()
    with pytest.raises(InvalidInput, match="written reason"):
        promote(house, "triage:1", force=True, reason="  ")
    promote(house, "triage:1", force=True, reason="outage: the old one is unsafe")
    entry = house.registry.audit("triage")[0]
    assert (entry.action, entry.actor, entry.reason) == ("alias.force", "amal", "outage: the old one is unsafe")
    assert "triage has no gate" in entry.detail["overridden"][0]
    assert house.registry.version("triage").state is State.DRAFT, "forcing moves traffic, it does not approve"


def test_force_that_was_not_needed_is_recorded_as_a_plain_move(house):
    house.judged()
    promote(house, "triage:1", force=True)
    assert house.registry.audit("triage")[0].action == "alias.move"


@pytest.mark.parametrize("alias", ["prod", "canary"])
def test_a_retired_version_stands_behind_no_alias(house, alias):
    version = house.judged()
    house.registry.retire(version.ref, actor="amal", reason="superseded")
    with pytest.raises(NotAllowed, match="triage:1 is retired; make a new version of its recipe"):
        promote(house, version.ref, alias=alias)


def test_a_retired_version_cannot_be_forced_into_traffic(house):
    house.judged()
    house.registry.retire("triage:1", "amal", "wrong")
    with pytest.raises(NotAllowed, match="retired"):
        promote(house, "triage:1", force=True)


@pytest.mark.parametrize("alias", ["canary", "shadow"])
def test_other_aliases_take_what_was_evaluated_and_refuse_drafts_and_rejected(house, alias):
    house.evaluated("a")
    assert promote(house, "triage:1", alias=alias).targets[0].number == 1
    house.draft("b")
    house.judged("c", passed=False)
    for ref, state in (("triage:2", "draft"), ("triage:3", "rejected")):
        with pytest.raises(NotAllowed, match=f"{ref} is {state}"):
            promote(house, ref, alias=alias)
    assert house.registry.version(f"triage:{alias}").number == 1


def test_a_split_alias_is_held_to_the_gate_for_every_target_and_tells_all_that_fail(house):
    house.judged("a")
    house.draft("b")
    house.judged("c", passed=False)
    targets = [Target(number=n, weight=1) for n in (1, 2, 3)]
    with pytest.raises(NotAllowed) as caught:
        house.registry.set_alias("triage", "prod", targets, actor="amal", reason="try")
    assert "triage:2 has no verdict" in str(caught.value)
    assert "on triage:3 in suite triage under policy policy did not pass" in str(caught.value)


def test_a_split_alias_keeps_shares_that_sum_to_one_and_names_no_single_version(house):
    house.judged("a")
    house.judged("b")
    targets = [Target(number=2, weight=1), Target(number=1, weight=3)]
    house.registry.set_alias("triage", "prod", targets, actor="amal", reason="canary")
    assert house.prod() == {1: 0.75, 2: 0.25}
    with pytest.raises(InvalidInput, match="split over triage:1, triage:2"):
        house.registry.version("triage:prod")


@pytest.mark.parametrize("targets", [[], [1, 1]])
def test_an_alias_needs_targets_each_named_once(house, targets):
    house.judged("a")
    chosen = [Target(number=number) for number in targets]
    with pytest.raises(InvalidInput, match="each version once"):
        house.registry.set_alias("triage", "prod", chosen, actor="amal", reason="try")


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_a_weight_is_a_positive_number(weight):
    with pytest.raises(ValueError, match="weight"):
        Target(number=1, weight=weight)


@pytest.mark.parametrize("alias", ["3", "007", "Prod", "", "a:b", "٣", "prod\n"])
def test_an_alias_that_reads_as_a_number_or_that_no_request_can_write_is_refused(house, alias):
    house.judged("a")
    with pytest.raises(InvalidInput):
        promote(house, "triage:1", alias=alias)


def test_an_alias_of_an_unknown_version_is_refused(house):
    house.judged("a")
    with pytest.raises(NotFound, match="no version triage:9"):
        house.registry.set_alias("triage", "canary", [Target(number=9)], actor="amal", reason="typo")


def test_pointing_an_alias_where_it_points_changes_nothing(house):
    house.promoted("a")
    house.promoted("b")
    revision = house.registry.revision()
    promote(house, "triage:2", reason="again")
    assert house.registry.revision() == revision
    house.registry.rollback("triage", actor="amal", reason="bad")
    assert house.prod() == {1: 1.0}, "the repeat left no step of its own to roll back"


def test_rollback_goes_one_move_back_each_time_and_then_says_that_nothing_came_before(house):
    for system in ("a", "b", "c"):
        house.promoted(system)
    seen = []
    for _ in range(2):
        house.registry.rollback("triage", actor="amal", reason="bad")
        seen.append(house.prod())
    assert seen == [{2: 1.0}, {1: 1.0}]
    with pytest.raises(NotAllowed, match="nothing before it"):
        house.registry.rollback("triage", actor="amal", reason="bad")
    assert house.prod() == {1: 1.0}


def test_a_move_that_was_rolled_back_is_not_what_a_later_rollback_returns_to(house):
    for system in ("a", "b"):
        house.promoted(system)
    house.registry.rollback("triage", actor="amal", reason="b is bad")
    house.promoted("c")
    house.registry.rollback("triage", actor="amal", reason="c is bad too")
    assert house.prod() == {1: 1.0}


def test_rollback_restores_a_split_as_it_was(house):
    house.judged("a")
    house.judged("b")
    split = [Target(number=1, weight=0.9), Target(number=2, weight=0.1)]
    house.registry.set_alias("triage", "prod", split, actor="amal", reason="canary")
    promote(house, "triage:2")
    house.registry.rollback("triage", actor="amal", reason="bad")
    assert house.prod() == {1: 0.9, 2: 0.1}


def test_what_was_promoted_can_be_rolled_back_to_whatever_evaluations_have_found_since(house):
    first = house.promoted("a")
    house.promoted("b")
    assert house.judge(first, passed=False).state is State.DOUBTED
    house.judge(first, house.report_on(first, provisional=("a part of the items",)), passed=False)
    house.registry.rollback("triage", actor="amal", reason="bad")
    assert house.prod() == {1: 1.0}


def test_prod_is_rolled_back_to_what_an_older_release_rejected_after_its_promotion(house):
    first = house.promoted("a")
    house.promoted("b")
    with house.registry._database.write() as tx:
        tx.execute(update(tables.versions).where(tables.versions.c.number == 1).values(state="rejected"))
    house.registry.rollback("triage", actor="amal", reason="bad")
    assert house.prod() == {first.number: 1.0}


def test_another_alias_is_not_rolled_back_to_what_was_rejected_since_unless_it_was_forced_there(house):
    first, _ = house.evaluated("a")
    house.evaluated("b")
    for ref in ("triage:1", "triage:2"):
        promote(house, ref, alias="canary")
    house.judge(first, passed=False)
    with pytest.raises(NotAllowed, match="triage:1 is rejected"):
        house.registry.rollback("triage", actor="amal", reason="bad", alias="canary")
    assert house.registry.version("triage:canary").number == 2, "a refused rollback leaves the alias where it was"
    for ref in ("triage:1", "triage:2"):
        promote(house, ref, alias="canary", force=True)
    house.registry.rollback("triage", actor="amal", reason="bad", alias="canary")
    assert house.registry.version("triage:canary").number == 1


def test_rollback_does_not_return_to_what_has_been_retired(house):
    house.promoted("a")
    house.promoted("b")
    house.registry.retire("triage:1", "amal", "old")
    with pytest.raises(NotAllowed, match="triage:1 is retired"):
        house.registry.rollback("triage", actor="amal", reason="bad")


def test_rollback_returns_to_what_had_been_forced(house):
    house.judged("a", passed=False)
    promote(house, "triage:1", force=True)
    house.promoted("b")
    house.registry.rollback("triage", actor="amal", reason="bad")
    assert house.prod() == {1: 1.0}


def test_rollback_of_a_name_that_was_never_promoted_says_what_to_do(house):
    house.draft()
    with pytest.raises(NotFound, match="dabt promote triage:1"):
        house.registry.rollback("triage", actor="amal", reason="bad")


def test_a_failing_verdict_moves_no_traffic(house):
    version = house.promoted("a")
    assert house.judge(version, passed=False).state is State.DOUBTED
    assert house.prod() == {1: 1.0}
    assert house.registry.version("triage").state is State.DOUBTED


def test_canary_is_promoted_to_prod_by_its_alias(house):
    house.judged("a")
    promote(house, "triage:1", alias="canary")
    assert promote(house, "triage:canary").targets[0].number == 1
    assert [alias.ref for alias in house.registry.aliases("triage")] == ["triage:canary", "triage:prod"]
