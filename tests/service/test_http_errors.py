"""Errors at the border: every class of the tree has its status, and both renderings say the same."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from lifecycle.errors import AdapterUnloadable, DabtError, InvalidInput, NotFound, Overloaded, Problem
from service import http_errors


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
