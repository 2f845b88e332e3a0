"""Errors at the border: every class of the tree has its status, and both renderings say the same."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from lifecycle.errors import (
    AdapterUnloadable,
    DabtError,
    Forbidden,
    InvalidInput,
    LimitReached,
    NotFound,
    Overloaded,
    Problem,
    QuotaSpent,
    Unauthorized,
)
from service.openai import http_errors


def tree(root: type[DabtError] = DabtError) -> Iterator[type[DabtError]]:
    yield root
    for branch in root.__subclasses__():
        yield from tree(branch)


@pytest.mark.parametrize("kind", list(tree()), ids=lambda kind: kind.__name__)
def test_every_error_of_the_tree_has_a_status_of_its_own(kind: type[DabtError]) -> None:
    assert kind in http_errors.STATUS
    status, _ = http_errors.STATUS[kind]
    assert 400 <= status < 600


def test_the_body_has_the_openai_shape_and_names_the_first_place() -> None:
    error = InvalidInput("The request is not valid:", [Problem("messages.0.role", "is missing"), Problem("n", "is 0")])
    body = http_errors.body_of(error)["error"]
    assert set(body) == {"message", "type", "param", "code"}
    assert (body["param"], body["code"], body["type"]) == ("messages.0.role", "invalid_input", "invalid_request_error")
    assert "n: is 0" in body["message"], "all problems are in the message"


def test_a_stream_tells_the_same_as_a_response() -> None:
    error = NotFound("لا يوجد نموذج بهذا الاسم")
    event = http_errors.stream_event(error)
    assert event.startswith("data: ")
    assert event.endswith("\n\n")
    assert json.loads(event[6:]) == json.loads(bytes(http_errors.response(error).body))
    assert "لا يوجد" in event, "Arabic is not escaped"


def test_unavailable_tells_when_to_come_back_in_whole_seconds() -> None:
    assert http_errors.response(Overloaded("full", retry_after=0.2)).headers["retry-after"] == "1"
    assert http_errors.response(AdapterUnloadable("bad", retry_after=3.2)).headers["retry-after"] == "4"
    assert "retry-after" not in http_errors.response(NotFound("no")).headers


def test_a_limit_is_429_with_the_time_and_a_spent_quota_is_not_worth_trying_again() -> None:
    reached, spent = (http_errors.response(kind("no more", 61.2)) for kind in (LimitReached, QuotaSpent))
    assert [(one.status_code, one.headers["retry-after"]) for one in (reached, spent)] == [(429, "62")] * 2
    assert "x-should-retry" not in reached.headers
    assert spent.headers["x-should-retry"] == "false"
    kinds = [json.loads(bytes(one.body))["error"] for one in (reached, spent)]
    assert [(one["type"], one["code"]) for one in kinds] == [
        ("rate_limit_error", "rate_limit_exceeded"),
        ("insufficient_quota", "insufficient_quota"),
    ]


def test_no_key_and_the_wrong_key_are_different_answers() -> None:
    nobody, other = http_errors.response(Unauthorized("who?")), http_errors.response(Forbidden("not you"))
    assert (nobody.status_code, nobody.headers["www-authenticate"]) == (401, "Bearer")
    assert other.status_code == 403
    assert "www-authenticate" not in other.headers


@pytest.mark.parametrize(("count", "more"), [(20, ""), (21, "  and 1 more"), (100_000, "  and 99980 more")])
def test_a_message_tells_twenty_faults_and_how_many_more_there_are(count: int, more: str) -> None:
    error = InvalidInput("Wrong:", [Problem(f"messages.{at}", "must be an object") for at in range(count)])
    body = http_errors.body_of(error)["error"]
    summary, *lines = body["message"].splitlines()
    assert (summary, body["param"]) == ("Wrong:", "messages.0")
    assert lines[:20] == [f"  messages.{at}: must be an object" for at in range(20)]
    assert lines[20:] == ([more] if more else [])


@pytest.mark.parametrize(
    "error",
    [
        InvalidInput("x" * 10**6),
        InvalidInput("x", [Problem("a" * 10**6, "b" * 10**6, "c" * 10**6)] * 50),
        NotFound("x" * 10**6, "y" * 10**6),
    ],
)
def test_no_message_is_as_long_as_what_a_caller_quotes(error: DabtError) -> None:
    assert len(http_errors.response(error).body) < 25_000
