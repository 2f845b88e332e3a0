"""Authentication, alone: what the guard does with requests as servers hand them, and who needs a key when."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection

from lifecycle.access.keys import ApiKey, Role, digest_of_secret
from lifecycle.errors import Forbidden, InvalidConfig, NotAllowed, Unauthorized, Unavailable, Unreadable
from service.access.authentication import (
    Access,
    AccessGuard,
    actor_of,
    authenticate,
    check_address,
    check_may_force,
)
from service.catalogue import EMPTY, Snapshot
from service.config import ServeConfig
from service.request_context import RequestContext

NOW = datetime.now(UTC)


def key(role: Role = Role.CALLER, secret: str = "s", **more: Any) -> ApiKey:
    return ApiKey(
        id="key-1", name="app", role=role, hint="abcd", digest=digest_of_secret(secret), created_at=NOW,
        created_by="test", **more,
    )  # fmt: skip


def snapshot(*keys: ApiKey) -> Snapshot:
    return Snapshot(revision=1, versions={}, aliases={}, keys={one.digest: one for one in keys})


class _Catalogue:
    def __init__(self, known: Snapshot) -> None:
        self.snapshot = known


class _Keyring:
    def __init__(self, *keys: ApiKey) -> None:
        self._keys = keys

        self.unreadable: list[object] = []

    def all(self) -> list[ApiKey]:
        return list(self._keys)

    def left_out(self) -> list[object]:
        return self.unreadable


def config(tmp_path: Any, **options: Any) -> ServeConfig:
    return ServeConfig(base=tmp_path, **options)


def access(tmp_path: Any, known: Snapshot, **options: Any) -> Access:
    return Access(config(tmp_path, **options), _Catalogue(known))  # type: ignore[arg-type]


SENT = Headers({"authorization": "Bearer s"})
NOTHING = Headers({})


# -- the guard --------------------------------------------------------------------------------------------------------


class _App:
    """Keeps what came through, and the key that it worked for."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, ApiKey | None]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.seen.append((scope["type"], scope["dabt.context"].key if "dabt.context" in scope else None))


class _Accounts:
    def __init__(self) -> None:
        self.let_in: list[ApiKey] = []

    @asynccontextmanager
    async def admitted(self, key: ApiKey, context: RequestContext) -> AsyncIterator[None]:
        self.let_in.append(key)
        yield


def guard(tmp_path: Any, known: Snapshot, **options: Any) -> tuple[AccessGuard, _App, _Accounts]:
    app, accounts = _App(), _Accounts()
    return AccessGuard(app, access(tmp_path, known, **options), accounts), app, accounts  # type: ignore[arg-type]


async def status_of(guarded: AccessGuard, scope: dict[str, Any]) -> int | None:
    """Of the refusal; None when the request went through."""
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(dict(message))

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    asked = {"type": "http", "method": "GET", "headers": [], "path": "/v1/models", "dabt.context": RequestContext()}
    await guarded({**asked, **scope}, receive, send)
    return sent[0]["status"] if sent else None


@pytest.mark.parametrize("client", [{}, {"client": None}])
async def test_a_caller_whose_address_no_one_knows_is_not_on_this_machine(tmp_path: Any, client: Any) -> None:
    """As behind a Unix socket: admin routes without keys are for callers from loopback."""
    guarded, app, _ = guard(tmp_path, snapshot())
    assert await status_of(guarded, {"path": "/admin/residency", **client}) == 403
    assert await status_of(guarded, {"path": "/v1/models", **client}) is None
    assert len(app.seen) == 1


@pytest.mark.parametrize(
    ("address", "refused"), [("127.0.0.1", None), ("::1", None), ("10.0.0.9", 403), ("localhost.evil.org", 403)]
)
@pytest.mark.parametrize("path", ["/admin", "/admin/residency"])
async def test_admin_routes_without_keys_are_for_this_machine(
    tmp_path: Any, address: str, refused: int | None, path: str
) -> None:
    guarded, _, _ = guard(tmp_path, snapshot())
    assert await status_of(guarded, {"path": path, "client": (address, 1)}) == refused
    assert await status_of(guarded, {"path": "/administration", "client": (address, 1)}) is None


