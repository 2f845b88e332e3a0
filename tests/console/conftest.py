"""The console over the fake engine on a loopback port, and people who look at it in a real browser.

served = serve(lambda house: house.prod("triage", adapter="triage"))
with served.person("ar") as page: page.goto("/ui")
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from console.app import Console
from console.sessions import COOKIE
from service.app import create_app
from service.config import ServeConfig
from service.engine.fake_engine import FakeEngine
from tests.browser import launched
from tests.service.conftest import House, fake_base, make_house

PHONE, DESK = 360, 1200
PATIENCE = 120_000
"""Milliseconds that a browser has for a step: they end what would hang, and no slow machine's test."""


@dataclass
class Served:
    url: str
    house: House
    app: FastAPI
    engine: FakeEngine
    browser: Callable[[], Any]
    faults: list[str] = field(default_factory=list)
    """What went wrong in browsers: errors of scripts, words on the console, requests that left this address."""

    def client(self, key: str | None = None) -> httpx.Client:
        """Of a page without scripts: it sends what forms send. `key` is the name of one that `house.key` made."""
        client = httpx.Client(base_url=self.url, timeout=120, headers={"sec-fetch-site": "same-origin"})
        if key is not None:
            client.cookies.set(COOKIE, self.cookie(key), path="/ui")
        return client

    def cookie(self, name: str) -> str:
        key = next(key for key in self.house.registry.keys.all() if key.name == name)
        console: Any = self.app.state.console
        return str(console.sessions.cookie(key))

    @contextmanager
    def person(
        self, language: str = "en", *, theme: str = "light", width: int = DESK, key: str | None = None,
        script: bool = True, watched: bool = True,
    ) -> Iterator[Any]:  # fmt: skip
        """A page of a browser of its own. Unless not `watched`, its faults fail the test when it is closed."""
        context = self.browser().new_context(
            base_url=self.url, viewport={"width": width, "height": 850}, color_scheme=theme, java_script_enabled=script,
            locale=language,
        )  # fmt: skip
        cookies = {"dabt_language": language, "dabt_theme": theme}
        if key is not None:
            cookies[COOKIE] = self.cookie(key)
        made = [{"name": name, "value": value, "domain": "127.0.0.1", "path": "/ui"} for name, value in cookies.items()]
        context.add_cookies(made)
        page = context.new_page()
        context.set_default_timeout(PATIENCE)
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda said: faults.append(said.text) if said.type in ("error", "warning") else None)
        page.on("request", lambda asked: faults.append(asked.url) if not asked.url.startswith(self.url) else None)
        try:
            yield page
            if watched:
                assert faults == []
        finally:
            context.close()


Serve = Callable[..., Served]


@pytest.fixture(autouse=True)
def pages_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """For figures and for the store, however long they take; otherwise a page goes on without them after seconds."""
    monkeypatch.setattr("console.live._FIRST_READ", 120.0)
    monkeypatch.setattr("console.store_health._PATIENCE", 120.0)


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory, browser: Callable[[], Any]) -> Iterator[Serve]:
    """`serve(fill, **options)`: a service whose registry `fill` has filled; all of a file's end with the file."""
    ends: list[Callable[[], None]] = []

    def start(fill: Callable[[House], object] = lambda house: None, **options: object) -> Served:
        root = tmp_path_factory.mktemp("console")
        house = make_house(root / "home", fake_base(root / "tiny"))
        fill(house)
        default = {"base": house.base, "embedding_model": "none", "max_cpu_loras": 4, "max_loras": 2}
        engine = FakeEngine()
        config = ServeConfig.model_validate({**default, **options})
        app = create_app(config, engine, house.registry, house.store, console=partial(Console, home=house.home))
        listener = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=1))
        loop = asyncio.new_event_loop()
        work = server.serve(sockets=[listener])
        thread = threading.Thread(target=loop.run_until_complete, args=(work,), daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"

        def end() -> None:
            server.should_exit = True
            thread.join(30)
            house.registry.close()

        ends.append(end)
        while httpx.get(f"{url}/ready", timeout=60).status_code != 200:
            assert thread.is_alive(), "the server ended"
            time.sleep(0.01)
        return Served(url, house, app, engine, browser)

    yield start
    for end in ends:
        end()


@pytest.fixture(scope="module")
def browser() -> Iterator[Callable[[], Any]]:
    """Started when it is first asked for; while it is open, no other loop can run in this thread."""
    begun: list[Any] = []

    def chromium() -> Any:
        if not begun:
            from playwright.sync_api import expect, sync_playwright

            expect.set_options(timeout=PATIENCE)
            playwright = sync_playwright().start()
            begun.append(playwright)
            begun.append(launched(playwright, PATIENCE))
        return begun[1]

    yield chromium
    if begun:
        begun[1].close()
        begun[0].stop()
