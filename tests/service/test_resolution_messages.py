"""What a caller is told of a name that it cannot call: what there is, and nothing that its key does not cover."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lifecycle.access.keys import ApiKey, digest_of_secret
from lifecycle.aliases import Alias, Target
from lifecycle.errors import Forbidden, NotFound
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
