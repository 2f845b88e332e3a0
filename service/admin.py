"""What the admin routes share: the registry, and an answer once a change is served."""

from __future__ import annotations

from typing import Annotated

from fastapi import Request
from pydantic import Field, StringConstraints
from starlette.responses import JSONResponse, Response

from lifecycle.aliases import Alias
from lifecycle.registry import Registry
from service.parts import parts_of

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Revision = Annotated[int, Field(ge=0)]
"""Of the registry, as answers tell it (`x-dabt-revision`): an alias that has been changed since is left as it is."""


def registry_of(request: Request) -> Registry:
    registry: Registry = request.app.state.registry
    return registry


async def as_served(request: Request, alias: Alias) -> Response:
    """The alias as it now is, once this service serves it."""
    await parts_of(request).catch_up()
    return JSONResponse(alias.model_dump(mode="json"))
