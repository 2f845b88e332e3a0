"""Who may come in: keys, roles, models and addresses, over the fake engine and a registry that others change too."""

from __future__ import annotations

import asyncio
import re
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from starlette.routing import Match

from lifecycle.access.keys import Role
from lifecycle.errors import InvalidConfig, Unavailable
from lifecycle.registry import Registry
from service.access.authentication import OPEN, ROLES, check_address
from service.catalogue import EMPTY
from service.config import ServeConfig
from service.engine.fake_engine import FakeEngine
from service.openai import http_input
from service.request_context import current
from service.server import serve
from tests.service.logged import logged

pytestmark = pytest.mark.timeout(300)

NOBODY: dict[str, str] = {}


def error_of(reply: httpx.Response) -> dict[str, Any]:
    body: dict[str, Any] = reply.json()["error"]
    return body


# -- keys -------------------------------------------------------------------------------------------------------------


async def test_without_keys_a_laptop_asks_for_none_whatever_a_client_sends(house: Any, start: Any) -> None:
    async with start(house) as running:
        assert (await running.chat("tiny")).status_code == 200
        assert (await running.chat("tiny", headers={"authorization": "Bearer none"})).status_code == 200


async def test_with_a_key_in_the_registry_loopback_too_needs_one(house: Any, start: Any) -> None:
    good = house.key("app")
    async with start(house) as running:
        replies = [
            await running.chat("tiny", headers=headers)
            for headers in (
                NOBODY,
                {"authorization": "Bearer dabt-" + "x" * 43},
                {"authorization": good["authorization"][:-1]},
                {"authorization": good["authorization"].removeprefix("Bearer ")},
                {"authorization": "Basic " + good["authorization"].removeprefix("Bearer ")},
                {"authorization": "Bearer"},
                {"authorization": "Bearer ключ".encode()},
                {"api-key": good["authorization"].removeprefix("Bearer ")},
                good,
                {"authorization": good["authorization"].replace("Bearer ", "bearer   ")},
            )
        ]
    assert [reply.status_code for reply in replies] == [401] * 8 + [200] * 2
    for reply in replies[:8]:
        assert reply.headers["www-authenticate"] == "Bearer"
        assert (error_of(reply)["type"], error_of(reply)["code"]) == ("authentication_error", "invalid_api_key")
        assert good["authorization"][7:40] not in reply.text


async def test_the_official_client_says_what_is_wrong_with_its_key(house: Any, start: Any) -> None:
    import openai

    house.key("app")
    async with start(house) as running:
        client = openai.AsyncOpenAI(base_url="http://service/v1", api_key="sk-wrong", http_client=running.client)
        with pytest.raises(openai.AuthenticationError) as caught:
            await client.chat.completions.create(model="tiny", messages=[{"role": "user", "content": "hi"}])
    assert caught.value.code == "invalid_api_key"


async def test_a_key_made_or_revoked_elsewhere_counts_here_at_the_next_look(house: Any, start: Any) -> None:
    first = house.key("first")
    async with start(house) as running:
        with Registry.open(house.home.registry_url) as other:
            house.registry = other
            second = house.key("second")
            async with asyncio.timeout(60):
                while (await running.chat("tiny", headers=second)).status_code != 200:
                    pass
            other.keys.revoke("first", actor="test")
            async with asyncio.timeout(60):
                while (reply := await running.chat("tiny", headers=first)).status_code == 200:
                    pass
    assert reply.status_code == 401
    assert "was revoked" in error_of(reply)["message"]


