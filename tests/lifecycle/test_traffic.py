"""Traffic: canaries beside what stands there, the policy of an alias, and the move that takes a canary away."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from lifecycle.config_file import validated
from lifecycle.errors import InvalidConfig, InvalidInput, NotAllowed, NotFound, Unreadable
from lifecycle.registry import Registry, Target, tables
from lifecycle.states import State
from lifecycle.traffic import CanaryBounds, Shadow, TrafficPolicy, parse_share

BOUNDS = TrafficPolicy(canary=CanaryBounds(max_error_rate=0.02))


def promote(house, ref, **options):
    return house.registry.promote(ref, actor="amal", **{"reason": "because", **options})


def bound(house, policy=BOUNDS, **options):
    return house.registry.amend_policy("triage", "prod", lambda _: policy, actor="amal", reason="care", **options)


def split(house, *numbers, alias="prod"):
    targets = [Target(number=number) for number in numbers]
    return house.registry.set_alias("triage", alias, targets, actor="amal", reason="try")


def guard(house, judged):
    return house.registry.roll_back_canary(judged, actor="canary-guard", reason="errors", figures={"value": 0.4})


@pytest.fixture
def three(house):
    """Three approved versions, the first in production."""
    house.promoted("a")
    for system in ("b", "c"):
        house.judged(system)
    return house


# -- shares ---------------------------------------------------------------------------------------------------------


def test_a_canary_takes_its_share_beside_what_stands_there(three):
    alias = promote(three, "triage:2", share=0.1)
    assert {target.number: target.weight for target in alias.targets} == {1: 0.9, 2: 0.1}
    assert str(alias) == "triage:1 (90%), triage:2 (10%)"
    promote(three, "triage:2", share=0.5)
    assert three.prod() == {1: 0.5, 2: 0.5}


def test_a_second_canary_leaves_the_others_in_their_proportion(three):
    promote(three, "triage:2", share=0.25)
    promote(three, "triage:3", share=0.2)
    assert three.prod() == pytest.approx({1: 0.6, 2: 0.2, 3: 0.2})


def test_a_whole_share_is_a_promotion(three):
    promote(three, "triage:2", share=0.1)
    promote(three, "triage:2", share=1.0)
    assert three.prod() == {2: 1.0}


def test_a_canary_needs_something_to_stand_beside(house):
    house.judged("a")
    with pytest.raises(NotFound, match="dabt promote triage:1"):
        promote(house, "triage:1", share=0.1)
    promote(house, "triage:1")
    with pytest.raises(NotAllowed, match="no other version"):
        promote(house, "triage:1", share=0.1)
    assert house.prod() == {1: 1.0}


def test_a_canary_in_production_goes_through_the_gate_however_small_its_share(house):
    house.promoted("a")
    house.evaluated("b")
    with pytest.raises(NotAllowed, match="triage:2 has no verdict"):
        promote(house, "triage:2", share=0.001)


@pytest.mark.parametrize(("written", "share"), [("10%", 0.1), ("0.1", 0.1), ("100%", 1.0), (" 2.5% ", 0.025), ("1", 1)])
def test_a_share_is_written_as_a_percentage_or_a_part_of_one(written, share):
    assert parse_share(written) == pytest.approx(share)


@pytest.mark.parametrize("written", ["10", "0", "0%", "101%", "-1%", "ten", "", "nan", "1e-2", "10 %%", "٣%"])
def test_what_is_no_share_is_refused(written):
    with pytest.raises(InvalidInput, match="10%"):
        parse_share(written)


# -- who is judged ----------------------------------------------------------------------------------------------------


def test_the_incumbent_is_the_version_that_had_the_alias_to_itself_last(three):
    assert three.registry.alias("triage", "prod").incumbent is None, "one target has nobody beside it"
    for share in (0.1, 0.5, 0.9):
        assert promote(three, "triage:2", share=share).incumbent == 1, "also when the canary has most of the traffic"
    promote(three, "triage:2")
    assert promote(three, "triage:1", share=0.3).incumbent == 2


def test_targets_that_nobody_stood_alone_before_have_no_incumbent(three):
    assert split(three, 2, 3).incumbent is None, "the version that was alone is not among them"
    assert split(three, 1, 2, alias="ab").incumbent is None, "nothing was there before"


# -- rolling a canary back --------------------------------------------------------------------------------------------


def test_a_canary_is_rolled_back_to_the_incumbent_alone_with_its_figures_in_the_trail(three):
    bound(three)
    promote(three, "triage:2", share=0.1)
    judged = promote(three, "triage:2", share=0.5)
    now = guard(three, judged)
    assert now is not None
    assert three.prod() == {1: 1.0}, "not to the smaller share that was its last move"
    entry = three.registry.audit("triage", limit=1)[0]
    assert (entry.action, entry.actor, entry.reason) == ("alias.rollback", "canary-guard", "errors")
    assert entry.detail == {
        "from": {"triage:1": 0.5, "triage:2": 0.5},
        "to": {"triage:1": 1.0},
        "figures": {"value": 0.4},
    }


def test_a_second_guard_that_judged_the_same_moves_nothing(three):
    bound(three)
    judged = promote(three, "triage:2", share=0.1)
    assert guard(three, judged) is not None
    revision = three.registry.revision()
    assert guard(three, judged) is None
    assert three.registry.revision() == revision


def test_a_canary_that_was_begun_again_is_not_rolled_back_by_what_was_seen_before(three):
    bound(three)
    judged = promote(three, "triage:2", share=0.1)
    guard(three, judged)
    again = promote(three, "triage:2", share=0.1)
    assert again.targets == judged.targets
    assert guard(three, judged) is None
    assert three.prod() == {1: 0.9, 2: 0.1}


def test_bounds_that_were_changed_meanwhile_are_not_broken_by_what_was_judged_by_the_old(three):
    bound(three)
    judged = promote(three, "triage:2", share=0.1)
    bound(three, TrafficPolicy(canary=CanaryBounds(max_error_rate=0.5)))
    assert guard(three, judged) is None


def test_after_a_canary_was_rolled_back_rollback_goes_on_from_the_incumbent(three):
    promote(three, "triage:3")
    bound(three)
    guard(three, promote(three, "triage:2", share=0.1))
    three.registry.rollback("triage", actor="amal", reason="the incumbent too")
    assert three.prod() == {1: 1.0}


def test_an_incumbent_that_is_doubted_since_gets_the_traffic_back_all_the_same(three):
    bound(three)
    judged = promote(three, "triage:2", share=0.1)
    three.judge(three.registry.version("triage:1"), passed=False)
    guard(three, judged)
    assert three.prod() == {1: 1.0}


def test_a_canary_may_stand_beside_an_incumbent_that_is_doubted_and_whose_share_does_not_grow(three):
    assert three.judge(three.registry.version("triage:1"), passed=False).state is State.DOUBTED
    promote(three, "triage:2", share=0.1)
    assert three.prod() == {1: 0.9, 2: 0.1}
    with pytest.raises(NotAllowed, match=r"triage:1 in suite triage .* did not pass"):
        promote(three, "triage:1")
    with pytest.raises(NotAllowed, match=r"triage:1 in suite triage .* did not pass"):
        promote(three, "triage:1", share=0.95)
    promote(three, "triage:2", share=0.5)
    promote(three, "triage:2")
    assert three.prod() == {2: 1.0}


def test_of_processes_that_judge_the_same_at_once_one_rolls_back(three, registry_url, at_once):
    bound(three)
    promote(three, "triage:2", share=0.1)
    script = (
        "from lifecycle.registry import Registry\n"
        "registry = Registry.open(sys.argv[1])\n"
        "judged = registry.alias('triage', 'prod')\n"
        "go()\n"
        "print(registry.roll_back_canary(judged, actor='canary-guard', reason='errors', figures={}) is not None)\n"
    )
    said = at_once(script, [[registry_url]] * 4)
    assert sorted(line.strip() for line in said) == ["False", "False", "False", "True"]
    moves = [entry for entry in three.registry.audit("triage:prod") if entry.action == "alias.rollback"]
    assert len(moves) == 1


# -- the policy -------------------------------------------------------------------------------------------------------


def test_a_policy_stands_beside_the_alias_whatever_it_points_at_and_is_in_its_trail(three, registry_url):
    bound(three)
    promote(three, "triage:2")
    with Registry.open(registry_url) as again:
        assert again.alias("triage", "prod").policy == BOUNDS
        entry = next(entry for entry in again.audit("triage:prod") if entry.action == "alias.policy")
    assert (entry.actor, entry.reason) == ("amal", "care")
    assert entry.detail["from"] == {"canary": None, "shadow": None}
    assert entry.detail["to"]["canary"]["max_error_rate"] == 0.02
    assert bound(three, TrafficPolicy()).policy == TrafficPolicy()


def test_setting_the_policy_that_stands_changes_nothing(three):
    bound(three)
    revision = three.registry.revision()
    bound(three)
    assert three.registry.revision() == revision


def test_the_policy_of_one_alias_is_not_that_of_another(three):
    promote(three, "triage:2", alias="canary")
    bound(three)
    policies = {alias.ref: alias.policy for alias in three.registry.aliases()}
    assert policies == {"triage:canary": TrafficPolicy(), "triage:prod": BOUNDS}


def test_a_shadow_is_what_was_evaluated_and_not_rejected(house):
    house.promoted("a")
    house.draft("b")
    house.judged("c", passed=False)
    house.evaluated("d")
    for number, state in ((2, "draft"), (3, "rejected")):
        with pytest.raises(NotAllowed, match=f"triage:{number} is {state}"):
            bound(house, TrafficPolicy(shadow=Shadow(version=number)))
    with pytest.raises(NotFound, match="triage:9"):
        bound(house, TrafficPolicy(shadow=Shadow(version=9)))
    assert bound(house, TrafficPolicy(shadow=Shadow(version=4))).policy.shadow == Shadow(version=4)


def test_a_policy_needs_an_alias_to_stand_beside(house):
    house.judged("a")
    with pytest.raises(NotFound, match="no triage:prod"):
        bound(house)


def test_a_policy_that_a_later_release_wrote_is_told_as_such(three):
    bound(three)
    with three.registry._database.write() as tx:
        tx.execute(tables.policies.update().values(body={"canary": {"max_tears": 3}}))
    with pytest.raises(Unreadable, match="triage:prod cannot be read by this release"):
        three.registry.alias("triage", "prod")


# -- bounds -----------------------------------------------------------------------------------------------------------


def test_bounds_that_bound_nothing_are_refused():
    with pytest.raises(ValidationError, match="at least one of"):
        CanaryBounds(min_requests=10)


@pytest.mark.parametrize("wrong", [0.0, 1.0, -0.1, float("nan")])
def test_a_bound_is_a_share_between_the_ends(wrong):
    with pytest.raises(ValidationError, match="max_error_rate"):
        CanaryBounds(max_error_rate=wrong)


def test_a_guard_that_is_not_known_is_refused():
    with pytest.raises(ValidationError, match="not_json"):
        CanaryBounds.model_validate({"guards": {"rude": 0.1}})


SCHEMA = {
    "type": "object",
    "properties": {"department": {"$ref": "#/$defs/word"}},
    "required": ["department"],
    "$defs": {"word": {"type": "string"}},
}


def test_a_schema_and_its_guard_come_together():
    bounds = CanaryBounds(guards={"off_schema": 0.05}, answer_schema=SCHEMA)
    assert bounds.names == ("off_schema",)
    for half in ({"guards": {"off_schema": 0.05}}, {"answer_schema": SCHEMA, "max_error_rate": 0.1}):
        with pytest.raises(ValidationError, match="need each other"):
            CanaryBounds.model_validate(half)


def test_a_policys_file_names_the_schemas_file_and_what_comes_from_elsewhere_names_none(tmp_path):
    (tmp_path / "answer.json").write_text(json.dumps(SCHEMA))
    written = {"guards": {"off_schema": 0.05}, "answer_schema": "answer.json"}
    bounds = validated(CanaryBounds, written, tmp_path / "policy.yaml")
    assert bounds.answer_schema == SCHEMA
    with pytest.raises(ValidationError, match="valid dictionary"):
        CanaryBounds.model_validate(written)
    with pytest.raises(InvalidConfig, match="cannot be used") as refused:
        validated(CanaryBounds, written | {"answer_schema": "other.json"}, tmp_path / "policy.yaml")
    assert "answer_schema: cannot be read" in str(refused.value)


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"type": "objekt"}, "it is no JSON Schema"),
        ({"$ref": "https://example.com/schema.json"}, "leads to nothing inside the schema"),
        ({"properties": {"a": {"$ref": "#/$defs/gone"}}}, "leads to nothing inside the schema"),
    ],
)
def test_a_schema_that_is_none_or_that_would_have_to_be_fetched_is_refused(schema, says):
    with pytest.raises(ValidationError, match=says):
        CanaryBounds(guards={"off_schema": 0.05}, answer_schema=schema)
