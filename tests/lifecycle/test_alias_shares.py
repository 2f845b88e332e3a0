"""How an alias's requests are shared out: weights that sum to 1, by number, and what a canary leaves the others."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from lifecycle.aliases import Alias, Target, beside, check_name, refusal, shares
from lifecycle.errors import InvalidInput, NotAllowed
from lifecycle.traffic import TrafficPolicy


def targets(**weights: float) -> list[Target]:
    """`v3=0.5` for version 3."""
    return [Target(number=int(name[1:]), weight=weight) for name, weight in weights.items()]


def alias(**weights: float) -> Alias:
    return Alias(name="triage", alias="prod", targets=shares(targets(**weights)))


def as_dict(chosen: tuple[Target, ...]) -> dict[int, float]:
    return {target.number: target.weight for target in chosen}


def test_weights_become_shares_of_their_sum_by_number():
    assert as_dict(shares(targets(v7=1, v2=3))) == {2: 0.75, 7: 0.25}
    assert [target.number for target in shares(targets(v7=1, v2=3, v5=1))] == [2, 5, 7]
    assert as_dict(shares(targets(v1=0.2, v2=0.2))) == {1: 0.5, 2: 0.5}


def test_shares_that_sum_to_one_but_for_rounding_are_kept_as_they_are_written():
    written = targets(v1=0.3, v2=0.7 + 4e-10)
    assert shares(written) == tuple(written)
    assert shares(targets(v1=0.3, v2=0.7 + 4e-9)) != tuple(targets(v1=0.3, v2=0.7 + 4e-9))


def test_none_and_one_named_twice_are_refused():
    for chosen in ([], [*targets(v1=1), *targets(v1=2)], [*targets(v1=1, v2=1), *targets(v2=1)]):
        with pytest.raises(InvalidInput, match="each version once"):
            shares(chosen)


@pytest.mark.parametrize("wrong", [{"number": 0}, {"weight": 0.0}, {"weight": -1.0}, {"weight": float("inf")}])
def test_a_target_is_a_version_with_a_part_of_the_traffic(wrong):
    assert Target(number=1).weight == 1.0
    with pytest.raises(ValidationError):
        Target(**{"number": 1, **wrong})


def test_a_canary_leaves_the_others_their_proportion():
    assert as_dict(beside(alias(v1=3, v2=1), 3, 0.2)) == pytest.approx({1: 0.6, 2: 0.2, 3: 0.2})


def test_a_canarys_new_share_comes_from_and_goes_to_the_others():
    assert as_dict(beside(alias(v1=0.9, v2=0.1), 2, 0.4)) == pytest.approx({1: 0.6, 2: 0.4})
    assert as_dict(beside(alias(v1=0.6, v2=0.3, v3=0.1), 2, 0.1)) == pytest.approx({1: 0.9 * 6 / 7, 2: 0.1, 3: 0.9 / 7})


def test_a_whole_share_leaves_nobody_else():
    assert beside(alias(v1=0.5, v2=0.5), 2, 1) == (Target(number=2),)
    assert len(beside(alias(v1=0.5, v2=0.5), 2, 0.999)) == 2


def test_a_canary_alone_is_refused():
    with pytest.raises(NotAllowed, match="triage:prod has no other version than triage:2"):
        beside(alias(v2=1), 2, 0.5)
    assert as_dict(beside(alias(v1=1), 2, 0.25)) == {1: 0.75, 2: 0.25}


def test_an_alias_says_its_versions_and_their_shares():
    one = alias(v3=0.9, v4=0.1)
    assert (one.ref, str(one)) == ("triage:prod", "triage:3 (90%), triage:4 (10%)")
    assert str(alias(v1=1, v2=2)) == "triage:1 (33.33%), triage:2 (66.67%)"


def test_an_alias_that_was_never_moved_is_at_move_0_with_no_incumbent_and_no_policy():
    one = alias(v1=1)
    assert (one.move, one.incumbent, one.policy) == (0, None, TrafficPolicy())


@pytest.mark.parametrize("name", ["7", "123"])
def test_a_name_that_reads_as_a_number_is_refused(name):
    with pytest.raises(InvalidInput, match="version's number"):
        check_name(name)
    assert check_name("canary") == "canary"


def test_a_version_that_is_through_its_gate_meets_no_objection_at_all(house) -> None:
    house.judged("a")
    version, verdicts = house.registry.version("triage:1"), house.registry.verdicts("triage:1")
    assert refusal("prod", version, house.registry.gate("triage"), verdicts) is None
