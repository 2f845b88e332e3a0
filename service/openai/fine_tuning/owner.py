"""Whose a file or a job is: the key's, and of keys that share with it; without keys, everybody's on this machine."""

from __future__ import annotations

from fastapi import Request

from lifecycle.access import keys
from lifecycle.access.keys import Role
from service.access.authentication import actor_of
from service.request_context import context_of


def owner_of(request: Request) -> str:
    return keys.owner_of(context_of(request).key)


def acting_for(request: Request) -> str | None:
    """Whose jobs this caller may look at and stop: its own; an admin's key anybody's, which is None."""
    key = context_of(request).key
    return None if key is not None and key.role.includes(Role.ADMIN) else owner_of(request)


def who(request: Request) -> str:
    """For the trail."""
    return actor_of(request, "openai-api")