async def test_a_key_ends_at_its_moment_though_nothing_changes_in_the_registry(
    house: Any, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    soon = datetime.now(UTC) + timedelta(minutes=5)
    key = house.key("app", expires_at=soon)
    async with start(house) as running:
        assert (await running.chat("tiny", headers=key)).status_code == 200

        class Later(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> datetime:
                return soon

        monkeypatch.setattr("service.access.authentication.datetime", Later)
        reply = await running.chat("tiny", headers=key)
    assert reply.status_code == 401
    assert "expired" in error_of(reply)["message"]


async def test_revoking_the_last_key_closes_the_service_and_does_not_open_it(house: Any, start: Any) -> None:
    house.key("app")
    house.registry.keys.revoke("app", actor="test")
    async with start(house) as running:
        assert (await running.chat("tiny")).status_code == 401


async def test_keys_can_be_switched_off_on_loopback(house: Any, start: Any) -> None:
    house.key("app")
    async with start(house, keys="off") as running:
        assert (await running.chat("tiny")).status_code == 200
        assert (await running.client.get("/admin/residency")).status_code == 200


async def test_what_can_be_reached_from_elsewhere_asks_for_keys_even_if_there_are_none(house: Any, start: Any) -> None:
    """As when the registry is replaced by an empty one under a running service."""
    async with start(house, host="0.0.0.0") as running:
        assert (await running.chat("tiny")).status_code == 401


async def test_keys_go_on_working_while_the_registry_is_away(
    house: Any, start: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = house.key("app")
    async with start(house) as running:

        def away() -> int:
            raise Unavailable("the registry is locked")

        monkeypatch.setattr(house.registry.changes, "newest", away)
        await until(lambda: running.app.state.parts.catalogue.problem)
        assert (await running.chat("tiny", headers=key)).status_code == 200
        assert (await running.chat("tiny")).status_code == 401


async def test_nobody_is_let_in_before_the_registry_has_been_read(house: Any, start: Any) -> None:
    async with start(house) as running:
        catalogue = running.app.state.parts.catalogue
        catalogue.stop()
        catalogue.snapshot = EMPTY
        replies = [await running.client.get("/v1/models"), await running.client.get("/admin/residency")]
        assert (await running.client.get("/health")).status_code == 200
    assert [reply.status_code for reply in replies] == [503, 503]
    assert all("retry-after" in reply.headers for reply in replies)


# -- roles ------------------------------------------------------------------------------------------------------------

BY_ROLE = [
    ("GET", "/health", None, [200, 200, 200, 200, 200, 200]),
    ("GET", "/ready", None, [200, 200, 200, 200, 200, 200]),
    ("GET", "/v1/models", None, [401, 200, 200, 200, 200, 200]),
    ("POST", "/tokenize", {"prompt": "x"}, [401, 200, 200, 200, 200, 200]),
    ("GET", "/metrics", None, [401, 403, 200, 200, 200, 200]),
    ("GET", "/admin/residency", None, [401, 403, 403, 403, 200, 200]),
    ("POST", "/admin/preload", {"ref": "tiny"}, [401, 403, 403, 403, 404, 404]),
    ("GET", "/admin/traffic", None, [401, 403, 403, 403, 200, 200]),
    ("GET", "/admin/traffic/triage", None, [401, 403, 403, 403, 200, 200]),
    ("POST", "/admin/traffic/policy", {}, [401, 403, 403, 403, 400, 400]),
    (
        "POST",
        "/admin/promote",
        {"ref": "triage:2", "reason": "x"},
        [401, 403, 403, 403, 403, 403],
    ),  # not through the gate
    ("POST", "/admin/promote", {"ref": "triage:1", "reason": "x", "force": True}, [401, 403, 403, 403, 403, 200]),
    ("POST", "/admin/rollback", {"name": "nothing", "reason": "x"}, [401, 403, 403, 403, 404, 404]),
    ("POST", "/admin/retire", {"ref": "triage:2", "reason": "x"}, [401, 403, 403, 403, 200, 200]),
    ("GET", "/admin/keys", None, [401, 403, 403, 403, 403, 200]),
    ("GET", "/admin/usage", None, [401, 403, 403, 403, 403, 200]),
    ("POST", "/admin/keys", {"name": "new"}, [401, 403, 403, 403, 403, 201]),
    ("POST", "/admin/keys/nobody/revoke", {}, [401, 403, 403, 403, 403, 404]),
    ("GET", "/admin/whatever-comes-later", None, [401, 403, 403, 403, 403, 404]),
    ("GET", "/whatever-comes-later", None, [401, 404, 404, 404, 404, 404]),
    ("GET", "/v1/files", None, [401, 403, 403, 200, 200, 200]),
    ("GET", "/v1/fine_tuning/jobs", None, [401, 403, 403, 200, 200, 200]),
    ("GET", "/v1/uploads", None, [401, 403, 403, 405, 405, 405]),
]


@pytest.mark.parametrize(("method", "path", "body", "expected"), BY_ROLE, ids=[f"{one[0]} {one[1]}" for one in BY_ROLE])
async def test_each_route_asks_for_its_role(
    house: Any, start: Any, method: str, path: str, body: Any, expected: list[int]
) -> None:
    house.prod("triage", prompt={"system": "one"})
    house.version("triage", prompt={"system": "two"})
    keys = [NOBODY, *(house.key(role.value, role=role) for role in Role)]
    async with start(house) as running:
        statuses = [(await running.client.request(method, path, json=body, headers=key)).status_code for key in keys]
    assert statuses == expected


async def test_no_route_is_open_that_was_not_meant_to_be(house: Any, start: Any) -> None:
    house.key("app")
    async with start(house) as running:
        unguarded = set()
        for route in running.app.routes:
            path = re.sub(r"\{[^}]*\}", "x", route.path)
            for method in route.methods:
                if (await running.client.request(method, path)).status_code != 401:
                    unguarded.add(route.path)
    assert unguarded == OPEN


async def test_a_caller_may_not_call_itself_an_evaluation(house: Any, start: Any) -> None:
    house.version("triage", prompt={"system": "draft"})
    purpose = {"x-dabt-purpose": "evaluation"}
    caller, evaluator = house.key("app"), house.key("ci", role="evaluator")
    async with start(house) as running:
        refused = await running.chat("triage:1", headers=caller | purpose)
        plain = await running.chat("triage:1", headers=evaluator)
        answered = await running.chat("triage:1", headers=evaluator | purpose)
        listed = await running.client.get("/v1/models", headers=evaluator | purpose)
    assert (refused.status_code, error_of(refused)["code"]) == (403, "permission_denied")
    assert "evaluator" in error_of(refused)["message"]
    assert (plain.status_code, error_of(plain)["code"]) == (403, "not_allowed")
    assert answered.status_code == 200
    assert "triage:1" in [card["id"] for card in listed.json()["data"]]


async def test_the_trail_names_the_key_whatever_its_holder_says(house: Any, start: Any) -> None:
    admin = house.key("boss", role="admin")
    house.version("triage", prompt={"system": "one"})
    body = {"ref": "triage:1", "reason": "try", "force": True, "actor": "somebody else"}
    async with start(house) as running:
        assert (await running.client.post("/admin/promote", json=body, headers=admin)).status_code == 200
    who = house.registry.audit("triage")[0].actor
    assert re.fullmatch(r"boss \(key-[0-9a-f]{12}\), as somebody else", who)


# -- models -----------------------------------------------------------------------------------------------------------


async def test_a_key_calls_and_sees_its_own_models_alone(house: Any, start: Any) -> None:
    for name in ("triage", "digest", "secret-plan"):
        house.prod(name, prompt={"system": name})
    some = house.key("some", models=("triage", "digest:prod"))
    every = house.key("every")
    async with start(house) as running:
        mine, all_ = [
            [card["id"] for card in (await running.client.get("/v1/models", headers=key)).json()["data"]]
            for key in (some, every)
        ]
        called = {
            model: await running.chat(model, headers=some)
            for model in ("triage", "triage:prod", "digest", "digest:1", "secret-plan", "no-such", "tiny")
        }
        wrong = await running.chat("Wrong!", headers=some)
        unnamed = await running.client.post("/v1/chat/completions", json={}, headers=some)
        card = await running.client.get("/v1/models/secret-plan", headers=some)
    assert mine == ["digest", "triage"]
    assert all_ == ["tiny", "digest", "secret-plan", "triage"]
    assert [reply.status_code for reply in called.values()] == [200, 200, 200, 403, 403, 403, 403]
    assert {error_of(reply)["code"] for reply in list(called.values())[3:]} == {"permission_denied"}
    # Whether a name that it may not call is there at all is not told.
    said = [error_of(called[model])["message"].replace(model, "") for model in ("secret-plan", "no-such")]
    assert said[0] == said[1]
    assert "triage, digest:prod" in said[0]
    assert card.status_code == 404
    for reply in (*called.values(), wrong, unnamed):
        assert "secret-plan" not in reply.text.replace("not for secret-plan", "")
    assert "triage" in wrong.text
    assert "triage" in unnamed.text


# -- addresses --------------------------------------------------------------------------------------------------------


def config(**options: Any) -> ServeConfig:
    return ServeConfig(base=Path("/m"), **options)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.org"])
def test_without_api_keys_only_loopback_is_bound(house: Any, host: str) -> None:
    with pytest.raises(InvalidConfig, match="holds no API key") as caught:
        check_address(config(host=host), house.registry.keys)
    assert caught.value.problems[0].place == "host"
    assert "dabt keys create" in caught.value.problems[0].cure
    house.key("app")
    check_address(config(host=host), house.registry.keys)
    house.registry.keys.revoke("app", actor="test")
    with pytest.raises(InvalidConfig):
        check_address(config(host=host), house.registry.keys)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_loopback_addresses_are_taken_without_keys(house: Any, host: str) -> None:
    check_address(config(host=host), house.registry.keys)
    with pytest.raises(InvalidConfig, match="required"):
        check_address(config(host=host, keys="required"), house.registry.keys)


def test_a_server_that_would_be_open_to_everyone_does_not_start(house: Any) -> None:
    engine = FakeEngine()
    with logged(), pytest.raises(InvalidConfig, match=r"0\.0\.0\.0 can be reached from other machines"):
        serve(config(host="0.0.0.0", port=0), house.home, engine)
    assert engine.starts == 0


async def test_without_keys_admin_routes_answer_only_this_machine(house: Any, start: Any) -> None:
    async with start(house) as running:
        transport = httpx.ASGITransport(app=running.app, client=("192.0.2.7", 4711))
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as stranger:
            replies = [
                await stranger.get("/admin/residency"),
                await stranger.post("/admin/promote", json={"ref": "triage:1", "reason": "x"}),
                await stranger.post("/admin/rollback", json={"name": "triage", "reason": "x"}),
                await stranger.get("/admin/usage"),
            ]
    assert [reply.status_code for reply in replies] == [403] * 4


async def test_with_keys_an_admin_comes_from_anywhere(house: Any, start: Any) -> None:
    admin = house.key("boss", role="admin")
    async with start(house) as running:
        transport = httpx.ASGITransport(app=running.app, client=("192.0.2.7", 4711))
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as far:
            assert (await far.get("/admin/residency", headers=admin)).status_code == 200
            assert (await far.get("/admin/residency")).status_code == 401


# -- what is not there, and what is not written down ------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/v1/load_lora_adapter",
        "/v1/unload_lora_adapter",
        "/load_lora_adapter",
        "/v1/adapters",
        "/collective_rpc",
        "/reset_prefix_cache",
        "/sleep",
        "/docs",
        "/openapi.json",
    ],
)
async def test_vllms_runtime_routes_do_not_exist(house: Any, start: Any, path: str) -> None:
    admin = house.key("boss", role="admin")
    async with start(house) as running:
        for method in ("GET", "POST"):
            reply = await running.client.request(
                method, path, json={"lora_name": "x", "lora_path": "/etc"}, headers=admin
            )
            assert (reply.status_code, error_of(reply)["code"]) == (404, "no_such_route")
        scope = {"type": "http", "path": path, "method": "POST"}
        assert [route.path for route in running.app.routes if route.matches(scope)[0] is not Match.NONE] == []


@pytest.mark.parametrize("field", ["path", "lora_path", "folder", "url"])
async def test_no_admin_body_takes_a_path(house: Any, start: Any, field: str) -> None:
    admin = house.key("boss", role="admin")
    async with start(house) as running:
        paths = [
            re.sub(r"\{[^}]*\}", "x", route.path)
            for route in running.app.routes
            if route.path.startswith("/admin") and "POST" in route.methods
        ]
        replies = {path: await running.client.post(path, json={field: "/etc"}, headers=admin) for path in paths}
    assert {
        "/admin/promote",
        "/admin/rollback",
        "/admin/retire",
        "/admin/keys",
        "/admin/keys/x/revoke",
    } <= replies.keys()
    for path, reply in replies.items():
        assert reply.status_code == 400, path
        assert f"{field}: is not known here" in error_of(reply)["message"], path


async def test_the_log_never_holds_a_key_nor_a_body_unless_asked(house: Any, start: Any) -> None:
    key = house.key("app")
    secret = key["authorization"].removeprefix("Bearer ")
    with logged() as log:
        async with start(house) as running:
            assert (await running.chat("tiny", "مرحبا من المريض", headers=key)).status_code == 200
            assert (await running.chat("nothing", "private", headers=key)).status_code == 404
            assert (await running.chat("tiny", "private", headers={"authorization": secret})).status_code == 401
            running.engine.die()
            assert (await running.chat("tiny", "private", headers=key)).status_code == 503
            # In places where it does not belong.
            await running.client.get(f"/v1/models/{secret}?key={secret}", headers=key)
            await running.chat(secret, secret, headers=key)
    assert log.requests(), "the log was captured"
    assert house.registry.keys.find("app").id in log.text()
    for word in (secret, secret[5:], "مرحبا", "private"):
        assert word not in log.text()


async def test_bodies_are_logged_when_asked_and_keys_in_them_are_not(house: Any, start: Any) -> None:
    key = house.key("app")
    secret = key["authorization"].removeprefix("Bearer ")
    with logged() as log:
        async with start(house, log_bodies=True) as running:
            await running.chat("tiny", f"مرحبا {secret}", headers=key)
    (line,) = [line for line in log.lines() if line["event"] == "request body"]
    assert "مرحبا" in line["body"]
    assert secret not in log.text()


async def test_a_body_is_written_to_the_log_beside_the_event_loop_before_it_is_answered(
    house: Any, start: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who reads the log slowly, or a large body, holds up the request itself and nobody else."""
    begun, go = threading.Event(), threading.Event()

    def slow(event: str, **fields: Any) -> None:
        assert threading.current_thread() is not threading.main_thread()
        begun.set()
        assert go.wait(300)
        seen.append((event, current() is not None))

    seen: list[tuple[str, bool]] = []
    monkeypatch.setattr(http_input, "log", SimpleNamespace(info=slow))
    async with start(house, log_bodies=True) as running:
        asked = asyncio.create_task(running.chat("tiny", "مرحبا"))
        await until(begun.is_set)
        assert (await running.client.get("/health")).status_code == 200
        assert not asked.done()
        go.set()
        assert (await asked).status_code == 200
    assert seen == [("request body", True)], "the line names its request"


def test_the_last_rule_of_the_table_is_for_every_other_path() -> None:
    assert ROLES[-1] == ("", Role.CALLER)
