"""The console as one part of the service: the pages, behind their door, and what runs beside them."""

from __future__ import annotations

from functools import cache

import structlog
from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from console import live, signing_in
from console.api import Api, Refused
from console.checking import Checks
from console.door import Door
from console.history import History
from console.rendering import HERE, error_page, static_path
from console.screens import ROUTERS, SOURCES
from console.sessions import Sessions
from console.store_health import StoreHealth
from lifecycle.errors import DabtError, NotFound
from lifecycle.home import Home
from service.access.authentication import Access
from service.config import ServeConfig
from service.parts import Parts

log = structlog.get_logger(__name__)
statics = APIRouter()


class Console:
    """What the service puts in front of /ui. `api` is the whole service, as clients reach it."""

    def __init__(self, api: FastAPI, home: Home) -> None:
        parts: Parts = api.state.parts
        config: ServeConfig = api.state.config
        self.pages = pages = FastAPI(title="Dabt", openapi_url=None, docs_url=None, redoc_url=None)
        pages.state.api = Api(api)
        pages.state.parts = parts
        pages.state.config = config
        pages.state.registry = api.state.registry
        pages.state.home = home
        self.checks = pages.state.checks = Checks(home.cache / "console" / "checks", config.base)
        pages.state.service = api.state
        self.store_health = pages.state.store_health = StoreHealth(parts.store, parts.at_store)
        self.history = pages.state.history = History()
        self._telemetry = parts.telemetry
        self.sessions = pages.state.sessions = Sessions.of(home.root)
        access = pages.state.access = Access(config, parts.catalogue)
        under_way = parts.under_way
        self.live = pages.state.live = live.Hub(
            min(config.keep_alive_seconds, 15.0), draining=lambda: under_way.draining_since is not None
        )
        for sources in SOURCES:
            self.live.add(*sources(pages.state))
        pages.include_router(statics)
        pages.include_router(signing_in.router)
        pages.include_router(live.router)
        for router in ROUTERS:
            pages.include_router(router)
        pages.add_exception_handler(DabtError, _on_error)
        pages.add_exception_handler(Refused, _on_error)
        pages.add_exception_handler(HTTPException, _on_http_error)
        pages.add_exception_handler(RequestValidationError, _on_no_address)
        pages.add_exception_handler(Exception, _on_fault)
        # It leaves streams of events as they are. From the length of a compressed page, who can have his own text put
        # into it guesses what else is there (BREACH, Gluck et al. 2013): so no page has a secret that lasts, forms have
        # no token of their own, and a new key's secret is in one answer alone.
        compressed = GZipMiddleware(pages, minimum_size=1000, compresslevel=5)
        self.app: ASGIApp = Door(compressed, access, parts.catalogue, pages.state.sessions)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)

    async def start(self) -> None:
        """Called when the service begins to listen."""
        self.history.start(self._telemetry)

    async def stop(self) -> None:
        """Called when it ends; open streams end with it."""
        await self.live.stop()
        await self.checks.stop()
        await self.store_health.stop()
        await self.history.stop()


@statics.get("/ui/static/{digest}/{name:path}")
async def static(digest: str, name: str) -> Response:
    """A file of the console under the digest of what it holds; another digest is another release's page."""
    if name not in _files():
        raise NotFound(f"there is no file {name[:80]} here")
    if static_path(name).split("/")[3] != digest:
        return RedirectResponse(static_path(name), 307)
    return FileResponse(HERE / "static" / name, headers={"cache-control": "public, max-age=31536000, immutable"})


@cache
def _files() -> frozenset[str]:
    """What there is: an address is compared with it, and never a path, whatever stands in it."""
    folder = HERE / "static"
    return frozenset(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


async def _on_error(request: Request, error: Exception) -> Response:
    return error_page(request, error)


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return error_page(request, Refused(error.status_code, "no_such_page", f"{request.url.path}: {error.detail}"))


async def _on_no_address(request: Request, error: Exception) -> Response:
    """A part of the address is none that the page knows: forms and what is asked are read by hand."""
    return await _on_http_error(request, HTTPException(404))


async def _on_fault(request: Request, error: Exception) -> Response:
    log.error("a fault in the console", path=request.url.path, exc_info=error)
    return error_page(request, error)