async def test_what_is_no_request_goes_through(tmp_path: Any) -> None:
    guarded, app, _ = guard(tmp_path, snapshot(key()))

    async def nothing(*_: Any) -> Any:
        return None

    await guarded({"type": "lifespan"}, nothing, nothing)
    assert app.seen == [("lifespan", None)]


async def test_the_key_is_known_to_the_request_and_to_nothing_after_it(tmp_path: Any) -> None:
    one = key()
    guarded, app, _ = guard(tmp_path, snapshot(one))
    assert await status_of(guarded, {"headers": [(b"authorization", b"Bearer s")]}) is None
    assert app.seen == [("http", one)]


@pytest.mark.parametrize(
    ("method", "path", "counted"),
    [
        ("POST", "/v1/chat/completions", True), ("GET", "/v1/models", False), ("POST", "/admin/promote", False),
        ("POST", "/admin", False), ("POST", "/administration", True),
    ],
)  # fmt: skip
async def test_only_what_asks_the_model_uses_up_a_limit(tmp_path: Any, method: str, path: str, counted: bool) -> None:
    guarded, _, accounts = guard(tmp_path, snapshot(key(Role.ADMIN)))
    scope = {"method": method, "path": path, "headers": [(b"authorization", b"Bearer s")]}
    assert await status_of(guarded, scope) is None
    assert len(accounts.let_in) == counted


# -- who needs a key --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "keys", "needed"),
    [
        ({}, 0, False), ({}, 1, True), ({"keys": "required"}, 0, True), ({"host": "0.0.0.0"}, 0, True),
        ({"keys": "off"}, 1, False),
    ],
)  # fmt: skip
def test_a_key_is_needed_where_one_was_ever_made_or_others_could_come(
    tmp_path: Any, options: Any, keys: int, needed: bool
) -> None:
    one = access(tmp_path, snapshot(*[key()] * keys), **options)
    if needed:
        with pytest.raises(Unauthorized):
            one.admit("/v1/models", NOTHING, "127.0.0.1", RequestContext())
    else:
        assert one.admit("/v1/models", NOTHING, "127.0.0.1", RequestContext()) is None


def test_before_the_registry_was_read_nobody_comes_in_but_those_who_ask_for_health(tmp_path: Any) -> None:
    one = access(tmp_path, EMPTY)
    with pytest.raises(Unavailable) as caught:
        one.admit("/v1/models", SENT, "127.0.0.1", RequestContext())
    assert caught.value.retry_after == 2.0
    for path in ("/health", "/ready"):
        assert one.admit(path, NOTHING, "", RequestContext()) is None


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "s", "Basic s", "Bearer x", "Bearer S", "Bearers s", "Bearer s x"]
)
def test_anything_but_the_secret_itself_is_refused(header: str) -> None:
    with pytest.raises(Unauthorized):
        authenticate(header, snapshot(key()), NOW, RequestContext())


@pytest.mark.parametrize("header", ["Bearer s", "bearer s", "BEARER   s ", "  Bearer s"])
def test_the_scheme_is_told_in_any_case_and_spacing(header: str) -> None:
    assert authenticate(header, snapshot(key()), NOW, RequestContext()) == key()


def test_a_key_filed_under_another_digest_is_not_believed() -> None:
    wrong = Snapshot(revision=1, versions={}, aliases={}, keys={digest_of_secret("s"): key(secret="other")})
    with pytest.raises(Unauthorized):
        authenticate("Bearer s", wrong, NOW, RequestContext())


