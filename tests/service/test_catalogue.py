"""The catalogue: what the registry held last, renewed when it moves on, row by row."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import structlog
from sqlalchemy import text, update

from lifecycle.errors import NotFound, Unavailable, Unreadable
from lifecycle.registry import Registry, tables
from service.catalogue import EMPTY, Catalogue
from service.observability.alias_series import AliasSeries
from tests.service.conftest import fake_golden

pytestmark = pytest.mark.timeout(300)


def until(condition: Any) -> None:
    """Wait without a clock of our own; the test's time limit is the only one."""
    while not condition():
        threading.Event().wait(0.005)


def spoil(house: Any, table: Any, where: Any, **values: Any) -> None:
    """As a newer release would have written the row; the trail is told by whoever calls this."""
    with house.registry._database.write() as tx:
        assert tx.execute(update(table).where(where).values(values)).rowcount == 1


def spec_with(version: Any, **more: Any) -> dict[str, Any]:
    return {**version.spec.model_dump(mode="json"), **more}


def read(house: Any) -> Catalogue:
    catalogue = Catalogue(house.registry, 0.25)
    catalogue.refresh()
    return catalogue


# -- following the registry -------------------------------------------------------------------------------------------


def test_a_change_made_by_another_process_is_seen(house: Any) -> None:
    catalogue = Catalogue(house.registry, 0.05)
    catalogue.start()
    try:
        with Registry.open(house.home.registry_url) as other:
            house.registry = other
            house.prod("triage", prompt={"system": "one"})
        until(lambda: "prod" in catalogue.snapshot.aliases.get("triage", {}))
        assert catalogue.snapshot.aliases["triage"]["prod"].targets[0].number == 1
    finally:
        catalogue.stop()


