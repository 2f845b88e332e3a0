"""Live figures between the service and real browsers: one connection for all tabs, and a mark when it is broken."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from benchmarks.console import open_pages
from console.live import Figure, Hub, Source
from lifecycle.access.keys import Role
from tests.console.conftest import Serve, Served
from tests.console.looking import assert_accessible
from tests.service.conftest import House

figures: dict[str, Figure] = {}
cuts: list[str] = []
"""Put something in, and the service cuts all streams off: it is read in the service's own thread."""


def fill(house: House) -> None:
    for name, role in (("sami", "caller"), ("eva", "evaluator"), ("gone", "evaluator")):
        house.key(name, role=role)


def showing(served: Served) -> Hub:
    """A topic of the test's, read often."""

    hub: Hub = served.app.state.console.live

    async def read() -> dict[str, Figure]:
        if cuts:
            cuts.clear()
            hub.end_streams()
        return dict(figures)

    if "t" not in hub._sources:
        hub.add(Source("t", Role.EVALUATOR, read, every=0.01))
    figures.clear()
    figures["t.x"] = 0.256
    return hub


@pytest.fixture(scope="module")
def open_house(serve: Serve) -> Served:
    return serve()


@pytest.fixture(scope="module")
def keyed(serve: Serve) -> Served:
    return serve(fill)


def events(answer: httpx.Response) -> Iterator[tuple[str, dict[str, Any] | str]]:
    kind = ""
    for line in answer.iter_lines():
        if line.startswith("event: "):
            kind = line.removeprefix("event: ")
        elif line.startswith("data: "):
            data = line.removeprefix("data: ")
            yield kind, json.loads(data) if data.startswith("{") else data


def test_who_is_not_signed_in_hears_nothing(keyed: Served):
    with keyed.client() as client:
        assert client.get("/ui/events?topics=t").status_code == 303


def test_a_caller_hears_nothing_of_what_is_for_evaluators(keyed: Served):
    showing(keyed)
    for name, told in (("sami", {}), ("eva", {"t.x": 0.256})):
        with keyed.client(name) as client, client.stream("GET", "/ui/events?topics=t") as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert answer.headers["cache-control"] == "no-store"
            assert next(events(answer)) == ("state", told)


def test_an_open_stream_ends_when_its_key_is_revoked(keyed: Served):
    showing(keyed)
    with keyed.client("gone") as client, client.stream("GET", "/ui/events?topics=t") as answer:
        told = events(answer)
        assert next(told)[0] == "state"
        key = next(key for key in keyed.house.registry.keys.all() if key.name == "gone")
        keyed.house.registry.keys.revoke(key.id, actor="test")
        keyed.app.state.parts.catalogue.refresh()
        assert list(told) == [("end", "signed_out")]


def test_pages_and_statics_are_compressed_and_a_stream_of_events_never_is(open_house: Served):
    showing(open_house)
    with open_house.client() as client:
        client.headers["accept-encoding"] = "gzip"
        page = client.get("/ui")
        style = re.search(r'href="(/ui/static/[^"]+console\.css)"', page.text)[1]  # type: ignore[index]
        assert page.headers["content-encoding"] == client.get(style).headers["content-encoding"] == "gzip"
        with client.stream("GET", "/ui/events?topics=t") as answer:
            assert "content-encoding" not in answer.headers
            assert next(events(answer))[0] == "state"


def test_one_listener_too_many_is_told_to_come_later(open_house: Served, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("console.live.MOST_LISTENERS", 0)
    with open_house.client() as client:
        assert client.get("/ui/events").status_code == 503


def test_a_draining_service_keeps_no_stream(serve: Serve):
    served = serve()
    showing(served)
    with served.client() as client, client.stream("GET", "/ui/events?topics=t") as answer:
        told = events(answer)
        assert next(told)[0] == "state"
        served.app.state.parts.under_way.drain()
        assert list(told) == []


def test_the_benchmarks_pages_hear_events_until_they_are_closed(serve: Serve):
    served = serve()
    with open_pages(served.url, 3) as heard:
        assert served.app.state.console.live.streams == 3
    assert len(heard) == 3
    assert all(heard)


LIVE = """() => {
  const bdi = document.createElement("p");
  bdi.id = "mine"; bdi.dataset.live = "t.x"; bdi.dataset.format = "percent"; bdi.dataset.places = "1";
  document.querySelector("main").append(bdi);
  document.dispatchEvent(new Event("htmx:after:swap"));
}"""


def becomes(page: Any, text: str) -> None:
    """Without the marks that Arabic has about a number."""
    bare = "document.querySelector('#mine').textContent.replace(/[\\u200e\\u200f]/g, '')"
    page.wait_for_function(f"text => {bare} === text", arg=text)


@pytest.mark.e2e
def test_two_tabs_share_one_connection_and_the_second_goes_on_when_the_first_is_closed(open_house: Served):
    hub = showing(open_house)
    with open_house.person() as first:
        second = first.context.new_page()
        for page in (first, second):
            page.goto("/ui")
            page.evaluate(LIVE)
            becomes(page, "25.6%")
        while hub.streams != 1:  # of one that was closed before, the service hears a moment later
            time.sleep(0.01)
        figures["t.x"] = 0.5
        becomes(first, "50.0%")
        becomes(second, "50.0%")
        first.close()
        second.wait_for_function("() => document.documentElement.dataset.connection === 'live'")
        figures["t.x"] = None
        becomes(second, "—")
        figures["t.x"] = 0.75
        becomes(second, "75.0%")
        while hub.streams != 1:  # the service notices a moment later that the first is gone
            time.sleep(0.01)


@pytest.mark.e2e
def test_a_page_without_live_figures_opens_no_connection(open_house: Served):
    asked: list[str] = []
    with open_house.person() as page:
        page.on("request", lambda request: asked.append(request.url))
        page.goto("/ui/settings")
        page.wait_for_load_state("networkidle")
    assert [url for url in asked if "/ui/events" in url] == []


@pytest.mark.e2e
@pytest.mark.parametrize(("language", "mark", "half"), [("en", "Not live", "50.0%"), ("ar", "غير مباشر", "50.0%")])
def test_a_broken_connection_is_marked_and_what_was_missed_comes_with_the_next_one(
    open_house: Served, language: str, mark: str, half: str
):
    showing(open_house)
    with open_house.person(language, watched=False) as page:
        page.goto("/ui")
        page.evaluate(LIVE)
        page.wait_for_function("() => document.documentElement.dataset.connection === 'live'")
        assert page.locator("#live").is_hidden()
        page.route("**/ui/events*", lambda route: route.abort())
        cuts.append("now")
        page.locator("#live").wait_for(state="visible")
        assert mark in page.locator("#live").inner_text()
        assert_accessible(page)
        figures["t.x"] = 0.5
        page.unroute("**/ui/events*")
        page.locator("#live").wait_for(state="hidden")
        becomes(page, half)


@pytest.mark.e2e
def test_a_session_that_ends_is_told_on_the_page(serve: Serve):
    served = serve(fill)
    showing(served)
    with served.person(key="gone") as page:
        page.goto("/ui")
        page.evaluate(LIVE)
        becomes(page, "25.6%")
        key = next(key for key in served.house.registry.keys.all() if key.name == "gone")
        served.house.registry.keys.revoke(key.id, actor="test")
        served.app.state.parts.catalogue.refresh()
        page.locator("#live").wait_for(state="visible")
        assert "this session has ended" in page.locator("#live").inner_text()
