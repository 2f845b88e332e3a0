"""Who comes in at /ui: a cookie and never a Bearer key, from a page of this host, as far as the key's role reaches."""

from __future__ import annotations

import socket

import httpx
import pytest

from console.sessions import COOKIE
from lifecycle.errors import Unavailable
from tests.console.conftest import Serve, Served
from tests.service.conftest import House


def fill(house: House) -> None:
    house.prod("triage", adapter=house.adapter("triage"))
    for name, role in (("sami", "caller"), ("eva", "evaluator"), ("adam", "admin")):
        keys[name] = house.key(name, role=role)["authorization"]


keys: dict[str, str] = {}


@pytest.fixture(scope="module")
def served(serve: Serve) -> Served:
    return serve(fill)


def test_without_a_cookie_every_screen_asks_to_sign_in_and_then_leads_on(served: Served):
    with served.client() as client:
        answer = client.get("/ui/versions?q=tri")
        assert (answer.status_code, answer.headers["location"]) == (303, "/ui/sign-in?next=%2Fui%2Fversions%3Fq%3Dtri")
        form = {"key": keys["eva"].removeprefix("Bearer "), "next": "/ui/versions?q=tri"}
        signed = client.post("/ui/sign-in", data=form)
        assert (signed.status_code, signed.headers["location"]) == (303, "/ui/versions?q=tri")
        cookie = signed.headers["set-cookie"]
        assert cookie.startswith(f"{COOKIE}=")
        assert {"HttpOnly", "SameSite=strict", "Path=/ui"} <= set(cookie.split("; "))
        assert form["key"] not in cookie
        assert client.get("/ui/versions").status_code == 200


@pytest.mark.parametrize(
    "place",
    ["https://evil.example/ui", "//evil.example/ui", "/v1/models", "/ui\\..\\x", "/uix", "//[", "/ui/../v1/models",
     "/ui/%2e%2e/v1/models", "/ui/%5c..", "/ui\n//evil.example", "javascript:alert(1)"],
)  # fmt: skip
def test_signing_in_leads_to_no_other_place_than_a_page_of_the_console(served: Served, place: str):
    with served.client() as client:
        form = {"key": keys["eva"].removeprefix("Bearer "), "next": place}
        assert client.post("/ui/sign-in", data=form).headers["location"] == "/ui"


def test_a_wrong_key_gives_no_cookie_and_is_not_repeated(served: Served):
    with served.client() as client:
        answer = client.post("/ui/sign-in", data={"key": "dabt-wrong<b>"})
        assert answer.status_code == 401
        assert "set-cookie" not in answer.headers
        assert "dabt-wrong" not in answer.text


def test_neither_door_opens_to_what_is_for_the_other(served: Served):
    with served.client() as client:
        assert client.get("/ui", headers={"authorization": keys["adam"]}).status_code == 303
    with served.client("adam") as client:
        client.cookies.set(COOKIE, served.cookie("adam"), path="/")
        assert client.get("/v1/models").status_code == 401


def test_a_forged_cookie_opens_nothing(served: Served):
    whole = served.cookie("adam")
    for cookie in (whole[:-2] + "AA", whole.split(".")[0], "", "x.y.z"):
        with served.client() as client:
            client.cookies.set(COOKIE, cookie, path="/ui")
            assert client.get("/ui/settings").status_code == 303


def test_a_role_opens_its_screens_and_the_others_are_not_offered(served: Served):
    with served.client("sami") as client:
        page = client.get("/ui").text
        assert 'href="/ui/versions"' in page
        assert 'href="/ui/settings"' not in page
        refused = client.get("/ui/settings")
        assert refused.status_code == 403
        assert "needs the role evaluator" in refused.text
    with served.client("eva") as client:
        assert client.get("/ui/settings").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}, {"sec-fetch-site": "none"},
        {"sec-fetch-site": "", "origin": "http://evil.example"}, {"sec-fetch-site": "", "origin": "null"},
    ],
)  # fmt: skip
def test_a_change_that_another_sites_page_asks_for_is_refused(served: Served, headers: dict[str, str]):
    with served.client("adam") as client:
        answer = client.post("/ui/preferences", data={"language": "ar"}, headers=headers)
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers


