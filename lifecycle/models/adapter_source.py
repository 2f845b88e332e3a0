"""Where an adapter is taken from: a folder, an archive of one, or a hub repository with a revision."""

from __future__ import annotations

import re
import shutil
import tarfile
import zipfile
from pathlib import Path

from lifecycle.errors import InvalidInput, Problem
from lifecycle.models import hub
from lifecycle.models.base import sha256_of
from lifecycle.models.peft_config import CONFIG_FILE

FETCHED_FILES = ("adapter_*", "*.json", "*.jinja", "*.md")
"""What is taken from the hub: the adapter, and the tokenizer and template that were saved beside it."""

_MOST_FILES = 10_000
_HUB = re.compile(r"(?P<name>[\w-][\w.-]*/[\w-][\w.-]*)(@(?P<revision>[\w./-]+))?")


def adapter_folder(named: str, cache: Path) -> Path:
    """The folder of what is named: a folder itself, a `.zip` or `.tar` (also packed), or `org/name@revision`.

    An archive is unpacked below `cache`, once. What is neither is given back as a path, for preflight to speak of.
    Raises `InvalidInput` for an archive that cannot be unpacked, `NotFound` and `Unavailable` for the hub.
    """
    path = Path(named).expanduser()
    if path.is_file() and (zipfile.is_zipfile(path) or tarfile.is_tarfile(path)):
        return _inner(_unpacked(path, cache))
    there = _HUB.fullmatch(named)
    if path.exists() or there is None or named.startswith((".", "/", "~")):
        return path
    return hub.fetched(there["name"], FETCHED_FILES, revision=there["revision"], instead="folder, no archive")


def _inner(folder: Path) -> Path:
    """An archive of a folder holds that folder; one of its files holds these."""
    inside = [path for path in folder.iterdir() if path.name != "__MACOSX"]
    return inside[0] if not (folder / CONFIG_FILE).is_file() and len(inside) == 1 and inside[0].is_dir() else folder


def _unpacked(file: Path, cache: Path) -> Path:
    folder = cache / sha256_of(file).removeprefix("sha256:")[:16]
    if folder.is_dir():
        return folder
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        _unpack(file, part)
    except InvalidInput:
        shutil.rmtree(part, ignore_errors=True)
        raise
    except (OSError, EOFError, RuntimeError, ValueError, tarfile.TarError, zipfile.BadZipFile) as error:
        shutil.rmtree(part, ignore_errors=True)
        raise _refused(file, f"cannot be unpacked: {error}", "pack the adapter's folder again") from error
    part.rename(folder)
    return folder


def _unpack(file: Path, folder: Path) -> None:
    """No member may lie outside of `folder`, be a device or a link to elsewhere: the library's rule for data."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as packed:
            _require_room(file, folder, [info.file_size for info in packed.infolist()])
            packed.extractall(folder)  # noqa: S202 - zipfile keeps every name inside, and makes no links
    else:
        with tarfile.open(file) as unrolled:
            _require_room(file, folder, [info.size for info in unrolled.getmembers()])
            unrolled.extractall(folder, filter="data")


def _require_room(file: Path, folder: Path, sizes: list[int]) -> None:
    if len(sizes) > _MOST_FILES:
        raise _refused(file, f"has {len(sizes):,} files, and an adapter a few", "pack the adapter's folder alone")
    if sum(sizes) > shutil.disk_usage(folder).free:
        raise _refused(file, f"unpacks to {sum(sizes) / 2**30:.1f} GiB, more than is free", "make room, or unpack it")


def _refused(file: Path, fault: str, cure: str) -> InvalidInput:
    return InvalidInput("the adapter cannot be taken", [Problem(str(file), fault, cure)])
