"""Who may come in: API keys as of the registry's last known state, and the role that each route asks for.

`AccessGuard` stands before every route, so that a route that nobody thought of is closed rather than open. Read
`lifecycle/access/keys.py` for what a key is, `accounts.py` for how much it may use, docs/guides/access.md for the rules
in one table.
"""

from __future__ import annotations

import hmac
from contextlib import AsyncExitStack
from datetime import UTC, datetime

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from lifecycle.access.keys import ApiKey, Role, digest_of_secret
from lifecycle.errors import (
    DabtError,
    Forbidden,
    InvalidConfig,
    NotAllowed,
    Problem,
    Unauthorized,
    Unavailable,
    Unreadable,
)
from lifecycle.registry.keyring import Keyring
from service.access.accounts import Accounts
from service.catalogue import EMPTY, UPGRADE, Catalogue, Snapshot
from service.config import ServeConfig, is_loopback
from service.openai import http_errors
from service.request_context import RequestContext, context_of
from service.resolution import EVALUATION, PURPOSE_HEADER

OPEN = frozenset({"/health", "/ready"})
"""Asked by orchestrators, which hold no keys; they tell nothing of what callers do."""

_PUBLISHING = ("promote", "rollback", "retire", "traffic", "residency", "preload", "pin", "unpin")

ROLES: tuple[tuple[str, Role], ...] = (
    *((f"/admin/{room}", Role.PUBLISHER) for room in _PUBLISHING),
    ("/admin", Role.ADMIN),
    ("/metrics", Role.EVALUATOR),
    ("/v1/dabt/ratings", Role.EVALUATOR),
    *((f"/v1/{room}", Role.TRAINER) for room in ("files", "uploads", "fine_tuning")),
    ("", Role.CALLER),
)
"""The least role for a path and all below it; the first that fits. What is not named needs a caller's key."""
SIGNED_IN = "dabt.signed_in"
"""In the scope of a request that the console makes inside this process: the key of who is signed in there, or None. No
request from outside has it, for a scope is made by the server."""


def actor_of(connection: HTTPConnection, said: str) -> str:
    """Who the trail is to name: with a key its holder, whatever the request `said`, which is kept beside it."""
    key = context_of(connection).key
    return said if key is None else f"{key.name} ({key.id}), as {said}"


def check_may_force(connection: HTTPConnection) -> None:
    """Raises `Forbidden` when the caller's key may not go past the gate."""
    key = context_of(connection).key
    if key is not None and not key.role.includes(Role.ADMIN):
        raise Forbidden(f"the {key} is {_a(key.role)}'s, and forcing needs an admin's")


class Access:
    """Decides from the catalogue's snapshot: a key made or revoked elsewhere counts here within a second, and keys go
    on working as they were last known while the registry is away.
    """

    def __init__(self, config: ServeConfig, catalogue: Catalogue) -> None:
        self._mode = config.keys
        self._from_elsewhere = not is_loopback(config.host)
        self._catalogue = catalogue

    def admit(
        self, path: str, headers: Headers, client: str, context: RequestContext, signed_in: ApiKey | None = None
    ) -> ApiKey | None:
        """The caller's key, or None where none is needed. `context` is told whose key came, before it is refused.
        `client` is the caller's address, empty when it is not known. `signed_in` is the key that the console knows.

        Raises `Unauthorized` without a key that is good now, `Forbidden` when its role is not enough, `NotAllowed`
        for an admin route without keys and from another machine, `Unavailable` before the registry has been read.
        """
        if path in OPEN:
            return None
        snapshot = self._catalogue.snapshot
        if not self.keys_asked():
            if _below(path, "/admin") and not is_loopback(client):
                raise NotAllowed(
                    "without API keys, admin routes answer only callers on the machine that the service runs on; make "
                    "a key there with `dabt keys create --role admin`"
                )
            return None
        if snapshot is EMPTY:
            raise Unavailable("no key can be checked, because the registry has not been read yet", retry_after=2.0)
        if signed_in is None:
            key = authenticate(headers.get("authorization", ""), snapshot, datetime.now(UTC), context)
        else:
            key = signed_in
            context.key_id = key.id
        _check_role(key, path, headers)
        return key

    def keys_asked(self) -> bool:
        """Whether callers need a key now. Once there has been a key there must be one: revoking the last must close the
        service and not open it.
        """
        snapshot = self._catalogue.snapshot
        if self._mode == "off":
            return False
        had = bool(snapshot.keys or snapshot.unreadable_keys)
        return self._mode == "required" or self._from_elsewhere or had or snapshot is EMPTY


