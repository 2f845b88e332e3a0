"""Clients that are slow, silent, greedy or many: each costs itself its connection, and nobody else an answer."""

from __future__ import annotations

import json
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import psutil
import pytest

from tests.service.conftest import fake_base, make_house
from tests.service.faults.conftest import Begin, Process, Wire, chat, metric
from tests.waiting import seen

pytestmark = pytest.mark.timeout(300)

CROWD = 1000
LONG = 16_000
"""Tokens of an answer that no buffer takes whole."""


@pytest.fixture(scope="module")
def giving_little(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A service that gives clients little, but enough for one who does not dawdle on a busy machine."""
    root = tmp_path_factory.mktemp("clients")
    house = make_house(root / "home", fake_base(root / "tiny"))
    house.adapter("one")
    house.prod("triage", adapter="one")
    service = Process(house, config={"client_seconds": 3, "max_body_mib": 1})
    service.ready().close()
    yield service
    service.process.kill()
    service.process.communicate()
    house.registry.close()


@pytest.fixture
def impatient(giving_little: Process) -> Iterator[tuple[Process, httpx.Client]]:
    """That service, with the log of this test alone, and another client."""
    service = giving_little
    service.forget_log()
    with httpx.Client(base_url=service.url, timeout=60) as client:
        yield service, client
        assert client.post("/v1/chat/completions", json=chat("triage")).status_code == 200
        assert metric(client, "dabt_requests_in_flight") == 0
        assert metric(client, "dabt_adapter_leases") == 0
        assert psutil.Process(service.process.pid).status() != psutil.STATUS_ZOMBIE


def test_a_request_whose_head_never_ends_is_cut_off(impatient: Any) -> None:
    service, _ = impatient
    begun = ["", "POST /v1/chat/comp", "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-le"]
    with ExitStack() as wires:
        sent = [wires.enter_context(Wire(service.url)) for _ in begun]
        for wire, head in zip(sent, begun, strict=True):
            wire.send(head)
        assert [wire.rest() for wire in sent] == [""] * len(begun)
    service.until("a client was cut off")


def test_a_head_that_comes_in_drops_is_cut_off_too(impatient: Any) -> None:
    """Each drop in time, all of them together never: what is called Slowloris."""
    service, _ = impatient
    with Wire(service.url) as wire:
        wire.send("POST /v1/chat/completions HTTP/1.1\r\n")
        ended = threading.Event()

        def drip() -> None:
            while not ended.wait(0.02):
                try:
                    wire.send("x-more: 1\r\n")
                except OSError:
                    return

        dripping = threading.Thread(target=drip)
        dripping.start()
        assert wire.rest() == ""
        ended.set()
        dripping.join()


def test_a_kept_connection_that_begins_another_request_and_stops_is_cut_off(impatient: Any) -> None:
    service, _ = impatient
    with Wire(service.url) as wire:
        wire.post(chat("tiny"))
        assert wire.until("}}").startswith("HTTP/1.1 200")
        wire.send("GET /hea")
        assert wire.rest() == ""


def test_a_kept_connection_that_was_idle_for_a_while_is_answered_again(begin: Begin) -> None:
    """A pooled client would meet a reset where a server ends idle connections after 5 seconds, as uvicorn does."""
    service = begin()
    with service.ready(), Wire(service.url) as wire:
        wire.post(chat("tiny"))
        assert wire.until("}}").startswith("HTTP/1.1 200")
        time.sleep(6)
        wire.post(chat("tiny"))
        assert wire.until("}}").startswith("HTTP/1.1 200")


def test_a_body_that_never_ends_is_told_so_and_the_connection_is_ended(impatient: Any) -> None:
    service, client = impatient
    framings = ["content-length: 100", "transfer-encoding: chunked"]
    with ExitStack() as wires:
        sent = [wires.enter_context(Wire(service.url)) for _ in framings]
        for wire, framing in zip(sent, framings, strict=True):
            wire.send(f'POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n{framing}\r\n\r\n5\r\n{{"mod')
        answers = [wire.rest() for wire in sent]
    for answer in answers:
        head, _, body = answer.partition("\r\n\r\n")
        assert head.startswith("HTTP/1.1 408 ")
        assert "connection: close" in head.lower()
        assert json.loads(body)["error"]["code"] == "request_timeout"
    page = client.get("/metrics").text
    assert 'dabt_http_responses_total{route="/v1/chat/completions",status="408"} 2.0' in page


@pytest.mark.parametrize(
    "sent",
    [
        "hello\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # how TLS begins
        "GET /health HTTP/9.9\r\nhost: localhost\r\n\r\n",
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: many\r\n\r\n",
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        "GET /health HTTP/1.1\r\nx: " + "y" * 70_000,
    ],
)
def test_what_is_no_http_is_told_so_in_the_shape_of_every_error(impatient: Any, sent: str) -> None:
    service, _ = impatient
    with Wire(service.url) as wire:
        wire.send(sent)
        answer = wire.rest()
    head, _, body = answer.partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 400 ")
    assert "content-type: application/json" in head.lower()
    assert "connection: close" in head.lower()
    error = json.loads(body)["error"]
    assert (error["code"], error["type"], error["param"]) == ("invalid_input", "invalid_request_error", None)


def test_a_body_that_goes_on_after_its_answer_is_cut_off(impatient: Any) -> None:
    """Nobody reads it, so nobody can say that it is late."""
    service, _ = impatient
    with Wire(service.url) as wire:
        wire.send("GET /health HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n1\r\n")
        assert wire.until('"ok"}').startswith("HTTP/1.1 200")
        assert "HTTP/1.1" not in wire.rest()


def test_a_head_without_bounds_is_refused(impatient: Any) -> None:
    service, _ = impatient
    with Wire(service.url) as wire:
        try:
            wire.send("GET /health HTTP/1.1\r\n")
            for _ in range(1000):
                wire.send(f"x-large: {'x' * 1000}\r\n")
        except OSError:
            pass  # the other side has stopped reading
        assert "HTTP/1.1 200" not in wire.rest()


def test_one_who_reads_nothing_holds_no_adapter_and_loses_his_connection(impatient: Any) -> None:
    service, client = impatient
    with Wire(service.url, receive_buffer=4096) as wire:
        wire.post(chat("triage", stream=True, min_tokens=LONG))
        service.until("a client was cut off")
        seen(lambda: not metric(client, "dabt_requests_in_flight"))
        page = client.get("/metrics").text
        assert metric(client, "dabt_adapter_leases") == 0
        assert wire.rest().count("\n\n") < LONG, "the rest was not kept for him"
    assert 'dabt_request_errors_total{code="disconnected",version="triage:1"} 1.0' in page


def test_while_one_does_not_read_the_others_are_answered(house: Any, begin: Begin) -> None:
    house.adapter("one")
    house.prod("triage", adapter="one")
    house.adapter("two")
    house.prod("other", adapter="two")
    service = begin(config={"max_loras": 1, "max_cpu_loras": 1})
    with service.ready() as client, Wire(service.url, receive_buffer=4096) as wire:
        wire.post(chat("triage", stream=True, min_tokens=LONG))
        # The one slot and the one place are given back, though he has read nothing.
        assert client.post("/v1/chat/completions", json=chat("other")).status_code == 200
        assert client.post("/v1/chat/completions", json=chat("tiny")).status_code == 200
        received = wire.until("[DONE]")
    assert received.count('"finish_reason": null') == LONG - 1, "and he gets all of it when he does read"
    assert received.count('"finish_reason": "stop"') == 1


def test_one_whose_machine_is_gone_is_noticed_by_asking_it() -> None:
    """It cannot be pulled out of the wall here: what makes the kernel ask is looked at instead."""
    from service.connection import _notice_the_end

    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as line:
        _notice_the_end(line, 7.0)
        assert line.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 7000


def test_a_thousand_idle_streams_leave_the_others_their_answers(house: Any, begin: Begin) -> None:
    """Begun with 256 descriptors, as some systems give them: the service asks for the rest that it may have."""
    need = 2 * CROWD + 600
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < need:
        pytest.skip(f"no more than {need} descriptors may be had here")
    service = begin(prefix=["prlimit", f"--nofile=256:{need}"], config={"client_seconds": 600, "max_queue": 2000})
    with service.ready() as client:
        resident = psutil.Process(service.process.pid).memory_info
        wanted = client.post("/v1/chat/completions", json=chat("tiny")).json()["choices"]
        service.tell("hold")
        before = resident().rss
        wires = [Wire(service.url) for _ in range(CROWD)]
        try:
            for wire in wires:
                wire.post(chat("tiny", stream=True))
            seen(lambda: metric(client, "dabt_requests_in_flight") >= CROWD)
            assert client.get("/health").status_code == 200
            assert client.get("/ready").status_code == 200
            assert client.get("/v1/models").status_code == 200
            assert (resident().rss - before) / CROWD < 256 * 1024, "bytes for each idle stream"
            service.tell("release")
            assert client.post("/v1/chat/completions", json=chat("tiny")).json()["choices"] == wanted
            for wire in wires:
                assert wire.until("[DONE]").startswith("HTTP/1.1 200")
        finally:
            for wire in wires:
                wire.socket.close()
        seen(lambda: not metric(client, "dabt_requests_in_flight"))
        service.terminate()
    assert service.end() == 0


def test_more_connections_than_there_may_be_are_told_to_come_again(begin: Begin) -> None:
    service = begin(prefix=["prlimit", "--nofile=128:128"])  # half of them for connections
    service.ready().close()
    wires = [Wire(service.url) for _ in range(80)]
    try:
        for wire in (wires[0], wires[-1]):
            wire.send("GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert wires[0].until('"ok"}').startswith("HTTP/1.1 200 "), "who was there first is answered"
        head, _, body = wires[-1].rest().partition("\r\n\r\n")
        assert head.startswith("HTTP/1.1 503 ")
        assert "retry-after: 2" in head.lower()
        assert json.loads(body)["error"]["code"] == "overloaded"
    finally:
        for wire in wires:
            wire.socket.close()
    service.terminate()
    assert service.end() == 0
