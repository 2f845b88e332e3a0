"""Log-likelihoods over HTTP: the choices behind one prompt in one request, none asked twice, and tokens and seconds
shared out.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from evals.asking.answers import AnswerStore, Conditions
from evals.asking.asker import Asker
from evals.asking.endpoint import Endpoint, Reply, Session
from evals.asking.likelihoods import MOST_AT_ONCE, body_of, likelihood, parts_of
from lifecycle.deployment import Deployment
from lifecycle.states import State
from lifecycle.version import Version, VersionSpec, digest_of

DEPLOYMENT = Deployment(engine="fake 1", dtype="none", base=digest_of("base"), revision="1")
VERSION = Version(
    name="toy",
    number=1,
    spec=VersionSpec(base=digest_of("base")),
    state=State.DRAFT,
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
    created_by="test",
)
TURNS = [{"role": "user", "content": "When?"}]


class Service:
    """Gives every continuation its length as its log-probability, but for those of `without`."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.without: set[str] = set()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        if request.url.path != "/v1/dabt/likelihoods":
            return httpx.Response(404)
        self.bodies.append(body)
        texts = body["continuations"]
        rows: list[dict[str, Any]] = [
            {"index": at, "logprob": None if text in self.without else -float(len(text)), "greedy": len(text) == 1}
            for at, text in enumerate(texts)
        ]
        headers = {"x-dabt-digest": VERSION.digest, "x-dabt-deployment": DEPLOYMENT.digest}
        said = {"data": rows, "usage": {"prompt_tokens": 7}, "dabt": {"passages": [{"id": "h01", "text": "…"}]}}
        return httpx.Response(200, json=said, headers=headers)


@pytest.fixture
def service() -> Service:
    return Service()


def ask(service: Service, folder: Path, question: Any, texts: list[str], times: int = 1) -> list[Any]:
    """The answers of the last of `times` askings by askers of the same store."""
    with Session(Endpoint(url="http://models.test/v1", retries=0), httpx.MockTransport(service)) as session:
        session.deployment = DEPLOYMENT
        digest = digest_of("task")
        place = session.endpoint.place
        conditions = Conditions(
            version=VERSION.digest, task=digest, endpoint=place, deployment=DEPLOYMENT.digest, concurrency=2, seed=1
        )
        for _ in range(times):
            asker = Asker(session, VERSION, conditions, AnswerStore.of_version(folder, VERSION.digest))
            answers = session.run(asker.likelihoods([digest_of(text) for text in texts], question, texts))
    return answers


def test_all_choices_go_in_one_request_and_its_tokens_and_seconds_are_shared_out(service, tmp_path) -> None:
    answers = ask(service, tmp_path, TURNS, ["a", "bb", "ccc"])
    warm_up, asked = service.bodies
    assert warm_up["messages"][0]["content"] == "Hello"
    assert asked == {"model": "toy:1", "messages": TURNS, "continuations": ["a", "bb", "ccc"]}
    assert [(answer.logprob, answer.greedy) for answer in answers] == [(-1.0, True), (-2.0, False), (-3.0, False)]
    assert [answer.prompt_tokens for answer in answers] == [3, 2, 2]
    assert [answer.passages for answer in answers] == [("h01",)] * 3
    assert len({answer.latency for answer in answers}) == 1


def test_what_is_known_is_not_asked_again_and_what_is_missing_is(service, tmp_path) -> None:
    ask(service, tmp_path, TURNS, ["a", "bb"])
    service.bodies.clear()
    answers = ask(service, tmp_path, TURNS, ["a", "bb", "ccc"], times=2)
    assert [body["continuations"] for body in service.bodies] == [[" you"], ["ccc"]]
    assert [answer.logprob for answer in answers] == [-1.0, -2.0, -3.0]


def test_a_continuation_without_a_number_is_an_error_of_its_own_and_is_asked_again(service, tmp_path) -> None:
    service.without = {"bb"}
    answers = ask(service, tmp_path, TURNS, ["a", "bb"])
    assert [bool(answer.error) for answer in answers] == [False, True]
    service.without = set()
    service.bodies.clear()
    assert [answer.error for answer in ask(service, tmp_path, TURNS, ["a", "bb"])] == ["", ""]
    assert service.bodies[-1]["continuations"] == ["bb"]


def test_many_choices_are_parted_into_requests_that_a_service_takes(service, tmp_path) -> None:
    texts = ["x" * (number + 1) for number in range(MOST_AT_ONCE + 3)]
    answers = ask(service, tmp_path, "Q:", texts)
    assert sorted(len(body["continuations"]) for body in service.bodies[1:]) == [3, MOST_AT_ONCE]
    assert [answer.logprob for answer in answers] == [-float(len(text)) for text in texts]


def test_white_space_at_the_end_of_a_text_is_the_continuations_and_that_of_messages_is_the_templates() -> None:
    assert body_of("A:\n ", ["yes", " no"]) == {"prompt": "A:", "continuations": ["\n yes", "\n  no"]}
    assert body_of("", ["yes"]) == {"prompt": "", "continuations": ["yes"]}
    assert body_of(TURNS, [" yes"]) == {"messages": TURNS, "continuations": [" yes"]}
    told = body_of(TURNS, [" yes"], from_last_word=True)
    assert told == {"messages": TURNS, "continuations": [" yes"], "from_last_word": True}


def test_a_failed_request_is_the_failure_of_each_choice() -> None:
    shares = parts_of(Reply(status=400, error="HTTP 400: no", latency=1.0, retries=2), 4)
    assert [share.error for share in shares] == ["HTTP 400: no"] * 4
    assert sum(share.latency for share in shares) == 1.0
    assert sum(share.retries for share in shares) == 2


def test_a_reply_with_fewer_rows_than_were_asked_for_is_nobodys() -> None:
    for share in parts_of(Reply(body={"data": [{"logprob": -1.0}]}), 2):
        with pytest.raises(ValueError, match="it has no log-probability of this continuation"):
            likelihood(share)


def test_usage_of_no_known_shape_counts_no_tokens() -> None:
    for usage in ("many", {"prompt_tokens": "nine"}, None, []):
        (share,) = parts_of(Reply(body={"data": [{"logprob": -1.0}], "usage": usage}), 1)
        assert share.body["usage"] == {"prompt_tokens": 0}


def test_the_shares_of_a_reply_know_how_many_they_are_and_share_its_search() -> None:
    shares = parts_of(Reply(body={"data": [{}, {}]}, latency=2.0, timing={"ttft": 1.0, "retrieval": 0.5}), 2)
    assert [share.shared for share in shares] == [2, 2]
    assert [share.timing for share in shares] == [{"ttft": 1.0, "retrieval": 0.25}] * 2