def test_a_browser_that_tells_no_site_is_known_by_its_origin(served: Served):
    with served.client("adam") as client:
        del client.headers["sec-fetch-site"]
        assert client.post("/ui/preferences", data={"language": "ar"}).status_code == 403
        answer = client.post("/ui/preferences", data={"language": "ar"}, headers={"origin": served.url})
        assert answer.status_code == 303
        assert "dabt_language=ar" in answer.headers["set-cookie"]


def test_a_link_from_another_site_finds_its_reader_signed_in(served: Served):
    with served.client() as client:
        told = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
        answer = client.get("/ui/versions?q=%22%3E<b>", headers=told)
        assert answer.status_code == 200
        assert 'http-equiv="refresh" content="0;url=/ui/versions?q=' in answer.text
        assert "<b>" not in answer.text


def test_a_revoked_key_is_signed_out_at_the_next_click(serve: Serve):
    served = serve(lambda house: house.key("gone", role="admin"))
    with served.client("gone") as client:
        assert client.get("/ui/settings").status_code == 200
        key = next(key for key in served.house.registry.keys.all() if key.name == "gone")
        served.house.registry.keys.revoke(key.id, actor="test")
        served.app.state.parts.catalogue.refresh()
        assert client.get("/ui/settings").status_code == 303


def assert_shut(answer: httpx.Response) -> None:
    """It may load, run and be framed by nothing, and is kept nowhere."""
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


FORM = {"content-type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(
    ("method", "place", "content", "status"),
    [
        ("GET", "/ui", b"", 200), ("GET", "/ui/sign-in", b"", 200), ("GET", "/ui/settings", b"", 200),
        ("GET", "/ui/nowhere", b"", 404), ("PUT", "/ui/keys", b"", 405), ("POST", "/ui/keys/new", b"\xff", 400),
        ("POST", "/ui/train/jobs/ftjob-1/explode", b"", 404), ("GET", "/ui/static/0/none.css", b"", 404),
        ("GET", "/ui/static/0/%00", b"", 404), ("GET", f"/ui/static/0/{'a' * 5000}", b"", 404),
        ("GET", "/ui/static/0/..%2fapp.py", b"", 404),
        ("POST", "/ui/keys/new", b"name=" + b"a" * 2**20, 413), ("POST", "/ui/compare/answers", b"{", 400),
        ("GET", "/ui/keys/%00", b"", 404), ("GET", "/ui/reports/%00", b"", 404),
        ("GET", "/ui/sign-in?next=//[", b"", 200),
    ],
)  # fmt: skip
def test_every_page_forbids_what_it_does_not_need(served: Served, method: str, place: str, content: bytes, status: int):
    with served.client("adam") as client:
        answer = client.request(method, place, content=content, headers=FORM)
    assert answer.status_code == status
    assert_shut(answer)


@pytest.mark.parametrize(("error", "status"), [(ZeroDivisionError("secret"), 500), (Unavailable("away"), 503)])
def test_a_page_of_an_error_forbids_the_same_and_keeps_a_fault_to_itself(
    served: Served, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
):
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("console.screens.watch.show", fail)
    with served.client("adam") as client:
        answer = client.get("/ui/watch")
    assert answer.status_code == status
    assert_shut(answer)
    assert "secret" not in answer.text


def test_a_form_that_does_not_arrive_is_given_up(serve: Serve):
    served = serve(client_seconds=1)
    host, port = served.url.removeprefix("http://").split(":")
    head = (
        f"POST /ui/preferences HTTP/1.1\r\nhost: {host}:{port}\r\nsec-fetch-site: same-origin\r\ncontent-length: 9\r\n"
    )
    with socket.create_connection((host, int(port)), timeout=30) as line:
        line.sendall(f"{head}\r\nlang".encode())
        assert line.recv(100).startswith(b"HTTP/1.1 408 ")
