"""Over a real socket: what is sent, what comes back, and every way in which no whole answer comes."""

from __future__ import annotations

import asyncio
import gzip
import json
import math
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from evals.asking.endpoint import Endpoint, Reply, Session
from evals.asking.wire import Broken, wire

OK = b'HTTP/1.1 200 OK\r\nX-Dabt-Digest: sha256:1\r\ncontent-length: 14\r\n\r\n{"choices":[]}'
Said = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def answering(say: Said, tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[str, list[int]]]:
    """An address where `say` answers each request, and how many connections there were."""
    connections: list[int] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(len(connections))
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                sizes = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
                body = await reader.readexactly(int(sizes[0].split(b":")[1])) if sizes else b""
                await say(head + body, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=tls)
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}", connections
    finally:
        server.close()


def saying(answer: bytes, heard: list[bytes] | None = None, end: bool = False) -> Said:
    async def say(request: bytes, writer: asyncio.StreamWriter) -> None:
        if heard is not None:
            heard.append(request)
        writer.write(answer)
        if end:
            writer.close()

    return say


async def asked(say: Said, user: str = "", limit: float = 60.0) -> Reply:
    async with answering(say) as (root, _):
        address = root.replace("//", f"//{user}") + "/v1"
        session = Session(Endpoint(url=address, retries=0, timeout=limit))
        try:
            return await session.post("chat/completions", {"model": "m:1", "messages": "مرحبا"})
        finally:
            await session._wire.close()


def test_a_request_has_the_body_that_it_had_by_httpx_and_says_what_it_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DABT_API_KEY", "secret")
    heard: list[bytes] = []
    reply = asyncio.run(asked(saying(OK, heard)))
    assert (reply.status, reply.error, reply.served, reply.body) == (200, "", "sha256:1", {"choices": []})
    head, body = heard[0].split(b"\r\n\r\n")
    assert body == httpx.Request("POST", "http://x", json={"model": "m:1", "messages": "مرحبا"}).content
    lines = head.lower().split(b"\r\n")
    assert lines[0] == b"post /v1/chat/completions http/1.1"
    assert {b"x-dabt-purpose: evaluation", b"authorization: bearer secret"} < set(lines)
    assert b"content-type: application/json" in lines


def test_a_user_in_the_address_stands_before_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DABT_API_KEY", "secret")
    heard: list[bytes] = []
    assert asyncio.run(asked(saying(OK, heard), user="me:pass@")).error == ""
    assert b"authorization: basic bwu6cgfzcw==" in heard[0].lower()


@pytest.mark.parametrize(
    ("answer", "error", "final"),
    [
        (b"HTTP/1.1 400 no\r\ncontent-length: 7\r\n\r\ntoo big", "HTTP 400: too big", True),
        (b"HTTP/1.1 302 Found\r\nlocation: /v2\r\ncontent-length: 0\r\n\r\n", "HTTP 302: no body", False),
        (b"HTTP/1.1 503 busy\r\nretry-after: 2\r\ncontent-length: 4\r\n\r\nbusy", "HTTP 503: busy", False),
        (b'HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{"a', 'HTTP 200: {"a', False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{}", "Ended: the connection ended within the answer", False),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n",
            "Ended: the connection ended within",
            False,
        ),
        (b"HTTP/1.1 200 OK\r\ncontent-length", "Ended: the connection ended within the answer", False),
        (b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}", "DecodingError: ", False),
        (b"", "Ended: the connection ended without an answer", False),
        (b"nonsense\r\n\r\n", "HttpParserError: Expected HTTP/", False),
        (
            b"HTTP/1.1 101 other\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
            "HttpParserError: the server wants to speak another protocol",
            False,
        ),
    ],
)
def test_what_is_no_answer_is_a_failure_in_words(answer: bytes, error: str, final: bool) -> None:
    reply = asyncio.run(asked(saying(answer, end=True)))
    assert reply.error.startswith(error)
    assert reply.final is final
    assert reply.status == (int(answer[9:12]) if error.startswith("HTTP ") else 0)