def test_a_key_is_good_until_its_moment() -> None:
    until = key(expires_at=NOW)
    assert authenticate("Bearer s", snapshot(until), NOW - timedelta(microseconds=1), RequestContext()) == until
    with pytest.raises(Unauthorized, match="expired"):
        authenticate("Bearer s", snapshot(until), NOW, RequestContext())


def test_a_key_that_another_release_made_is_told_from_one_that_nobody_made() -> None:
    unreadable = snapshot(key(secret="other")).model_copy(update={"unreadable_keys": {digest_of_secret("s"): "key-9"}})
    context = RequestContext()
    with pytest.raises(Unreadable, match=r"the API key key-9: .*upgrade"):
        authenticate("Bearer s", unreadable, NOW, context)
    assert context.key_id == "key-9", "the line of the refusal says whose key it was"
    assert authenticate("Bearer other", unreadable, NOW, context) == key(secret="other")
    assert context.key_id == "key-1"
    stranger = RequestContext()
    with pytest.raises(Unauthorized, match="not known here"):
        authenticate("Bearer x", unreadable, NOW, stranger)
    assert stranger.key_id == RequestContext().key_id


def test_a_key_that_can_be_read_counts_though_an_older_row_of_it_cannot() -> None:
    both = snapshot(key()).model_copy(update={"unreadable_keys": {digest_of_secret("s"): "key-1"}})
    assert authenticate("Bearer s", both, NOW, RequestContext()) == key()


def test_a_key_that_cannot_be_read_closes_the_service_as_any_other_does(tmp_path: Any) -> None:
    known = snapshot().model_copy(update={"unreadable_keys": {digest_of_secret("x"): "key-9"}})
    assert access(tmp_path, known).keys_asked() is True
    assert access(tmp_path, known, keys="off").keys_asked() is False
    assert access(tmp_path, snapshot()).keys_asked() is False


def test_a_refused_key_is_named_in_the_line_of_the_refusal() -> None:
    context = RequestContext()
    with pytest.raises(Unauthorized, match="revoked"):
        authenticate("Bearer s", snapshot(key(revoked_at=NOW)), NOW, context)
    assert context.key_id == "key-1"


async def test_a_refusal_leaves_its_code_with_the_request_and_lets_nothing_through(tmp_path: Any) -> None:
    guarded, app, accounts = guard(tmp_path, snapshot(key()))
    context = RequestContext()
    refused = {"path": "/metrics", "method": "POST", "headers": [(b"authorization", b"Bearer s")]}
    assert await status_of(guarded, {**refused, "dabt.context": context}) == 403
    assert (context.code, context.key, context.key_id) == ("permission_denied", None, "key-1")
    assert (app.seen, accounts.let_in) == ([], [])


# -- roles ------------------------------------------------------------------------------------------------------------

RANKS = [Role.CALLER, Role.EVALUATOR, Role.TRAINER, Role.PUBLISHER, Role.ADMIN]


@pytest.mark.parametrize(
    ("path", "least"),
    [
        *((f"/admin/{room}", Role.PUBLISHER) for room in (
            "promote", "rollback", "traffic", "residency", "preload", "pin", "unpin", "traffic/triage/prod",
        )),
        ("/admin", Role.ADMIN), ("/admin/keys", Role.ADMIN), ("/admin/usage", Role.ADMIN),
        ("/admin/promoted", Role.ADMIN), ("/metrics", Role.EVALUATOR), ("/metrics/x", Role.EVALUATOR),
        ("/v1/files", Role.TRAINER), ("/v1/files/x", Role.TRAINER), ("/v1/uploads/x", Role.TRAINER),
        ("/v1/fine_tuning/jobs", Role.TRAINER), ("/v1/filesx", Role.CALLER),
        ("/metricsx", Role.CALLER), ("/v1/models", Role.CALLER), ("/", Role.CALLER),
        ("*", Role.CALLER),  # OPTIONS *
    ],
)  # fmt: skip
def test_each_route_takes_its_role_and_those_above(tmp_path: Any, path: str, least: Role) -> None:
    for role in RANKS:
        one = access(tmp_path, snapshot(key(role)))
        if RANKS.index(role) >= RANKS.index(least):
            assert one.admit(path, SENT, "10.0.0.9", RequestContext()) == key(role)
        else:
            article = {"caller": "a", "evaluator": "an", "trainer": "a", "publisher": "a", "admin": "an"}
            with pytest.raises(Forbidden, match=rf"is {article[role]} {role}'s, .* needs {article[least]} {least}'s"):
                one.admit(path, SENT, "10.0.0.9", RequestContext())


