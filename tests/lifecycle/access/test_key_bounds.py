"""A key's defaults and the least of its limits, and what an account of use is when nothing was used."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from pydantic import ValidationError

from lifecycle.access.keys import SECRET, ApiKey, KeyGrant, KeyLimits, Role, digest_of_secret, new_secret
from lifecycle.access.usage import Usage, as_csv, day_of
from lifecycle.errors import InvalidInput

NOW = datetime(2026, 11, 26, tzinfo=UTC)


def key(**more):
    return ApiKey(
        id="key-1", name="app", hint="abcd", digest=digest_of_secret("s"), created_at=NOW, created_by="x", **more
    )


def test_a_new_key_may_call_every_model_without_limit_or_end():
    grant = KeyGrant(name="app")
    assert (grant.role, grant.models, grant.expires_at) == (Role.CALLER, ("*",), None)
    assert grant.limits.model_dump(exclude_none=True) == {}


@pytest.mark.parametrize("limit", KeyLimits.model_fields)
def test_the_least_of_each_limit_is_one(limit):
    assert getattr(KeyLimits.model_validate({limit: 1}), limit) == 1
    with pytest.raises(ValidationError):
        KeyLimits.model_validate({limit: 0})


@pytest.mark.parametrize("models", [(), ("",), ("triage", "")])
def test_every_pattern_names_something(models):
    with pytest.raises(ValidationError, match="at least one model"):
        KeyGrant(name="app", models=models)


def test_a_moment_keeps_the_zone_that_it_has():
    moment = datetime(2100, 1, 1, 12, tzinfo=timezone(timedelta(hours=3)))
    assert KeyGrant(name="app", expires_at=moment).expires_at == moment


def test_a_key_says_when_it_ended():
    assert key().problem(NOW) is None
    assert key(revoked_at=NOW).problem(NOW) == "was revoked on 2026-11-26"
    assert key(expires_at=NOW).problem(NOW) == "expired on 2026-11-26"
    assert key(expires_at=NOW).problem(NOW - timedelta(seconds=1)) is None
    assert key(expires_at=NOW, revoked_at=NOW).problem(NOW) == "was revoked on 2026-11-26"


def test_a_key_is_named_by_id_and_name_and_shows_no_digest():
    assert str(key()) == "API key key-1 (app)"
    assert "digest" not in key().model_dump()
    assert digest_of_secret("s") not in repr(key())


def test_a_secret_is_256_bits_in_a_form_that_scanners_know():
    secrets = {new_secret() for _ in range(50)}
    assert len(secrets) == 50
    assert all(SECRET.fullmatch(secret) for secret in secrets)
    assert not SECRET.fullmatch("dabt-" + "a" * 42)


def test_a_digest_is_the_secrets_sha256():
    assert digest_of_secret("abc") == "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


# -- usage ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "day"), [("2026-11-26", date(2026, 11, 26)), ("", None), (None, None)])
def test_a_day_is_read_and_nothing_is_no_day(text, day):
    assert day_of(text, "since") == day


def test_what_is_no_day_is_named_with_its_place():
    with pytest.raises(InvalidInput) as caught:
        day_of("26.11.2026", "--since")
    (problem,) = caught.value.problems
    assert (problem.place, problem.cure) == ("--since", "YYYY-MM-DD")
    assert re.search("26.11.2026", problem.fault)


def test_nothing_was_used_until_it_is_counted():
    one = Usage(day=date(2026, 11, 26), key="k", version="triage:1")
    assert (one.requests, one.prompt_tokens, one.completion_tokens, one.tokens) == (0, 0, 0, 0)


def test_use_adds_up_count_by_count():
    one = Usage(day=date(2026, 11, 26), key="k", version="t:1", requests=1, prompt_tokens=20, completion_tokens=300)
    two = one.model_copy(update={"requests": 4, "prompt_tokens": 50, "completion_tokens": 600})
    both = one + two
    assert (both.requests, both.prompt_tokens, both.completion_tokens, both.tokens) == (5, 70, 900, 970)
    assert (both.day, both.key, both.version) == (one.day, "k", "t:1")


def test_a_key_without_a_name_has_an_empty_cell_and_each_row_its_line():
    one = Usage(day=date(2026, 11, 26), key="k", version="t:1", requests=1, prompt_tokens=2, completion_tokens=3)
    assert as_csv([one, one], {}).splitlines()[1:] == ["2026-11-26,k,,t:1,1,2,3"] * 2
    assert as_csv([], {}).count("\n") == 1


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@a", "\t1", "\r1"])
def test_no_cell_begins_as_a_formula_does(text):
    one = Usage(day=date(2026, 11, 26), key="k", version=text)
    assert f"'{text}" in as_csv([one], {})


def test_a_cell_that_holds_such_a_sign_further_on_stays_as_it_is():
    one = Usage(day=date(2026, 11, 26), key="k", version="a=1")
    assert ",a=1," in as_csv([one], {})