def test_silence_longer_than_the_limit_is_a_failure() -> None:
    async def nothing(request: bytes, writer: asyncio.StreamWriter) -> None:
        pass

    reply = asyncio.run(asked(nothing, limit=0.05))
    assert (reply.status, reply.final) == (0, False)
    assert reply.error == "Silent: not a byte for 0.05 s"


def test_an_answer_that_takes_longer_than_the_limit_is_awaited_while_its_bytes_come() -> None:
    limit = 2.0  # no machine is so busy that it sends nothing for as long

    async def slowly(request: bytes, writer: asyncio.StreamWriter) -> None:
        began = asyncio.get_running_loop().time()
        for start in range(len(OK)):
            writer.write(OK[start : start + 1])
            await asyncio.sleep(1.2 * limit / len(OK))
        assert asyncio.get_running_loop().time() - began > limit

    assert asyncio.run(asked(slowly, limit=limit)).error == ""


def test_a_server_that_ends_each_connection_at_once_has_given_no_answer() -> None:
    async def all_of_it() -> list[str]:
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        try:
            return [await broken(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", {}) for _ in range(20)]
        finally:
            server.close()

    words = asyncio.run(all_of_it())
    assert all(
        one.startswith(("Ended: the connection ended without an answer", "ConnectionResetError")) for one in words
    )


def test_where_nothing_listens_it_is_refused() -> None:
    async def sent() -> str:
        async with answering(saying(OK)) as (root, _):
            pass
        return await broken(root, {})

    assert asyncio.run(sent()).startswith("ConnectionRefusedError: ")


def test_a_key_that_is_no_header_is_told() -> None:
    async def sent() -> str:
        async with answering(saying(OK)) as (root, _):
            return await broken(root, {"Authorization": "Bearer a\n"})

    assert asyncio.run(sent()).startswith("ValueError: ")


def test_a_body_that_is_no_json_is_a_fault_of_ours_and_no_failure_of_the_server() -> None:
    async def all_of_it() -> int:
        async with answering(saying(OK)) as (root, connections):
            network = wire({}, 60.0, None)
            assert (await network.send("POST", root, {})).status == 200
            with pytest.raises(ValueError, match="not JSON compliant"):
                await network.send("POST", root, {"temperature": math.nan})
            assert (await network.send("POST", root, {})).status == 200
            await network.close()
            return len(connections)

    assert asyncio.run(all_of_it()) == 1


async def broken(url: str, headers: dict[str, str]) -> str:
    network = wire(headers, 1.0, None)
    try:
        with pytest.raises(Broken) as told:
            await network.send("GET", url, None)
    finally:
        await network.close()
    return str(told.value)


def test_as_many_connections_as_requests_in_flight_and_each_is_used_again() -> None:
    async def all_of_it() -> int:
        arrived = asyncio.Barrier(8)

        async def say(request: bytes, writer: asyncio.StreamWriter) -> None:
            await arrived.wait()  # eight at once, or none is answered
            writer.write(OK)

        async with answering(say) as (root, connections):
            network = wire({}, 60.0, None)
            for _ in range(3):
                answers = await asyncio.gather(*(network.send("POST", root, {"n": n}) for n in range(8)))
                assert [json.loads(answer.content) for answer in answers] == [{"choices": []}] * 8
            await network.close()
            return len(connections)

    assert asyncio.run(all_of_it()) == 8


CONTENT = b'{"choices":[]}'
GZIPPED = gzip.compress(CONTENT)


@pytest.mark.parametrize(
    "answer",
    [
        b'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{"cho\r\n9\r\nices":[]}\r\n0\r\n\r\n',
        b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + OK,
        b"HTTP/1.0 200 OK\r\n\r\n" + CONTENT,  # it ends with its connection
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n%b" % (len(GZIPPED), GZIPPED),
    ],
    ids=["in chunks", "behind a hint", "without a length", "packed"],
)
@pytest.mark.parametrize("piece", [1, 1_000], ids=["byte by byte", "at once"])
def test_an_answer_is_whole_however_it_is_sent(answer: bytes, piece: int) -> None:
    async def say(request: bytes, writer: asyncio.StreamWriter) -> None:
        for start in range(0, len(answer), piece):
            writer.write(answer[start : start + piece])
            await writer.drain()
            await asyncio.sleep(0)
        writer.close()

    reply = asyncio.run(asked(say))
    assert (reply.status, reply.error, reply.body) == (200, "", {"choices": []})


def test_what_several_lines_of_one_name_say_stands_together() -> None:
    timing = (
        b"HTTP/1.1 200 OK\r\nServer-Timing: ttft;dur=9\r\nserver-timing: retrieval;dur=3\r\ncontent-length: 2\r\n\r\n{}"
    )
    assert asyncio.run(asked(saying(timing))).timing == {"ttft": 0.009, "retrieval": 0.003}


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}",
        OK + b"HTTP/1.1 408 late\r\ncontent-length: 0\r\n\r\n",  # of which nobody asked the second
    ],
    ids=["the server says so", "more comes than was asked for"],
)
def test_a_connection_is_not_used_again(answer: bytes) -> None:
    async def all_of_it() -> int:
        async with answering(saying(answer)) as (root, connections):
            network = wire({}, 60.0, None)
            for _ in range(3):
                assert (await network.send("POST", root, {})).status == 200
            await network.close()
            return len(connections)

    assert asyncio.run(all_of_it()) == 3


