"""The store in a bucket of a real S3 server. `test_artifacts.py` has what holds for every store."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lifecycle.errors import NotFound, Unavailable
from lifecycle.store.artifacts import ArtifactStore, digest_of_folder
from lifecycle.store.stock import Stock
from lifecycle.version import Digest
from tests.lifecycle.store.s3_server import BUSY, OWNER, READER, Line, running

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

Opened = Callable[..., ArtifactStore]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with running() as url:
        yield url


@pytest.fixture
def opened(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    """Makes a store in a bucket of its own, as a process with these credentials would have it."""
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    owner = s3fs.S3FileSystem(key=OWNER[0], secret=OWNER[1], endpoint_url=server)
    bucket = f"b-{uuid.uuid4().hex}"
    owner.mkdir(bucket)
    for name in ("AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.delenv("AWS_PROFILE")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")  # s3fs tries again by itself

    def make(who: tuple[str, str] | None = OWNER, at: str = server, bucket: str = bucket) -> ArtifactStore:
        monkeypatch.setenv("AWS_ENDPOINT_URL", at)
        for name, value in zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), who or (), strict=False):
            monkeypatch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        return ArtifactStore(f"s3://{bucket}/ضبط/dabt", tmp_path / f"cache-{uuid.uuid4().hex}")

    yield make
    s3fs.S3FileSystem.clear_instance_cache()


def adapter(folder: Path, seed: int = 0, size: int = 100_000) -> Path:
    (folder / "sub").mkdir(parents=True)
    (folder / "weights.bin").write_bytes(bytes((seed + at) % 251 for at in range(997)) * (size // 997 + 1))
    (folder / "sub" / "ضبط.txt").write_text("مرحبا", encoding="utf-8")
    return folder


def test_what_one_machine_puts_another_gets_and_removed_is_gone(opened: Opened, tmp_path: Path) -> None:
    folder = adapter(tmp_path / "adapter")
    here, there = opened(), opened()
    digest = here.put(folder)
    assert digest == digest_of_folder(folder) == digest_of_folder(there.get(digest))
    assert there.has(digest)
    assert there.put(folder) == digest
    here.remove(digest)
    assert not there.has(digest)
    with pytest.raises(NotFound, match="holds nothing under"):
        opened().get(digest)


def test_what_looks_after_a_store_sees_its_folders_and_takes_one_out_unless_it_was_put_again(
    opened: Opened, tmp_path: Path
) -> None:
    store = opened()
    stock = Stock(store)
    assert stock.refuses_to_overwrite() is True
    digests = sorted(store.put(adapter(tmp_path / name, seed)) for seed, name in enumerate(("kept", "gone")))
    held = stock.holdings()
    assert [each.digest for each in held] == digests
    assert all(each.whole and each.bytes > 100_000 and each.put_at <= stock.now() + 1 for each in held)
    assert stock.take_out(held[0]) == held[0].bytes
    assert [store.complete(digest) for digest in digests] == [False, True]
    with pytest.raises(NotFound, match="is gone"):
        stock.take_out(held[0])


def test_a_file_of_several_parts_comes_back_whole(opened: Opened, tmp_path: Path) -> None:
    """s3fs sends what is over 50 MB in parts."""
    folder = adapter(tmp_path / "adapter", size=60_000_000)
    digest = opened().put(folder)
    assert digest_of_folder(opened().get(digest)) == digest


@pytest.mark.parametrize("when", ["when_required", "when_supported"])
def test_checksums_are_sent_or_not_as_the_server_needs_it(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    asked: list[bytes] = []
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", when)
    line = Line(opened()._remote.endpoint_url or os.environ["AWS_ENDPOINT_URL"])
    real = line.answer

    def heard(client: object) -> bytes:
        return real(Recorded(client, asked))  # type: ignore[arg-type]

    monkeypatch.setattr(line, "answer", heard)
    with line.open() as url:
        opened(at=url).put(adapter(tmp_path / "adapter"))
    puts = [one for one in asked if one.startswith(b"PUT")]
    assert puts
    assert all((b"x-amz-checksum" in one.lower()) == (when == "when_supported") for one in puts)


class Recorded:
    """A connection whose first bytes are kept."""

    def __init__(self, client: object, asked: list[bytes]) -> None:
        self._client, self._asked, self._first = client, asked, True

    def recv(self, size: int) -> bytes:
        came: bytes = self._client.recv(size)  # type: ignore[attr-defined]
        if self._first:
            self._asked.append(came)
            self._first = False
        return came

    def sendall(self, data: bytes) -> None:
        self._client.sendall(data)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("who", "bucket", "said"),
    [
        ((OWNER[0], "wrong"), None, "refuses these credentials"),
        (("nobody", "wrong"), None, "refuses these credentials"),
        (READER, None, "refuses these credentials"),
        (OWNER, "not-there", "has no such bucket"),
    ],
    ids=["a wrong secret", "an unknown key", "may only read", "no bucket"],
)
def test_a_refusal_says_what_was_refused_and_what_to_do(
    opened: Opened, tmp_path: Path, who: tuple[str, str], bucket: str | None, said: str
) -> None:
    store = opened(who, bucket=bucket) if bucket else opened(who)
    with pytest.raises(Unavailable, match=said):
        store.put(adapter(tmp_path / "adapter"))


def test_who_may_only_read_gets_what_others_put(opened: Opened, tmp_path: Path) -> None:
    digest = opened().put(adapter(tmp_path / "adapter"))
    assert digest_of_folder(opened(READER).get(digest)) == digest


def test_a_server_that_is_not_there_is_one_sentence(opened: Opened, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be reached"):
        opened(at="http://127.0.0.1:9").has("sha256:" + "0" * 64)


def test_a_busy_server_is_asked_again_and_a_cut_line_leaves_nothing_half(
    opened: Opened, server: str, tmp_path: Path
) -> None:
    """Every third answer is SlowDown, every seventh breaks off in its middle, every eleventh never comes."""

    def spoil(number: int, answer: bytes) -> bytes | None:
        if number % 11 == 0:
            return None
        if number % 7 == 0:
            return answer[: len(answer) // 2]
        return BUSY if number % 3 == 0 else answer

    folder = adapter(tmp_path / "adapter")
    with Line(server, spoil).open() as url:
        digest = opened(at=url).put(folder)
        assert digest_of_folder(opened(at=url).get(digest)) == digest
    assert digest_of_folder(opened().get(digest)) == digest


def test_a_server_that_fails_always_ends_in_one_sentence_and_the_put_is_completed_later(
    opened: Opened, server: str, tmp_path: Path
) -> None:
    def spoil(number: int, answer: bytes) -> bytes:
        return answer if number < 4 else BUSY

    folder = adapter(tmp_path / "adapter")
    with Line(server, spoil).open() as url, pytest.raises(Unavailable, match="cannot be reached"):
        opened(at=url).put(folder)
    whole = opened()
    assert not whole.has(digest_of_folder(folder))  # its list is written last
    assert digest_of_folder(whole.get(whole.put(folder))) == digest_of_folder(folder)


def test_two_writers_of_one_digest_leave_one_whole_folder(opened: Opened, tmp_path: Path) -> None:
    opened()
    folder = adapter(tmp_path / "adapter", size=2_000_000)
    code = (
        "import sys; from pathlib import Path; from lifecycle.store.artifacts import ArtifactStore;"
        "print(ArtifactStore(sys.argv[1], Path(sys.argv[2])).put(Path(sys.argv[3])))"
    )
    url = opened().url
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", code, url, str(tmp_path / f"writer-{number}"), str(folder)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[3],
        )
        for number in range(2)
    ]
    told = {writer.communicate(timeout=300)[0].strip() for writer in writers}
    assert told == {digest_of_folder(folder)}
    assert digest_of_folder(opened().get(told.pop())) == digest_of_folder(folder)


def test_twenty_services_share_a_bucket(opened: Opened, tmp_path: Path) -> None:
    folders = [adapter(tmp_path / f"adapter-{seed}", seed) for seed in range(3)]
    services = [opened() for _ in range(20)]
    ready = threading.Barrier(len(services))

    def serve(number: int) -> list[Digest]:
        ready.wait()
        mine = folders[number % 3 :] + folders[: number % 3]
        put = [services[number].put(folder) for folder in mine]
        return [digest_of_folder(services[number].get(digest)) for digest in put]

    with ThreadPoolExecutor(len(services)) as at_once:
        found = list(at_once.map(serve, range(len(services))))
    expected = sorted(digest_of_folder(folder) for folder in folders)
    assert all(sorted(each) == expected for each in found)


def test_credentials_that_expire_are_asked_for_again_by_a_service_that_goes_on(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a cloud's machines: whoever gives them out says until when they hold."""
    asked = tmp_path / "asked"
    giver = tmp_path / "giver"
    # Soon over: botocore asks anew for what ends within ten minutes.
    until = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    told = {"Version": 1, "AccessKeyId": OWNER[0], "SecretAccessKey": OWNER[1], "Expiration": until}
    giver.write_text(f"#!/bin/sh\necho asked >> {asked}\necho '{json.dumps(told)}'\n", encoding="ascii")
    giver.chmod(giver.stat().st_mode | stat.S_IXUSR)
    config = tmp_path / "config"
    config.write_text(f"[default]\ncredential_process = {giver}\n", encoding="ascii")
    opened()
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    store = opened(None)
    digest = store.put(adapter(tmp_path / "adapter"))
    times = len(asked.read_text().splitlines())
    shutil.rmtree(store._local, ignore_errors=True)
    assert digest_of_folder(store.get(digest)) == digest
    assert len(asked.read_text().splitlines()) > times