def authenticate(authorization: str, snapshot: Snapshot, now: datetime, context: RequestContext) -> ApiKey:
    """The key of an `Authorization: Bearer …` header.

    Raises `Unauthorized`, never repeating what was sent, and `Unreadable` for a key that another release made.
    """
    scheme, _, secret = authorization.strip().partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise Unauthorized("this service asks for an API key; send the header `Authorization: Bearer <key>`")
    # What the look-up's time tells is about the digest of what the caller sent, which leads to no secret.
    digest = digest_of_secret(secret.strip())
    key = snapshot.keys.get(digest)
    if key is None and (id_ := snapshot.unreadable_keys.get(digest)) is not None:
        context.key_id = id_
        raise Unreadable(f"the API key {id_}: {UPGRADE}")
    if key is None or not hmac.compare_digest(key.digest, digest):
        raise Unauthorized("the API key is not known here; make one with `dabt keys create`")
    context.key_id = key.id  # before anything else is asked of it: the line of a refusal says whose key it was
    if problem := key.problem(now):
        raise Unauthorized(f"the {key} {problem}; ask for another")
    return key


def check_address(config: ServeConfig, keys: Keyring) -> None:
    """Raises `InvalidConfig` when others could reach a service that asks for no key, or that no key could open."""
    now = datetime.now(UTC)
    # A key that only another release can read opens nothing here, and does no harm: an upgrade will open with it.
    if any(key.problem(now) is None for key in keys.all()) or keys.left_out():
        return
    problems = []
    cure = "make one first: `dabt keys create NAME --role admin`"
    if not is_loopback(config.host):
        fault = f"{config.host} can be reached from other machines, and this registry holds no API key that can be used"
        problems.append(Problem("host", fault, f"{cure}; or use 127.0.0.1"))
    if config.keys == "required":
        problems.append(Problem("keys", "are required, and this registry holds none that can be used", cure))
    if problems:
        raise InvalidConfig("The service cannot run like this:", problems)


class AccessGuard:
    """ASGI middleware: no request goes further without its key, its role and something left of its limits."""

    def __init__(self, app: ASGIApp, access: Access, accounts: Accounts) -> None:
        self._app = app
        self._access = access
        self._accounts = accounts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        client = scope["client"][0] if scope.get("client") else ""
        context = context_of(HTTPConnection(scope))
        async with AsyncExitStack() as request:
            try:
                headers, signed_in = Headers(scope=scope), scope.get(SIGNED_IN)
                key = self._access.admit(scope["path"], headers, client, context, signed_in)
                if key is not None and scope["method"] == "POST" and not _below(scope["path"], "/admin"):
                    await request.enter_async_context(self._accounts.admitted(key, context))
            except DabtError as error:
                context.code = error.code
                await http_errors.response(error)(scope, receive, send)
                return
            context.key = key
            await self._app(scope, receive, send)


def _check_role(key: ApiKey, path: str, headers: Headers) -> None:
    needed = next(role for below, role in ROLES if _below(path, below))
    if not key.role.includes(needed):
        raise Forbidden(f"the {key} is {_a(key.role)}'s, and {path} needs {_a(needed)}'s or more")
    if headers.get(PURPOSE_HEADER) == EVALUATION and not key.role.includes(Role.EVALUATOR):
        header = f"{PURPOSE_HEADER}: {EVALUATION}"
        raise Forbidden(f"the {key} is {_a(key.role)}'s, and the header {header} needs an evaluator's or more")


def _below(path: str, start: str) -> bool:
    return not start or path == start or path.startswith(f"{start}/")


def _a(role: Role) -> str:
    return f"an {role}" if role in (Role.EVALUATOR, Role.ADMIN) else f"a {role}"