@pytest.mark.parametrize("role", RANKS)
def test_only_evaluators_and_above_may_say_that_they_evaluate(tmp_path: Any, role: Role) -> None:
    one = access(tmp_path, snapshot(key(role)))
    headers = Headers({"authorization": "Bearer s", "x-dabt-purpose": "evaluation"})
    other = Headers({"authorization": "Bearer s", "x-dabt-purpose": "fun"})
    assert one.admit("/v1/models", other, "", RequestContext()) == key(role)
    if role is Role.CALLER:
        with pytest.raises(Forbidden, match="x-dabt-purpose: evaluation needs an evaluator's"):
            one.admit("/v1/models", headers, "", RequestContext())
    else:
        assert one.admit("/v1/models", headers, "", RequestContext()) == key(role)


class _Forcing:
    """An app that asks what its routes ask."""

    def __init__(self) -> None:
        self.forced: bool | None = None
        self.actor = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = HTTPConnection(scope)
        self.actor = actor_of(request, "amal")
        try:
            check_may_force(request)
            self.forced = True
        except Forbidden:
            self.forced = False


@pytest.mark.parametrize("role", [None, *RANKS])
async def test_only_admins_force_and_the_trail_names_the_key(tmp_path: Any, role: Role | None) -> None:
    app = _Forcing()
    keys = [] if role is None else [key(role)]
    guarded = AccessGuard(app, access(tmp_path, snapshot(*keys)), _Accounts())  # type: ignore[arg-type]
    assert await status_of(guarded, {"headers": [(b"authorization", b"Bearer s")]}) is None
    assert app.forced is (role in (None, Role.ADMIN))
    assert app.actor == ("amal" if role is None else "app (key-1), as amal")


# -- the address ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "places"),
    [
        ({}, []), ({"host": "0.0.0.0"}, ["host"]), ({"keys": "required"}, ["keys"]),
        ({"host": "0.0.0.0", "keys": "required"}, ["host", "keys"]),
    ],
)  # fmt: skip
def test_an_address_that_others_reach_and_keys_that_are_required_need_a_usable_key(
    tmp_path: Any, options: Any, places: list[str]
) -> None:
    ended = key(revoked_at=NOW)
    for keyring in (_Keyring(), _Keyring(ended)):
        if places:
            with pytest.raises(InvalidConfig) as caught:
                check_address(config(tmp_path, **options), keyring)  # type: ignore[arg-type]
            assert [problem.place for problem in caught.value.problems] == places
        else:
            check_address(config(tmp_path, **options), keyring)  # type: ignore[arg-type]
    check_address(config(tmp_path, **options), _Keyring(ended, key()))  # type: ignore[arg-type]
    newer = _Keyring(ended)
    newer.unreadable = ["a key that a newer release made"]
    check_address(config(tmp_path, **options), newer)  # type: ignore[arg-type]


def test_admin_routes_on_loopback_need_no_key_where_none_was_made(tmp_path: Any) -> None:
    one = access(tmp_path, snapshot())
    assert one.admit("/admin/keys", NOTHING, "127.0.0.1", RequestContext()) is None
    with pytest.raises(NotAllowed, match="dabt keys create"):
        one.admit("/admin/keys", NOTHING, "", RequestContext())
