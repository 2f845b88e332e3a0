"""Decoding: the caller's values, then the version's, then for the base alone and for old versions its makers'."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from lifecycle.states import State
from lifecycle.version import AnswerSettings, Decoding, Version, VersionSpec
from service.openai.decoding import with_decoding
from service.resolution import Base

DIGEST = "sha256:" + "b" * 64
SETTINGS = AnswerSettings(tokenizer_config=DIGEST)
ASK: dict[str, Any] = {"messages": [{"role": "user", "content": "متى؟"}]}
MAKERS = {
    "temperature": 0.6,
    "top_p": 0.9,
    "top_k": 20,
    "min_p": 0.05,
    "repetition_penalty": 1.05,
    "presence_penalty": 0.1,
    "frequency_penalty": 0.2,
    "max_tokens": 128,
}
BASE = Base("tiny", DIGEST, SETTINGS, Decoding.model_validate(MAKERS))
PLAIN = Base("tiny", DIGEST, SETTINGS, Decoding())


def version(answers: AnswerSettings | None = SETTINGS, **decoding: Any) -> Version:
    spec = VersionSpec(base=DIGEST, answers=answers, decoding=Decoding.model_validate(decoding))
    return Version(
        name="triage", number=3, spec=spec, state=State.APPROVED, created_at=datetime.now(UTC), created_by="test"
    )


def added(made: Version | None, base: Base = BASE, kind: Any = "chat", **body: Any) -> dict[str, Any]:
    """What the request has besides what was asked."""
    asked = ASK | body
    after = with_decoding(made, base, kind, asked)
    return {key: value for key, value in after.items() if key not in asked or asked[key] is None}


def test_a_version_is_decoded_by_its_own_values_and_never_by_its_bases() -> None:
    assert added(version()) == {"temperature": 0.0, "top_p": 1.0}
    own = MAKERS | {"temperature": 0.3, "stop": ["###"]}
    assert added(version(**own), PLAIN) == own


def test_the_base_under_its_own_name_is_decoded_as_its_makers_say_and_no_further() -> None:
    assert added(None) == MAKERS
    assert added(None, PLAIN) == {}
    assert added(None, Base("tiny", DIGEST, SETTINGS, Decoding(top_k=20))) == {"top_k": 20}


def test_a_version_from_before_the_settings_were_recorded_keeps_what_was_applied_to_it_in_silence() -> None:
    silent = {key: value for key, value in MAKERS.items() if key not in ("temperature", "top_p")}
    assert added(version(None)) == {"temperature": 0.0, "top_p": 1.0} | silent
    assert added(version(None, max_tokens=5, temperature=0.2))["max_tokens"] == 5
    assert added(version(None, temperature=0.2))["temperature"] == 0.2
    assert added(version(None), PLAIN) == {"temperature": 0.0, "top_p": 1.0}


@pytest.mark.parametrize("made", [None, version(**MAKERS), version(None)])
@pytest.mark.parametrize("key", sorted(MAKERS))
def test_what_the_caller_sets_wins_and_null_is_not_set(made: Version | None, key: str) -> None:
    assert key not in added(made, **{key: 1})
    assert with_decoding(made, BASE, "chat", ASK | {key: 1})[key] == 1
    assert added(made, **{key: None})[key] == added(made)[key]


def test_a_limit_by_its_newer_name_counts() -> None:
    for made in (None, version(max_tokens=64)):
        assert "max_tokens" not in added(made, max_completion_tokens=7)
        assert "max_tokens" in added(made, max_completion_tokens=None)


def test_a_plain_completion_gets_a_versions_limit_and_else_the_apis_own() -> None:
    assert added(version(max_tokens=64), kind="completion")["max_tokens"] == 64
    for made in (None, version(None)):
        assert "max_tokens" not in added(made, kind="completion")
        assert added(made, kind="completion", max_tokens=None)["max_tokens"] == 128


def test_the_callers_body_is_left_as_it_was() -> None:
    body = {"messages": [], "temperature": None}
    with_decoding(version(), BASE, "chat", body)
    assert body == {"messages": [], "temperature": None}
