"""The endpoint: patient with a busy server, at most so many requests in flight, and nothing lost on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx
import pytest

from evals.endpoint import Endpoint, Reply, Session
from lifecycle.errors import NotAllowed, NotFound, Unavailable

OK = httpx.Response(200, json={"choices": []}, headers={"x-dabt-digest": "sha256:1"})


def session(handler: Callable[[httpx.Request], httpx.Response], **settings) -> Session:
    endpoint = Endpoint(url="http://models.test/v1", **({"patience": 0.0} | settings))
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

    monkeypatch.setattr("evals.endpoint.asyncio.sleep", sleep)
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
    with session(script(response)) as one:
        reply = one.run(one.post("chat/completions", {}))
    assert (reply.error, reply.final) == (error, final)


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
    with session(script(refusal)) as one, pytest.raises(kind, match=words):
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
