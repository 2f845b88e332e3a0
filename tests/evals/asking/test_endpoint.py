"""The endpoint: patient with a busy server, at most so many requests in flight, and nothing lost on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from evals.asking.endpoint import Endpoint, Reply, Session
from lifecycle.deployment import Deployment
from lifecycle.errors import NotAllowed, NotFound, Unavailable
from lifecycle.version import digest_of

DEPLOYMENT = Deployment(engine="fake 1", dtype="none", base=digest_of("base"))
OK = httpx.Response(200, json={"choices": []}, headers={"x-dabt-digest": "sha256:1"})


def session(handler: Callable[[httpx.Request], httpx.Response], **settings) -> Session:
    endpoint = Endpoint(url="http://models.test/v1", **({"patience": 0.0, "jitter": 0.0} | settings))
    return Session(endpoint, httpx.MockTransport(handler))


def script(*responses: httpx.Response | Exception) -> Callable[[httpx.Request], httpx.Response]:
    waiting = list(responses)

    def handle(_: httpx.Request) -> httpx.Response:
        one = waiting.pop(0)
        if isinstance(one, Exception):
            raise one
        return one

    return handle


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Waiting is recorded and not done."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    of_the_endpoint = SimpleNamespace(**{**vars(asyncio), "sleep": sleep})  # loops of other threads go on sleeping
    monkeypatch.setattr("evals.asking.endpoint.asyncio", of_the_endpoint)
    return slept


def busy(status: int, wait: str | None = None) -> httpx.Response:
    return httpx.Response(status, headers={"retry-after": wait} if wait else {})


def test_a_busy_server_is_asked_again_when_it_says(pauses: list[float]) -> None:
    with session(script(busy(503, "2"), busy(429, "0.5"), OK)) as one:
        reply = one.run(one.post("chat/completions", {}))
    assert (reply.error, reply.retries, reply.served) == ("", 2, "sha256:1")
    assert pauses == [2.0, 0.5]


def test_without_a_word_from_the_server_the_pauses_double_and_a_silly_one_is_cut(pauses: list[float]) -> None:
    with session(script(busy(503), busy(503), busy(503, "soon"), busy(503, "9999"), OK)) as one:
        one.run(one.post("chat/completions", {}))
    assert pauses == [0.25, 0.5, 1.0, 30.0]


def test_a_server_that_stays_busy_is_a_failure_that_may_pass(pauses: list[float]) -> None:
    with session(script(*[busy(503)] * 3), retries=2) as one:
        reply = one.run(one.post("chat/completions", {}))
    assert reply.error.startswith("HTTP 503")
    assert not reply.final
    assert len(pauses) == 2


@pytest.mark.parametrize(
    ("response", "error", "final"),
    [
        (httpx.Response(400, json={"error": {"message": "too long"}}), "HTTP 400: too long", True),
        (httpx.Response(404, json={"detail": "no"}), 'HTTP 404: {"detail":"no"}', True),
        (httpx.Response(500, text="boom"), "HTTP 500: boom", False),
        (httpx.Response(200, text="<html>"), "HTTP 200: <html>", False),
        (httpx.ReadTimeout("slow"), "ReadTimeout: slow", False),
        (httpx.ConnectError(""), "ConnectError", False),
    ],
)
def test_failures_come_back_in_words_and_say_whether_they_may_pass(response, error, final) -> None:
    with session(script(response), retries=0) as one:
        reply = one.run(one.post("chat/completions", {}))
    assert (reply.error, reply.final) == (error, final)


PASSING = [
    *(httpx.Response(status) for status in (408, 409, 425, 429, 500, 502, 503, 504)),
    httpx.Response(200, text="half an ans"),
    *(
        kind("…")
        for kind in (
            httpx.ConnectError,
            httpx.ConnectTimeout,
            httpx.ReadError,
            httpx.ReadTimeout,
            httpx.WriteError,
            httpx.WriteTimeout,
            httpx.PoolTimeout,
            httpx.RemoteProtocolError,
        )
    ),
]


@pytest.mark.parametrize("failure", PASSING, ids=repr)
def test_what_may_pass_is_tried_again_with_the_same_patience(pauses: list[float], failure: Any) -> None:
    with session(script(failure, failure, failure, OK)) as one:
        reply = one.run(one.post("chat/completions", {}))
    assert (reply.error, reply.retries, reply.final) == ("", 3, True)
    assert pauses == [0.25, 0.5, 1.0]


@pytest.mark.parametrize("failure", PASSING, ids=repr)
def test_what_stays_after_the_last_try_is_an_error_and_not_final(pauses: list[float], failure: Any) -> None:
    with session(script(*[failure] * 3), retries=2) as one:
        reply = one.run(one.post("chat/completions", {}))
    assert reply.error
    assert (reply.retries, reply.final, len(pauses)) == (2, False, 2)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 422, 501])
def test_a_refusal_is_final_and_asked_once(pauses: list[float], status: int) -> None:
    with session(script(httpx.Response(status))) as one:
        reply = one.run(one.post("chat/completions", {}))
    assert (reply.retries, reply.final, pauses) == (0, True, [])


def test_a_server_that_says_that_another_try_is_of_no_use_is_believed(pauses: list[float]) -> None:
    spent = httpx.Response(429, headers={"x-should-retry": "false"})
    with session(script(spent)) as one:
        reply = one.run(one.post("chat/completions", {}))
    assert (reply.retries, reply.final, pauses) == (0, False, [])
    with session(script(httpx.Response(429, headers={"x-should-retry": "true"}), OK)) as one:
        assert one.run(one.post("chat/completions", {})).retries == 1


def test_a_service_that_starts_again_is_waited_for_a_minute_and_more(pauses: list[float]) -> None:
    """Refused for a while, then busy until its engine is up, as a service of ours is."""
    refused, starting = httpx.ConnectError("refused"), busy(503, "5")
    with session(script(*[refused] * 4, *[starting] * 4, OK)) as one:
        reply = one.run(one.post("chat/completions", {}))
    assert (reply.error, reply.retries) == ("", 8)
    assert sum(pauses) > 60


def test_requests_that_failed_together_come_back_apart_and_never_early(pauses: list[float]) -> None:
    with session(script(*[busy(503, "2")] * 4, *[OK] * 4), jitter=0.5) as one:
        one.gather([lambda: one.post("chat/completions", {})] * 4, concurrency=4, done=lambda _: None)
    first = list(pauses)
    assert len(set(first)) == 4
    assert all(2.0 <= pause <= 3.0 for pause in first)
    pauses.clear()
    with session(script(*[busy(503, "2")] * 4, *[OK] * 4), jitter=0.5) as one:
        one.gather([lambda: one.post("chat/completions", {})] * 4, concurrency=4, done=lambda _: None)
    assert pauses == first, "the chance is seeded"


def test_the_latency_is_of_the_try_that_was_answered(pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 100.0, 200.0, 200.5])
    monkeypatch.setattr("evals.asking.endpoint.time", SimpleNamespace(perf_counter=lambda: next(clock)))
    with session(script(httpx.ReadTimeout("slow"), OK)) as one:
        assert one.run(one.post("chat/completions", {})).latency == 0.5


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://models.test/v1", "http://models.test"),
        ("http://models.test:80/v1/", "http://models.test"),
        ("http://user:secret@Models.test/v1", "http://models.test"),
        ("https://models.test/behind/v1", "https://models.test/behind"),
        ("http://models.test:8000", "http://models.test:8000"),
    ],
)
def test_an_address_has_one_spelling_and_keeps_no_secret(url: str, place: str) -> None:
    assert Endpoint(url=url).place == place


TOLD = {"digest": DEPLOYMENT.digest, "deployment": DEPLOYMENT.model_dump(mode="json")}


def test_an_endpoint_says_on_what_it_answers() -> None:
    asked: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(f"{request.method} {request.url.path}")
        return httpx.Response(200, json=TOLD)

    with session(handle) as one:
        assert one.ask_deployment() == one.deployment == DEPLOYMENT
    assert asked == ["GET /v1/dabt/deployment"]


@pytest.mark.parametrize(
    "reply",
    [
        *(httpx.Response(status) for status in (400, 401, 403, 404, 405, 501)),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json={}),
        httpx.Response(200, json={"digest": 7, "deployment": {}}),
        httpx.Response(200, json={"digest": "sha256:1"}),
    ],
    ids=repr,
)
def test_another_server_does_not_say_and_that_is_no_error(reply: httpx.Response) -> None:
    with session(script(reply), retries=0) as one:
        assert one.ask_deployment() is None


def test_a_service_that_is_starting_is_waited_for(pauses: list[float]) -> None:
    with session(script(busy(503, "2"), busy(503, "2"), httpx.Response(200, json=TOLD))) as one:
        assert one.ask_deployment() == DEPLOYMENT
    assert pauses == [2.0, 2.0]
    with session(script(busy(503)), retries=0) as one, pytest.raises(Unavailable, match="does not say now"):
        one.ask_deployment()


@pytest.mark.parametrize(
    "told", [TOLD | {"digest": "sha256:" + "0" * 64}, TOLD | {"deployment": {**TOLD["deployment"], "moon": "full"}}]
)
def test_a_description_of_another_release_is_refused_rather_than_half_read(told: dict[str, Any]) -> None:
    with session(script(httpx.Response(200, json=told))) as one, pytest.raises(NotAllowed, match="the release of Dabt"):
        one.ask_deployment()


def test_nobody_there_is_said_at_once(pauses: list[float]) -> None:
    with session(script(httpx.ConnectError("refused"))) as one, pytest.raises(Unavailable, match="dabt serve"):
        one.check()
    assert pauses == []


def test_so_many_requests_are_in_flight_and_no_more() -> None:
    flying, most = 0, 0

    async def handle(_: httpx.Request) -> httpx.Response:
        nonlocal flying, most
        flying += 1
        most = max(most, flying)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        flying -= 1
        return httpx.Response(200, json={})

    finished: list[Reply] = []
    with Session(Endpoint(url="http://models.test/v1"), httpx.MockTransport(handle)) as one:
        work = [lambda: one.post("chat/completions", {})] * 30
        replies = one.gather(work, concurrency=7, done=finished.append)
    assert most == 7
    assert len(replies) == len(finished) == 30


def test_results_come_in_the_order_asked_whatever_finishes_first() -> None:
    async def piece(number: int) -> int:
        for _ in range(20 - number):
            await asyncio.sleep(0)
        return number

    done: list[int] = []
    with session(script()) as one:
        found = one.gather([lambda n=n: piece(n) for n in range(20)], concurrency=20, done=done.append)
    assert found == list(range(20))
    assert sorted(done) == found
    assert done != found


def test_an_error_of_ours_leaves_the_gathering_as_itself() -> None:
    async def piece() -> int:
        raise NotAllowed("not this one")

    with session(script()) as one, pytest.raises(NotAllowed, match="not this one"):
        one.gather([piece] * 3, concurrency=3, done=lambda _: None)


def test_an_endpoint_that_wants_a_key_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with session(script(busy(401))) as one, pytest.raises(NotAllowed, match="DABT_API_KEY"):
        one.check()
    monkeypatch.setenv("DABT_API_KEY", "secret")
    seen: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["authorization"])
        return OK

    with session(handle) as one:
        one.check()
    assert seen == ["Bearer secret"]


def test_a_version_made_a_moment_ago_is_waited_for(pauses: list[float]) -> None:
    unknown = httpx.Response(404, json={"error": {"message": "no model"}})
    with session(script(unknown, unknown, OK), patience=60.0) as one:
        assert one.warm_up("toy:1", {}).error == ""
    assert len(pauses) == 2


@pytest.mark.parametrize(
    ("status", "kind"), [(404, NotFound), (403, NotAllowed), (400, NotAllowed), (500, Unavailable)]
)
def test_a_model_that_cannot_answer_at_all_stops_the_run(status, kind) -> None:
    refusal = httpx.Response(status, json={"error": {"message": "because"}})
    words = f"toy:1 does not answer at http://models.test/v1: HTTP {status}: because"
    with session(script(refusal), retries=0) as one, pytest.raises(kind, match=words):
        one.warm_up("toy:1", {})


@pytest.mark.parametrize("url", ["http://models.test/v1", "http://models.test/v1/"])
def test_tokenize_is_beside_the_version_path(url: str) -> None:
    asked: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(200, json={"tokens": [1, 2]})

    with Session(Endpoint(url=url), httpx.MockTransport(handle)) as one:
        assert one.run(one.tokenize("toy:1", "text")) == [1, 2]
    assert asked == ["/tokenize"]


def test_an_endpoint_without_tokenize_cannot_be_asked_for_likelihoods() -> None:
    with session(script(httpx.Response(404))) as one, pytest.raises(Unavailable, match="/tokenize"):
        one.run(one.tokenize("toy:1", "text"))
