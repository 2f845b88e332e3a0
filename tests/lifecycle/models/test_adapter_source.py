"""An adapter is named by a folder, an archive or a hub id, and what cannot be taken leaves nothing behind."""

from __future__ import annotations

import io
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest
from huggingface_hub import errors

from lifecycle.errors import InvalidInput, NotFound, Unavailable
from lifecycle.models import adapter_source
from lifecycle.models.adapter_source import adapter_folder
from lifecycle.models.preflight import preflight


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "imports"


@pytest.mark.parametrize("form", ["zip", "tar", "gztar", "bztar", "xztar"])
@pytest.mark.parametrize("in_a_folder", [True, False])
def test_an_archive_of_a_folder_or_of_its_files_is_unpacked_once(
    peft, base, cache, tmp_path, form, in_a_folder
) -> None:
    folder = peft.save()
    packed = shutil.make_archive(
        str(tmp_path / "محوّل"), form, folder.parent if in_a_folder else folder, folder.name if in_a_folder else None
    )
    taken = adapter_folder(packed, cache)
    assert preflight(taken, base).rank == preflight(folder, base).rank
    (taken / "mark").touch()
    assert (adapter_folder(packed, cache) / "mark").exists()


def test_a_folder_is_itself_and_a_path_to_nothing_stays_one(peft, cache) -> None:
    folder = peft.save()
    assert adapter_folder(str(folder), cache) == folder
    for named in ("./org/name", "/no/such", "~/no-such/adapter", "a/b/c", "plain"):
        assert adapter_folder(named, cache) == Path(named).expanduser()


def test_another_file_is_a_path_for_preflight_to_speak_of(tmp_path, cache) -> None:
    file = tmp_path / "adapter_model.safetensors"
    file.write_bytes(b"\x00" * 64)
    assert adapter_folder(str(file), cache) == file


def unsafe(path: Path, *members: tarfile.TarInfo) -> str:
    with tarfile.open(path, "w") as packed:
        for member in members:
            packed.addfile(member, io.BytesIO(b"x" * member.size))
    return str(path)


def member(name: str, **fields: Any) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    for field, value in {"size": 1, **fields}.items():
        setattr(made, field, value)
    return made


@pytest.mark.parametrize(
    "bad",
    [
        member("../outside"),
        member("/outside"),
        member("link", type=tarfile.SYMTYPE, linkname="/etc/passwd", size=0),
        member("device", type=tarfile.CHRTYPE, size=0),
    ],
    ids=lambda made: made.name,
)
def test_a_member_that_reaches_out_is_refused_and_nothing_stays(tmp_path, cache, bad) -> None:
    packed = unsafe(tmp_path / "a.tar", member("adapter_config.json"), bad)
    if bad.name == "/outside":  # the library's rule strips the slash
        assert (adapter_folder(packed, cache) / "outside").is_file()
        return
    with pytest.raises(InvalidInput, match="cannot be unpacked"):
        adapter_folder(packed, cache)
    assert list(cache.iterdir()) == []
    assert not (tmp_path / "outside").exists()


def test_an_archive_that_is_cut_short_is_refused(peft, tmp_path, cache) -> None:
    packed = Path(shutil.make_archive(str(tmp_path / "a"), "gztar", peft.save()))
    packed.write_bytes(packed.read_bytes()[:-200])
    with pytest.raises(InvalidInput, match="cannot be unpacked"):
        adapter_folder(str(packed), cache)
    assert list(cache.iterdir()) == []


def test_an_archive_of_more_than_there_is_room_for_is_refused(tmp_path, cache, monkeypatch) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("adapter_model.safetensors", b"\0" * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(2**20, 1, 2**20 - 1))
    with pytest.raises(InvalidInput, match="more than is free"):
        adapter_folder(str(tmp_path / "a.zip"), cache)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(2**21, 1, 2**20))
    assert (adapter_folder(str(tmp_path / "a.zip"), cache) / "adapter_model.safetensors").is_file()


def test_an_archive_of_far_too_many_files_is_refused(tmp_path, cache, monkeypatch) -> None:
    monkeypatch.setattr(adapter_source, "_MOST_FILES", 2)
    with pytest.raises(InvalidInput, match="has 3 files"):
        adapter_folder(unsafe(tmp_path / "a.tar", member("a"), member("b"), member("c")), cache)


def test_a_hub_id_is_fetched_at_its_revision(tmp_path, cache, monkeypatch) -> None:
    asked: list[tuple[str, str | None]] = []

    def download(name: str, *, allow_patterns: list[str], revision: str | None = None) -> str:
        assert "adapter_*" in allow_patterns
        assert not any("*.bin" in pattern for pattern in allow_patterns)
        asked.append((name, revision))
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    for named in ("org/triage-lora", "org/triage-lora@v1.2", "org/triage-lora@refs/pr/3"):
        assert adapter_folder(named, cache) == tmp_path
    assert asked == [("org/triage-lora", None), ("org/triage-lora", "v1.2"), ("org/triage-lora", "refs/pr/3")]


@pytest.mark.parametrize(
    ("kind", "expected", "says"),
    [
        ("GatedRepoError", NotFound, "is gated on the hub"),
        ("RepositoryNotFoundError", NotFound, "no folder, no archive and no hub repository org/name"),
        ("RevisionNotFoundError", NotFound, "org/name has no revision v9"),
        ("LocalEntryNotFoundError", Unavailable, "the hub cannot be reached"),
    ],
)
def test_what_the_hub_says_is_told_with_the_cure(cache, monkeypatch, kind, expected, says) -> None:
    answer = httpx.Response(403, request=httpx.Request("GET", "https://hub/org/name"))
    raised = getattr(errors, kind)
    error = raised("no") if kind == "LocalEntryNotFoundError" else raised("no", response=answer)

    def download(*_: Any, **__: Any) -> str:
        raise error

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    with pytest.raises(expected, match=says):
        adapter_folder("org/name@v9", cache)
