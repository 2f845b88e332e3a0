"""Which hosts and pages a service without keys answers to, and which pages may read its answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from lifecycle.errors import InvalidConfig
from service.access.authentication import OPEN
from service.access.hosts import Hosts
from service.config import ServeConfig
from service.host_names import host_of, host_of_origin

LOOPBACK = [
    *("localhost", "localhost:8000", "LocalHost", "localhost.", "localhost.:80", "localhost:", "127.0.0.1"),
    *("127.0.0.1:8000", "127.8.9.1", "[::1]", "[::1]:8000"),
]
ELSEWHERE = [
    *("evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "evil.localhost"),
    *("192.0.2.7", "0.0.0.0", "[2001:db8::1]:80", "[::ffff:c000:207]", "::1", "2130706433", "0x7f000001"),
    *("localhost:8000:1", "localhost@evil.example", "evil.example/localhost", "localhost, evil.example", "*", "", " "),
    *("[::1", "localhost:port", "localhost:123456", "http://localhost"),
]
ADMIN = ("POST", "/admin/promote")
ROUTES = [
    *(("GET", "/v1/models"), ("POST", "/v1/chat/completions"), ("POST", "/v1/responses"), ("POST", "/v1/embeddings")),
    *(("POST", "/tokenize"), ("GET", "/metrics"), ("GET", "/v1/dabt/deployment"), ("GET", "/admin/residency"), ADMIN),
    *(("GET", "/docs"), ("GET", "/openapi.json"), ("GET", "/nowhere"), ("DELETE", "/v1/responses/resp_1")),
]


async def status(running: Any, method: str, path: str, headers: Mapping[str, str] | list[tuple[str, str]]) -> int:
    body = {"model": "tiny", "messages": [{"role": "user", "content": "x"}]} if method == "POST" else None
    reply = await running.client.request(method, path, json=body, headers=headers)
    assert reply.headers["x-request-id"], "a refusal is in the log as every answer is"
    code: int = reply.status_code
    return code


@pytest.mark.parametrize("host", LOOPBACK)
async def test_loopback_is_answered_however_it_is_written(house: Any, start: Any, host: str) -> None:
    async with start(house, allowed_host=()) as running:
        assert await status(running, "POST", "/v1/chat/completions", {"host": host}) == 200
        assert await status(running, "GET", "/v1/models", {"host": host, "origin": f"http://{host.lower()}"}) == 200


@pytest.mark.parametrize("host", ELSEWHERE)
async def test_another_host_is_misdirected_on_every_route_but_the_probes(house: Any, start: Any, host: str) -> None:
    async with start(house, allowed_host=()) as running:
        for method, path in ROUTES:
            assert await status(running, method, path, {"host": host}) == 421, path
        for path in OPEN:
            assert await status(running, "GET", path, {"host": host}) == 200


async def test_a_page_that_turned_its_name_to_this_machine_cannot_promote(house: Any, start: Any) -> None:
    house.prod("triage")
    version = house.version("triage")
    async with start(house, allowed_host=()) as running:
        reply = await running.client.post(
            "/admin/promote",
            json={"ref": version.ref, "reason": "rebound", "force": True},
            headers={"host": "evil.example:8000", "origin": "http://evil.example:8000"},
        )
        error = reply.json()["error"]
        assert (reply.status_code, error["code"]) == (421, "wrong_host")
        assert "--allowed-host" in error["message"]
        assert "'evil.example:8000'" in error["message"]
    assert [target.number for target in house.registry.alias("triage", "prod").targets] == [1]


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "file://", "", "https://localhost.evil.example", "http://localhost/x", "x"],
)
async def test_a_page_from_elsewhere_is_refused_though_it_names_loopback(house: Any, start: Any, origin: str) -> None:
    async with start(house, allowed_host=()) as running:
        for method, path in ROUTES:
            assert await status(running, method, path, {"host": "127.0.0.1:8000", "origin": origin}) == 403, path


async def test_more_than_one_host_is_refused_with_keys_too(house: Any, start: Any) -> None:
    twice = [("host", "localhost"), ("host", "localhost")]
    async with start(house, allowed_host=()) as running:
        assert await status(running, "GET", "/v1/models", twice) == 400
        key = house.key("amal")
        await running.app.state.parts.catch_up()
        assert await status(running, "GET", "/v1/models", [*twice, *key.items()]) == 400


async def test_a_proxy_that_says_whom_its_caller_asked_for_is_believed(house: Any, start: Any) -> None:
    async with start(house, allowed_host=("gpu-box:8000",)) as running:
        for forwarded, wanted in (
            ("evil.example", 421),
            ("localhost, evil.example", 421),
            ("localhost", 200),
            ("gpu-box:8000", 200),
        ):
            headers = {"host": "127.0.0.1:8000", "x-forwarded-host": forwarded}
            assert await status(running, "GET", "/v1/models", headers) == wanted
        # And does not make another host good.
        headers = {"host": "evil.example", "x-forwarded-host": "localhost"}
        assert await status(running, "GET", "/v1/models", headers) == 421


async def test_a_request_that_names_no_host_is_answered_by_the_probes_alone(house: Any, start: Any) -> None:
    async with start(house, allowed_host=()) as running:
        got: dict[str, int] = {}
        for path in (*OPEN, "/v1/models"):

            async def receive() -> dict[str, Any]:
                return {"type": "http.request", "body": b"", "more_body": False}

            async def send(message: dict[str, Any], path: str = path) -> None:
                if message["type"] == "http.response.start":
                    got[path] = message["status"]

            scope = {
                "type": "http",
                "method": "GET",
                "path": path,
                "headers": [],
                "query_string": b"",
                "http_version": "1.0",
            }
            await running.app({**scope, "client": ("127.0.0.1", 5), "scheme": "http"}, receive, send)
    assert got == {"/health": 200, "/ready": 200, "/v1/models": 421}


async def test_a_websocket_from_elsewhere_is_closed_before_it_opens(house: Any, start: Any) -> None:
    async with start(house, allowed_host=()) as running:
        sent: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        async def receive() -> dict[str, Any]:
            return {"type": "websocket.connect"}

        headers = [(b"host", b"evil.example")]
        scope = {"type": "websocket", "path": "/v1/responses", "headers": headers, "query_string": b"", "scheme": "ws"}
        await running.app(scope, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008, "reason": "wrong_host"}]


async def test_named_hosts_are_answered_and_no_others(house: Any, start: Any) -> None:
    async with start(house, allowed_host=("GPU-box", "lab.example:9000")) as running:
        for host, wanted in (
            *(("gpu-box", 200), ("gpu-box:1", 200), ("GPU-BOX.:1", 200), ("lab.example:9000", 200), ("localhost", 200)),
            *(("lab.example", 421), ("lab.example:9001", 421), ("x.gpu-box", 421)),
        ):
            assert await status(running, "GET", "/v1/models", {"host": host}) == wanted, host


async def test_with_keys_any_host_and_any_page_may_ask_with_a_key(house: Any, start: Any) -> None:
    key = house.key("amal")
    async with start(house, allowed_host=()) as running:
        for host in ("dabt.example", "10.0.0.5:8000", ""):
            headers = {"host": host, "origin": "https://tools.example"}
            assert await status(running, "GET", "/v1/models", {**headers, **key}) == 200
            assert await status(running, "GET", "/v1/models", headers) == 401


# -- pages that may read ----------------------------------------------------------------------------------------------


async def test_no_page_reads_an_answer_unless_its_origin_is_named(house: Any, start: Any) -> None:
    asks = {"origin": "http://localhost:3000", "access-control-request-method": "POST"}
    async with start(house, allowed_host=()) as running:
        answer = await running.client.get(
            "/v1/models", headers={"host": "localhost", "origin": "http://localhost:3000"}
        )
        assert (answer.status_code, "access-control-allow-origin" in answer.headers) == (200, False)
        before = await running.client.options("/v1/chat/completions", headers={"host": "localhost", **asks})
        assert (before.status_code, "access-control-allow-origin" in before.headers) == (405, False)


@pytest.mark.parametrize("keys", [False, True])
async def test_a_named_origin_is_asked_first_and_then_reads(house: Any, start: Any, keys: bool) -> None:
    key = house.key("amal") if keys else {}
    page = {"host": "localhost", "origin": "https://tools.example"}
    wanted = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
    async with start(house, allowed_host=(), cors_origin=("https://tools.example",)) as running:
        before = await running.client.options("/v1/chat/completions", headers={**page, **wanted})
        assert before.status_code == 200
        assert before.headers["access-control-allow-origin"] == "https://tools.example"
        assert before.headers["access-control-allow-headers"] == "authorization,content-type"
        assert "POST" in before.headers["access-control-allow-methods"]
        for stream in (False, True):
            answer = await running.chat("tiny", headers={**page, **key}, stream=stream)
            assert answer.status_code == 200
            assert answer.headers["access-control-allow-origin"] == "https://tools.example"
            assert "x-request-id" in answer.headers["access-control-expose-headers"]
            assert answer.headers["vary"] == "Origin"
        wrong = await running.chat("nobody", headers={**page, **key})
        assert (wrong.status_code, "access-control-allow-origin" in wrong.headers) == (404, True)
        other = {**page, **key, **wanted, "origin": "https://tools.example:444"}
        assert "access-control-allow-origin" not in (await running.client.options("/v1/models", headers=other)).headers


# -- names ------------------------------------------------------------------------------------------------------------


def test_a_service_is_not_started_with_names_that_are_none(house: Any) -> None:
    for option, wrong in (
        *(("allowed_host", text) for text in ("", "*", "http://x", "a b", "x/y", "a,b")),
        *(("cors_origin", text) for text in ("", "*", "null", "tools.example", "https://x/", "https://x/y", "ftp://x")),
    ):
        with pytest.raises(InvalidConfig) as caught:
            ServeConfig(base=house.base, **{option: (wrong,)})  # type: ignore[arg-type]
        assert [problem.place for problem in caught.value.problems] == [option], wrong


def test_hosts_and_origins_are_read_by_their_parts() -> None:
    assert host_of("Example.COM.:80") == ("example.com", "80")
    assert host_of("[2001:DB8::1]:9") == ("2001:db8::1", "9")
    assert (host_of("a:"), host_of(":80"), host_of("[::1]x")) == (("a", ""), ("", ""), ("", ""))
    assert host_of_origin("https://a.example:444") == "a.example:444"
    assert [host_of_origin(text) for text in ("https://a/", "https://u@a", "null", "https://", "https://[a")] == [
        ""
    ] * 5


def test_no_text_but_a_name_of_loopback_is_taken_for_one() -> None:
    good = Hosts(())
    pieces = st.sampled_from(
        ["localhost", "127.0.0.1", "[::1]", ".", ":", ":80", "@", "/", ",", " ", "evil", ".example"]
    )
    reached: list[str] = []

    @seed(1)
    @settings(max_examples=500, deadline=None, database=None)
    @given(st.lists(pieces, min_size=1, max_size=3).map("".join))
    def holds(text: str) -> None:
        if good.allow(text):
            name = host_of(text)[0]
            assert name in ("localhost", "::1") or name.startswith("127."), text
            reached.append(name)

    holds()
    assert len(set(reached)) == 3
    assert len(reached) > 20
