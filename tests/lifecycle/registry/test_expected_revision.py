"""A move that was decided by a look at an alias is not made when the alias has been changed since that look."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from lifecycle.aliases import Target
from lifecycle.errors import AliasMoved, InvalidInput, NotAllowed
from lifecycle.traffic import CanaryBounds, TrafficPolicy


def both(house):
    return house.promoted("one"), house.judged("two")


def test_a_move_goes_on_while_nothing_has_changed_for_the_alias(registry, house):
    first, second = both(house)
    seen = registry.revision()
    house.draft("another")  # the registry moves on, and the alias does not
    registry.promote(second.ref, actor="amal", reason="better", share=0.1, expected_revision=seen)
    seen = registry.revision()
    evenly = [Target(number=first.number), Target(number=second.number)]
    registry.set_alias("triage", "prod", evenly, actor="amal", reason="more", expected_revision=seen)
    registry.rollback("triage", actor="amal", reason="less", expected_revision=registry.revision())
    assert house.prod() == {first.number: 0.9, second.number: 0.1}


def test_the_second_of_two_is_told_what_was_done_since_the_look_and_nothing_is_done(registry, house):
    first, second = both(house)
    seen = registry.revision()
    registry.promote(second.ref, actor="amal", reason="أسرع", expected_revision=seen)
    before = registry.revision()
    for late in (
        lambda: registry.promote(second.ref, actor="sami", reason="x", expected_revision=seen),
        lambda: registry.promote(first.ref, actor="sami", reason="x", share=0.5, expected_revision=seen),
        lambda: registry.set_alias(
            "triage", "prod", [Target(number=1)], actor="sami", reason="x", expected_revision=seen
        ),
        lambda: registry.rollback("triage", actor="sami", reason="x", expected_revision=seen),
        lambda: registry.stop_canary("triage", actor="sami", reason="x", expected_revision=seen),
    ):
        with pytest.raises(
            AliasMoved, match=r"triage:prod was changed .* amal: moved it to triage:2 \(100%\) \(أسرع\)"
        ):
            late()
    assert registry.revision() == before


def test_a_rollback_to_what_was_seen_and_a_change_of_bounds_are_changes_too(registry, house):
    _, second = both(house)
    seen = registry.revision()
    registry.promote(second.ref, actor="amal", reason="better")
    registry.rollback("triage", actor="omar", reason="worse")
    with pytest.raises(AliasMoved, match=r"amal: moved it to .*; .*omar: led it back to triage:1"):
        registry.promote(second.ref, actor="sami", reason="x", expected_revision=seen)
    seen = registry.revision()
    bounds = TrafficPolicy(canary=CanaryBounds(max_error_rate=0.1))
    registry.amend_policy("triage", "prod", lambda _: bounds, actor="omar", reason="watch it")
    for late in (
        lambda: registry.promote(second.ref, actor="sami", reason="x", share=0.1, expected_revision=seen),
        lambda: registry.amend_policy(
            "triage", "prod", lambda _: TrafficPolicy(), actor="sami", reason="x", expected_revision=seen
        ),
    ):
        with pytest.raises(AliasMoved, match=r"omar: changed its policy"):
            late()
    assert registry.alias("triage", "prod").policy == bounds


def test_another_alias_of_the_name_and_another_name_are_not_asked(registry, house):
    first, second = both(house)
    seen = registry.revision()
    registry.promote(second.ref, actor="amal", reason="look at it", alias="canary")
    registry.promote(second.ref, actor="sami", reason="better", expected_revision=seen)
    assert house.prod() == {second.number: 1.0}
    registry.promote(first.ref, actor="sami", reason="new", alias="try", expected_revision=0)


def test_a_revision_that_the_registry_has_not_reached_is_refused(registry, house):
    _, second = both(house)
    with pytest.raises(InvalidInput, match="expected_revision"):
        registry.promote(second.ref, actor="a", reason="x", expected_revision=registry.revision() + 1)


def test_of_many_at_once_exactly_one_moves_the_alias(registry, house):
    first, second = both(house)
    seen, together = registry.revision(), Barrier(4)

    def move(n: int) -> str:
        together.wait()
        try:
            registry.promote(second.ref, actor=f"p{n}", reason="x", share=0.1 * (n + 1), expected_revision=seen)
        except AliasMoved as error:
            return str(error)
        return "moved"

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(move, range(4)))
    assert outcomes.count("moved") == 1
    winner = registry.audit("triage:prod")[0].actor
    assert all(f"{winner}: moved it to triage:1 (" in outcome for outcome in outcomes if outcome != "moved")
    assert set(house.prod()) == {first.number, second.number}


def test_stopping_a_canary_leads_to_its_incumbent_alone_however_often_its_share_was_raised(registry, house):
    first, second = both(house)
    for share in (0.1, 0.3):
        registry.promote(second.ref, actor="a", reason="try", share=share)
    alias = registry.stop_canary("triage", actor="amal", reason="slow")
    assert [(target.number, target.weight) for target in alias.targets] == [(first.number, 1.0)]
    entry = registry.audit("triage:prod")[0]
    assert (entry.action, entry.actor, entry.reason) == ("alias.rollback", "amal", "slow")
    with pytest.raises(NotAllowed, match="has no canary"):
        registry.stop_canary("triage", actor="amal", reason="again")
