"""What a caller is told of a name that it cannot call: what there is, and nothing that its key does not cover."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lifecycle.access.keys import ApiKey, digest_of_secret
from lifecycle.aliases import Alias, Target
from lifecycle.errors import Forbidden, InvalidInput, NotFound
from lifecycle.states import State
from lifecycle.version import Version, VersionSpec
from service.catalogue import Snapshot
from service.resolution import Base, Caller, permit, resolve

DIGEST = "sha256:" + "b" * 64
BASE = Base("tiny", DIGEST)
NOW = datetime.now(UTC)


def keyed(*models: str) -> Caller:
    key = ApiKey(
        id="key-1", name="app", hint="abcd", digest=digest_of_secret("s"), created_at=NOW, created_by="x", models=models
    )
    return Caller(key=key)


def snapshot(*aliases: str) -> Snapshot:
    spec = VersionSpec(base=DIGEST)
    one = Version(name="triage", number=1, spec=spec, state=State.APPROVED, created_at=NOW, created_by="x")
    stacks = {alias: Alias(name="triage", alias=alias, targets=(Target(number=1),)) for alias in aliases}
    return Snapshot(revision=1, versions={"triage": {1: one}}, aliases={"triage": stacks})


def test_an_alias_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(NotFound) as caught:
        resolve("triage:blue", Caller(), snapshot("prod", "canary"), BASE)
    assert str(caught.value) == "triage has no alias 'blue'; it has prod, canary"


def test_aliases_that_a_key_does_not_cover_are_not_told() -> None:
    with pytest.raises(NotFound) as caught:
        resolve("triage:blue", keyed("triage:blue", "triage:canary"), snapshot("prod", "canary"), BASE)
    assert str(caught.value) == "triage has no alias 'blue'; it has canary"


def test_a_name_without_production_is_told_how_to_get_there() -> None:
    with pytest.raises(NotFound, match="has no version in production yet: promote one with `dabt promote triage:"):
        resolve("triage", Caller(), snapshot("canary"), BASE)


@pytest.mark.parametrize("ref", ["triage:prod", "tiny", "other:1"])
def test_what_a_key_does_not_cover_is_refused_whether_it_is_there_or_not(ref: str) -> None:
    permit(ref, Caller())
    permit(ref, keyed("*"))
    with pytest.raises(Forbidden, match=r"the API key key-1 \(app\) is for digest, a:b, and not for " + ref):
        permit(ref, keyed("digest", "a:b"))


def versions(count: int) -> Snapshot:
    """`n01`, `n02`, … without any alias; `n01` has as many versions."""
    spec = VersionSpec(base=DIGEST)

    def one(name: str, number: int) -> Version:
        return Version(name=name, number=number, spec=spec, state=State.APPROVED, created_at=NOW, created_by="x")

    names = [f"n{place:02}" for place in range(1, count + 1)]
    return Snapshot(
        revision=1,
        versions={
            name: {number: one(name, number) for number in range(1, count + 1 if name == "n01" else 2)}
            for name in reversed(names)
        },
        aliases={},
    )


def told(model: object, caller: Caller, snapshot: Snapshot) -> str:
    with pytest.raises((NotFound, InvalidInput)) as caught:
        resolve(model, caller, snapshot, BASE)
    if isinstance(caught.value, InvalidInput):
        return caught.value.problems[0].cure
    return str(caught.value)


def test_the_base_and_the_names_are_told_in_their_order() -> None:
    assert told("x", Caller(), versions(2)) == "there is no model 'x'; this service has tiny, n01, n02"
    assert told(None, Caller(), versions(2)) == "one of tiny, n01, n02"


@pytest.mark.parametrize(("count", "rest"), [(11, ""), (12, " and 1 more")])
def test_twelve_names_are_told_and_how_many_more_there_are(count: int, rest: str) -> None:
    names = ", ".join(f"n{place:02}" for place in range(1, 12))
    assert told("x", Caller(), versions(count)) == f"there is no model 'x'; this service has tiny, {names}{rest}"


def test_numbers_are_told_like_names() -> None:
    listed = ", ".join(map(str, range(1, 13)))
    assert told("n01:99", Caller(), versions(12)) == f"n01 has no version 99; it has {listed}"
    assert told("n01:99", Caller(), versions(14)) == f"n01 has no version 99; it has {listed} and 2 more"


def test_a_key_is_told_what_it_covers_and_none_where_that_is_nothing() -> None:
    assert told("x", keyed("n02:*", "x"), versions(3)) == "there is no model 'x'; this service has n02"
    assert told("x", keyed("x"), versions(3)) == "there is no model 'x'; this service has none"
    assert told("x", keyed("x", "tiny"), versions(3)) == "there is no model 'x'; this service has tiny"
    assert told("triage:blue", keyed("triage:blue"), snapshot("prod")) == "triage has no alias 'blue'; it has none"