def test_nothing_is_read_again_while_the_revision_stands(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    house.prod("triage", prompt={"system": "one"})
    catalogue = read(house)
    before = catalogue.snapshot
    for reading in ("keys", "traffic", "manifests"):
        monkeypatch.setattr(house.registry.changes, reading, None)  # would fail if it were called
    catalogue.refresh()
    assert catalogue.snapshot is before


def test_what_did_not_change_is_the_same_object_as_before(house: Any) -> None:
    house.key("app")
    for name in ("triage", "answer"):
        house.prod(name, prompt={"system": name})
    house.version("triage", prompt={"system": "two"})
    catalogue = read(house)
    before = catalogue.snapshot
    house.registry.promote("triage:2", actor="test", reason="for the test", force=True)
    catalogue.refresh()
    after = catalogue.snapshot
    assert after.revision == house.registry.revision()
    assert after.aliases["triage"]["prod"].targets[0].number == 2
    assert after.aliases["answer"] is before.aliases["answer"]
    assert after.versions is before.versions
    assert after.keys is before.keys
    house.version("triage", prompt={"system": "three"})
    catalogue.refresh()
    assert {*catalogue.snapshot.versions["triage"]} == {1, 2, 3}
    assert catalogue.snapshot.versions["triage"][1] is before.versions["triage"][1]
    assert catalogue.snapshot.versions["answer"] is before.versions["answer"]
    house.registry.retire("triage:3", "test", "for the test")
    catalogue.refresh()
    assert catalogue.snapshot.versions["triage"][3].state == "retired"


def test_a_snapshot_that_was_renewed_piece_by_piece_is_what_a_new_reading_finds(house: Any) -> None:
    catalogue = read(house)
    for step in range(6):
        house.key(f"app-{step}")
        house.prod(f"name-{step % 3}", prompt={"system": str(step)})
        if step % 2:
            house.registry.keys.revoke(f"app-{step - 1}", actor="test")
            house.registry.rollback(f"name-{step % 3}", actor="test", reason="x") if step > 3 else None
        catalogue.refresh()
    assert catalogue.snapshot == read(house).snapshot


def test_a_registry_that_fails_leaves_the_last_state_and_the_errors_code(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.prod("triage", prompt={"system": "one"})
    catalogue = Catalogue(house.registry, 0.02)

    def locked() -> int:
        raise Unavailable("the registry is locked")

    with monkeypatch.context() as patch:
        patch.setattr(house.registry.changes, "newest", locked)
        catalogue.start()
        try:
            until(lambda: catalogue.problem is not None)
            assert (catalogue.snapshot, catalogue.problem) == (EMPTY, "unavailable")
            patch.undo()
            until(lambda: catalogue.problem is None)
            assert "triage" in catalogue.snapshot.versions
            patch.setattr(house.registry.changes, "newest", locked)
            until(lambda: catalogue.problem is not None)
            assert "triage" in catalogue.snapshot.versions
        finally:
            catalogue.stop()


def test_manifests_are_fetched_ahead_of_need(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = house.adapter("one")
    house.version("triage", adapter="one")
    catalogue = read(house)
    monkeypatch.setattr(house.registry, "artifact", None)
    assert catalogue.manifest(digest).digest == digest


def test_an_adapter_that_came_later_is_asked_for_and_one_that_never_came_is_not_there(house: Any) -> None:
    catalogue = read(house)
    digest = house.adapter("one")
    assert catalogue.manifest(digest).digest == digest
    with pytest.raises(NotFound):
        catalogue.manifest("sha256:" + "0" * 64)


def test_a_new_snapshot_is_announced_with_the_one_before_it(house: Any) -> None:
    catalogue = Catalogue(house.registry, 0.25)
    told: list[Any] = []
    catalogue.on_change = lambda before, after: told.append((before, after, catalogue.snapshot))
    catalogue.refresh()
    catalogue.refresh()
    house.prod("triage", prompt={"system": "one"})
    catalogue.refresh()
    (first, second) = told
    assert first[0] is EMPTY
    assert second[0] is first[1]
    assert second[1] is second[2] is catalogue.snapshot


def test_a_registry_put_back_from_a_copy_and_changed_since_is_read_whole(house: Any) -> None:
    """Its trail is as long as the one that was known, and says something else."""
    house.prod("triage", prompt={"system": "one"})
    catalogue = read(house)
    with house.registry._database.write() as tx:
        tx.execute(text("DELETE FROM aliases"))
        tx.execute(text("UPDATE audit SET at = '2020-01-01 00:00:00.000000'"))
    house.key("app")
    catalogue.refresh()
    assert catalogue.snapshot.aliases == {}
    assert len(catalogue.snapshot.keys) == 1


# -- what this release cannot read ------------------------------------------------------------------------------------


def left_out(catalogue: Catalogue) -> set[tuple[str, str]]:
    return {*catalogue.snapshot.left_out}


UNREADABLE_VERSIONS = {
    "an unknown part of the recipe": lambda version: {"spec": spec_with(version, vision="on")},
    "an unknown state": lambda version: {"state": "frozen"},
    "an unknown source": lambda version: {"lineage": {"source": "distillation"}},
    "a recipe that is no object": lambda version: {"spec": ["a", "list"]},
    "another recipe than it was made with": lambda version: {"spec": spec_with(version, prompt={"system": "x"})},
}


@pytest.mark.parametrize("fault", UNREADABLE_VERSIONS)
def test_a_version_that_cannot_be_read_costs_itself_alone(house: Any, fault: str) -> None:
    for name in ("triage", "answer"):
        house.prod(name, prompt={"system": name})
    newer = house.version("triage", prompt={"system": "newer"})
    spoil(house, tables.versions, tables.versions.c.number == 2, **UNREADABLE_VERSIONS[fault](newer))
    catalogue = read(house)
    assert left_out(catalogue) == {("version", "triage:2")}
    assert {name: {*numbers} for name, numbers in catalogue.snapshot.versions.items()} == {"triage": {1}, "answer": {1}}
    assert {*catalogue.snapshot.aliases} == {"triage", "answer"}


def test_broken_json_and_a_moment_that_is_none_cost_their_own_rows_among_many(house: Any) -> None:
    for number in range(1, 9):
        house.version("triage", prompt={"system": str(number)})
    with house.registry._database.write() as tx:
        tx.execute(text("UPDATE versions SET spec = '{\"base\": ' WHERE number = 3"))
        tx.execute(text("UPDATE versions SET created_at = 'yesterday' WHERE number = 6"))
        tx.execute(text("UPDATE versions SET created_by = CAST(x'ff00fe' AS TEXT) WHERE number = 7"))
    catalogue = read(house)
    assert {*catalogue.snapshot.versions["triage"]} == {1, 2, 4, 5, 8}
    assert left_out(catalogue) == {("version", f"triage:{number}") for number in (3, 6, 7)}


def test_an_alias_that_cannot_be_read_costs_itself_alone(house: Any) -> None:
    house.prod("triage", prompt={"system": "one"})
    house.registry.promote("triage:1", actor="x", reason="x", alias="canary", force=True)
    spoil(house, tables.moves, tables.moves.c.alias == "canary", targets=[{"number": 1, "weight": 1, "region": "eu"}])
    catalogue = read(house)
    assert left_out(catalogue) == {("alias", "triage:canary")}
    assert {*catalogue.snapshot.aliases["triage"]} == {"prod"}


def test_a_policy_that_cannot_be_read_costs_what_it_does_and_not_its_alias(house: Any) -> None:
    house.prod("triage", prompt={"system": "one"})
    house.registry.amend_policy("triage", "prod", with_share, actor="x", reason="x")
    spoil(house, tables.policies, tables.policies.c.name == "triage", body={"mirror": {"share": 0.5}})
    catalogue = read(house)
    assert left_out(catalogue) == {("policy", "triage:prod")}
    assert catalogue.snapshot.aliases["triage"]["prod"].targets[0].number == 1


def with_share(policy: Any) -> Any:
    from lifecycle.traffic import CanaryBounds

    return policy.model_copy(update={"canary": CanaryBounds(max_error_rate=0.1)})


@pytest.mark.parametrize(
    "fault", [{"role": "auditor"}, {"limits": {"gpu_seconds": 1}}, {"models": "*"}, {"limits": [1]}]
)
def test_a_key_that_cannot_be_read_costs_itself_alone(house: Any, fault: dict[str, Any]) -> None:
    house.key("app")
    house.key("newer")
    spoil(house, tables.api_keys, tables.api_keys.c.name == "newer", **fault)
    catalogue = read(house)
    (place,) = left_out(catalogue)
    assert place[0] == "key"
    assert [key.name for key in catalogue.snapshot.keys.values()] == ["app"]
    assert [*catalogue.snapshot.unreadable_keys.values()] == [place[1]]


def test_a_manifest_that_cannot_be_read_costs_its_adapter_alone(house: Any) -> None:
    kept, newer = house.adapter("kept"), house.adapter("newer")
    for name in ("kept", "newer"):
        house.prod(name, adapter=name)
    spoil(house, tables.artifacts, tables.artifacts.c.digest == newer, manifest={"dora": True})
    catalogue = read(house)
    assert left_out(catalogue) == {("artifact", newer)}
    assert catalogue.manifest(kept).digest == kept
    with pytest.raises(Unreadable, match="upgrade the service"):
        catalogue.manifest(newer)


def test_a_row_that_becomes_unreadable_is_left_out_and_one_that_becomes_readable_is_back(house: Any) -> None:
    house.prod("triage", prompt={"system": "one"})
    house.key("app")
    catalogue = read(house)
    version = house.version("triage", prompt={"system": "two"})
    catalogue.refresh()
    assert {*catalogue.snapshot.versions["triage"]} == {1, 2}
    spoil(house, tables.versions, tables.versions.c.number == 2, state="frozen")
    spoil(house, tables.moves, tables.moves.c.name == "triage", targets="none")
    _say(house, "version.state", "triage:2")
    _say(house, "alias.move", "triage:prod")
    catalogue.refresh()
    assert left_out(catalogue) == {("version", "triage:2"), ("alias", "triage:prod")}
    assert {*catalogue.snapshot.versions["triage"]} == {1}
    assert catalogue.snapshot.aliases["triage"] == {}
    spoil(house, tables.versions, tables.versions.c.number == 2, state=version.state)
    spoil(house, tables.moves, tables.moves.c.name == "triage", targets=[{"number": 2, "weight": 1.0}])
    _say(house, "version.state", "triage:2")
    _say(house, "alias.move", "triage:prod")
    catalogue.refresh()
    assert left_out(catalogue) == set()
    assert {*catalogue.snapshot.versions["triage"]} == {1, 2}
    assert catalogue.snapshot.aliases["triage"]["prod"].targets[0].number == 2


def _say(house: Any, action: str, subject: str) -> None:
    from lifecycle.registry import audit

    with house.registry._database.write() as tx:
        audit.append(tx, "newer release", action, subject)


def test_a_change_that_this_release_does_not_know_has_everything_read_again(house: Any) -> None:
    house.prod("triage", prompt={"system": "one"})
    catalogue = read(house)
    with house.registry._database.write() as tx:
        tx.execute(text("DELETE FROM aliases"))
    _say(house, "alias.archive", "triage:prod")
    catalogue.refresh()
    assert catalogue.snapshot.aliases == {}


def test_a_revoked_key_is_seen_although_versions_cannot_be_read_at_all(house: Any) -> None:
    house.prod("triage", prompt={"system": "one"})
    house.key("app")
    catalogue = read(house)
    with house.registry._database.write() as tx:
        tx.execute(text("ALTER TABLE versions RENAME TO versions_of_a_newer_release"))
    house.registry.keys.revoke("app", actor="test")
    _say(house, "version.state", "triage:1")
    with pytest.raises(Unavailable):
        catalogue.refresh()
    (key,) = catalogue.snapshot.keys.values()
    assert key.revoked_at is not None
    assert "triage" in catalogue.snapshot.versions


def test_what_is_left_out_is_logged_once_by_field_and_never_by_content_and_counted(house: Any) -> None:
    newer = house.version("triage", prompt={"system": "the dose of Mrs Haddad"})
    spoil(house, tables.versions, tables.versions.c.number == 1, spec=spec_with(newer, secret_sauce="the dose too"))
    catalogue = Catalogue(house.registry, 0.25)
    with structlog.testing.capture_logs() as lines:
        catalogue.refresh()
        house.prod("answer", prompt={"system": "one"})
        _say(house, "alias.archive", "answer:prod")  # all is read again
        catalogue.refresh()
    (line,) = [line for line in lines if "left out" in line["event"]]
    assert (line["kind"], line["ref"], line["log_level"]) == ("version", "triage:1", "warning")
    assert "secret_sauce: extra_forbidden" in line["why"]
    assert "dose" not in str(lines)
    series = {
        sample.labels["kind"]: sample.value
        for metric in AliasSeries(lambda: catalogue.snapshot).collect()
        for sample in metric.samples
        if sample.name == "dabt_registry_unreadable"
    }
    assert series == {"version": 1, "alias": 0, "policy": 0, "key": 0, "artifact": 0}


def test_golden_prompts_that_were_recorded_later_are_followed(house: Any) -> None:
    digest = house.adapter("one", golden=())
    house.version("triage", adapter="one")
    catalogue = read(house)
    assert catalogue.manifest(digest).golden == ()
    manifest = catalogue.manifest(digest).model_copy(update={"golden": (fake_golden(digest),)})
    house.registry.add_artifact(manifest)
    catalogue.refresh()
    assert catalogue.known_manifest(digest) == manifest