def test_a_connection_that_the_server_has_ended_meanwhile_is_not_used_again() -> None:
    async def all_of_it() -> int:
        async with answering(saying(OK, end=True)) as (root, connections):
            network = wire({}, 60.0, None)
            for _ in range(2):
                assert (await network.send("POST", root, {})).status == 200
                await asyncio.sleep(0.05)  # the end comes behind the answer
            await network.close()
            return len(connections)

    assert asyncio.run(all_of_it()) == 2


def test_who_gives_up_leaves_no_answer_to_the_next_request() -> None:
    async def all_of_it() -> list[bytes]:
        arrived = asyncio.Event()

        async def say(request: bytes, writer: asyncio.StreamWriter) -> None:
            if arrived.is_set():
                writer.write(OK)
            else:
                arrived.set()
                await asyncio.sleep(0.05)
                writer.write(OK.replace(b'"choices"', b'"nothing"'))

        async with answering(say) as (root, _):
            network = wire({}, 60.0, None)
            given_up = asyncio.ensure_future(network.send("POST", root, {}))
            await arrived.wait()
            given_up.cancel()
            with pytest.raises(asyncio.CancelledError):
                await given_up
            answers = [await network.send("POST", root, {}) for _ in range(2)]
            await network.close()
            return [answer.content for answer in answers]

    assert asyncio.run(all_of_it()) == [CONTENT, CONTENT]


def test_an_address_with_https_is_asked_through_tls_and_who_answers_must_prove_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = certified(tmp_path, "localhost")
    trusting = ssl.create_default_context(cafile=certificate)
    monkeypatch.setattr("evals.asking.wire._certificates", lambda: trusting)
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    served.load_cert_chain(certificate, key)

    async def all_of_it() -> str:
        async with answering(saying(OK), served) as (root, _):
            network = wire({}, 60.0, None)
            known = root.replace("127.0.0.1", "localhost")
            assert (await network.send("POST", known, {})).content == CONTENT
            await network.close()
            return await broken(root, {})  # the certificate is of another name

    assert asyncio.run(all_of_it()).startswith("SSLCertVerificationError: ")


def certified(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate of this name, signed by itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(who, who, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate, secret = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(Encoding.PEM))
    secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return certificate, secret
