"""The content-addressed store: a local folder, and an object store by URL with a local cache."""

from __future__ import annotations

import os
import shutil
import threading
import time
import uuid
from pathlib import Path

import fsspec
import pytest

from lifecycle.errors import Corrupt, InvalidConfig, InvalidInput, NotFound, Unavailable
from lifecycle.store import asking
from lifecycle.store.artifacts import ArtifactStore, digest_of_folder
from lifecycle.version import digest_of


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "adapter"
    (folder / "sub").mkdir(parents=True)
    (folder / "weights.bin").write_bytes(bytes(range(256)) * 100)
    (folder / "sub" / "ضبط.txt").write_text("مرحبا", encoding="utf-8")
    return folder


@pytest.fixture(params=["folder", "file://", "memory://"])
def store(request, tmp_path):
    url = {
        "folder": str(tmp_path / "store"),
        "file://": f"file://{tmp_path / 'store'}",
        "memory://": f"memory://{uuid.uuid4().hex}/dabt",
    }[request.param]
    return ArtifactStore(url, tmp_path / "cache")


@pytest.fixture
def local(tmp_path):
    return ArtifactStore(str(tmp_path / "store"), tmp_path / "cache")


@pytest.fixture
def remote(tmp_path):
    return ArtifactStore(f"memory://{uuid.uuid4().hex}/dabt", tmp_path / "cache")


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def damage(path):
    path.chmod(0o644)
    path.write_bytes(b"x" + path.read_bytes()[1:])


def test_what_is_got_is_what_was_put_and_its_digest_is_that_of_its_files(store, folder):
    digest = store.put(folder)
    assert tree(store.get(digest)) == tree(folder)
    assert digest == digest_of_folder(folder) == digest_of_folder(store.get(digest))
    assert store.has(digest)
    store.verify(digest)


def test_the_digest_depends_on_names_and_bytes_and_on_nothing_else(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    os.utime(copy / "weights.bin", (0, 0))
    assert digest_of_folder(copy) == digest_of_folder(folder)
    (copy / "weights.bin").rename(copy / "renamed.bin")
    assert digest_of_folder(copy) != digest_of_folder(folder)


def test_putting_the_same_folder_again_changes_nothing(store, folder):
    digest = store.put(folder)
    got = store.get(digest)
    before = {path: path.stat().st_mtime_ns for path in got.rglob("*")}
    assert store.put(folder) == digest
    assert {path: path.stat().st_mtime_ns for path in store.get(digest).rglob("*")} == before


def test_a_local_store_hands_out_its_own_folder_under_the_digest(local, folder, tmp_path):
    digest = local.put(folder)
    assert local.get(digest) == tmp_path / "store" / "sha256" / digest.removeprefix("sha256:")


def test_an_unknown_digest_is_not_found(store):
    missing = digest_of("nothing")
    assert not store.has(missing)
    for ask in (store.get, store.verify):
        with pytest.raises(NotFound):
            ask(missing)


@pytest.mark.parametrize("digest", ["", "sha256:", "sha256:../../etc", "sha256:" + "A" * 64, "md5:" + "0" * 64])
def test_what_is_no_digest_never_becomes_a_path(store, digest):
    for ask in (store.get, store.has, store.verify):
        with pytest.raises(InvalidInput, match="no digest"):
            ask(digest)


def test_folders_that_cannot_be_stored_are_refused(store, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "out").symlink_to(tmp_path)
    (tmp_path / "dangling").mkdir()
    (tmp_path / "dangling" / "gone").symlink_to(tmp_path / "gone")
    for name in ("empty", "missing", "link", "dangling"):
        with pytest.raises(InvalidInput):
            store.put(tmp_path / name)


def test_a_link_to_a_file_is_stored_as_the_file(store, folder, tmp_path):
    """Model hubs keep snapshots as links into a cache."""
    linked = tmp_path / "linked"
    linked.mkdir()
    for name in ("weights.bin", "sub"):
        source = folder / name
        if source.is_file():
            (linked / name).symlink_to(source)
    got = store.get(store.put(linked))
    assert not (got / "weights.bin").is_symlink()
    assert (got / "weights.bin").read_bytes() == (folder / "weights.bin").read_bytes()


def test_stored_files_are_read_only(local, folder):
    got = local.get(local.put(folder))
    assert all(path.stat().st_mode & 0o222 == 0 for path in got.rglob("*") if path.is_file())


def test_an_interrupted_local_put_leaves_nothing_half_written(local, folder, monkeypatch, tmp_path):
    copied = []

    def fail_on_the_second(source, target):
        if copied:
            raise KeyboardInterrupt
        copied.append(target)
        Path(target).write_bytes(Path(source).read_bytes())

    with monkeypatch.context() as patch:
        patch.setattr("lifecycle.store.artifacts.shutil.copyfile", fail_on_the_second)
        with pytest.raises(KeyboardInterrupt):
            local.put(folder)
    digest = digest_of_folder(folder)
    assert copied, "the put was under way"
    assert not local.has(digest)
    assert list((tmp_path / "store" / "tmp").iterdir()) == []
    assert tree(local.get(local.put(folder))) == tree(folder)


def test_an_interrupted_upload_does_not_exist_and_is_completed_by_the_next(remote, folder, monkeypatch):
    uploaded = []
    real = remote._remote.put_file

    def fail_on_the_second(source, target, **options):
        if uploaded:
            raise ConnectionResetError("gone")
        uploaded.append(target)
        real(source, target, **options)

    with monkeypatch.context() as patch:
        patch.setattr(remote._remote, "put_file", fail_on_the_second)
        with pytest.raises(Unavailable, match="gone"):
            remote.put(folder)
    digest = digest_of_folder(folder)
    assert uploaded, "the put was under way"
    assert not remote.has(digest)
    with pytest.raises(NotFound):
        remote.get(digest)
    assert tree(remote.get(remote.put(folder))) == tree(folder)


def test_an_interrupted_download_is_not_taken_for_a_whole_one(remote, folder, monkeypatch, tmp_path):
    digest = remote.put(folder)
    got = []
    real = remote._remote.get_file

    def fail_on_the_second(source, target, **options):
        if got:
            raise TimeoutError("slow")
        got.append(target)
        real(source, target, **options)

    with monkeypatch.context() as patch:
        patch.setattr(remote._remote, "get_file", fail_on_the_second)
        with pytest.raises(Unavailable, match="slow"):
            remote.get(digest)
    assert got, "the download was under way"
    assert tree(remote.get(digest)) == tree(folder)


def test_a_folder_that_changes_while_it_is_copied_is_not_stored_under_a_wrong_digest(local, folder, monkeypatch):
    def copy_something_else(source, target):
        Path(target).write_bytes(b"changed")

    digest = digest_of_folder(folder)
    with monkeypatch.context() as patch:
        patch.setattr("lifecycle.store.artifacts.shutil.copyfile", copy_something_else)
        with pytest.raises(Corrupt, match="changed while"):
            local.put(folder)
    assert not local.has(digest)


def test_what_a_killed_process_left_is_swept_a_day_later_and_not_before(local, folder, tmp_path):
    for name, age in (("old", 25 * 3600), ("new", 3600)):
        leftover = tmp_path / "store" / "tmp" / name
        leftover.mkdir(parents=True)
        os.utime(leftover, (time.time() - age,) * 2)
    local.put(folder)
    assert [path.name for path in (tmp_path / "store" / "tmp").iterdir()] == ["new"]


def test_changed_missing_and_added_files_are_found_and_named(local, folder):
    digest = local.put(folder)
    got = local.get(digest)
    damage(got / "weights.bin")
    (got / "sub" / "ضبط.txt").unlink()
    (got / "added").write_text("!")
    for ask in (local.verify, ArtifactStore(local.url, Path("unused")).get):
        with pytest.raises(Corrupt, match=r"added, sub/ضبط\.txt, weights\.bin"):
            ask(digest)


def test_damage_is_found_even_when_the_list_is_gone(local, folder):
    digest = local.put(folder)
    got = local.get(digest)
    damage(got / "weights.bin")
    got.with_suffix(".json").unlink()
    with pytest.raises(Corrupt, match="bytes have the digest"):
        local.verify(digest)


def test_putting_a_damaged_folder_again_repairs_it_and_keeps_the_damaged_one_aside(local, folder, tmp_path):
    digest = local.put(folder)
    damage(local.get(digest) / "weights.bin")
    again = ArtifactStore(local.url, tmp_path / "cache")
    assert again.put(folder) == digest
    assert tree(again.get(digest)) == tree(folder)
    assert len(list((tmp_path / "store" / "tmp").glob("damaged-*"))) == 1


def test_a_folder_is_read_whole_only_once_in_a_process(local, folder, monkeypatch):
    digest = local.put(folder)
    local.get(digest)
    monkeypatch.setattr(local, "_check", lambda _: pytest.fail("verified twice"))
    assert local.get(digest).is_dir()


def test_a_folder_that_vanished_after_it_was_verified_is_not_found(local, folder):
    digest = local.put(folder)
    shutil.rmtree(local.get(digest))
    with pytest.raises(NotFound):
        local.get(digest)


def test_a_vanished_or_damaged_cached_copy_is_fetched_again(remote, folder, tmp_path):
    digest = remote.put(folder)
    shutil.rmtree(remote.get(digest))
    assert tree(remote.get(digest)) == tree(folder)
    damage(remote.get(digest) / "weights.bin")
    again = ArtifactStore(remote.url, tmp_path / "cache")
    assert tree(again.get(digest)) == tree(folder)


def test_a_cached_copy_is_served_while_the_store_is_away(remote, folder, monkeypatch, tmp_path):
    digest = remote.put(folder)
    remote.get(digest)
    again = ArtifactStore(remote.url, tmp_path / "cache")
    monkeypatch.setattr(again._remote, "cat_file", lambda *_: pytest.fail("asked the store"))
    assert tree(again.get(digest)) == tree(folder)


@pytest.mark.parametrize("what", ["weights.bin", ".json"])
def test_damage_in_the_object_store_is_found_and_never_cached(remote, folder, what):
    digest = remote.put(folder)
    memory = fsspec.filesystem("memory")
    address = remote._at(digest) + (".json" if what == ".json" else f"/{what}")
    memory.pipe_file(address, b"[]" if what == ".json" else b"damaged")
    with pytest.raises(Corrupt, match="put the folder again"):
        remote.get(digest)
    assert not remote._folder(digest).exists()


def test_a_file_missing_from_the_object_store_is_damage(remote, folder):
    digest = remote.put(folder)
    fsspec.filesystem("memory").rm_file(remote._at(digest, "weights.bin"))
    with pytest.raises(Corrupt, match=r"weights\.bin is gone"):
        remote.get(digest)


def test_a_list_without_its_bytes_is_no_whole_folder_and_the_next_put_brings_them(remote, folder, tmp_path):
    """As a collection leaves it that came between the two steps of a put."""
    digest = remote.put(folder)
    remote._remote.rm(remote._at(digest), recursive=True)
    assert not remote.complete(digest)
    remote.put(folder)
    assert remote.complete(digest)
    assert tree(ArtifactStore(remote.url, tmp_path / "elsewhere").get(digest)) == tree(folder)


def test_a_file_that_vanishes_here_is_not_told_as_a_bucket_that_is_not_there(remote, folder, monkeypatch):
    def put_file(source, _):
        (folder / "weights.bin").unlink(missing_ok=True)
        open(source).close()

    monkeypatch.setattr(remote._remote, "put_file", put_file)
    with pytest.raises(Unavailable, match="No such file or directory") as told:
        remote.put(folder)
    assert "bucket" not in str(told.value)


def test_a_store_of_an_unknown_kind_is_a_fault_of_the_configuration(tmp_path):
    with pytest.raises(InvalidConfig, match="cannot be opened"):
        ArtifactStore("nosuch://bucket", tmp_path)


def test_a_store_that_cannot_be_written_is_unavailable(tmp_path, folder):
    (tmp_path / "store").write_text("a file where the folder should be")
    with pytest.raises(Unavailable, match="cannot be written"):
        ArtifactStore(str(tmp_path / "store"), tmp_path / "cache").put(folder)


@pytest.mark.e2e
def test_two_processes_that_put_the_same_folder_leave_one_whole_copy(local, folder, tmp_path, at_once):
    script = """
from pathlib import Path
from lifecycle.store.artifacts import ArtifactStore
store = ArtifactStore(sys.argv[1], Path(sys.argv[2]))
go()
for _ in range(20):
    digest = store.put(Path(sys.argv[3]))
    store.verify(digest)
print(digest)
"""
    outputs = at_once(script, [[local.url, str(tmp_path / "cache"), str(folder)]] * 3)
    assert set(outputs) == {digest_of_folder(folder) + "\n"}
    kept = tmp_path / "store" / "sha256"
    assert len(list(kept.iterdir())) == 2, "the folder and its list"
    assert list((tmp_path / "store" / "tmp").iterdir()) == []


def test_a_fetch_that_hangs_does_not_hold_up_the_next_one_of_the_same_folder_for_ever(remote, folder, monkeypatch):
    digest = remote.put(folder)
    hanging, begun = threading.Event(), threading.Event()
    fetch, first = remote._fetch, [True]

    def fetching(wanted):
        if first.pop() if first else False:
            begun.set()
            hanging.wait()
        fetch(wanted)

    monkeypatch.setattr(remote, "_fetch", fetching)
    remote.patience = 0.05
    thread = threading.Thread(target=remote.get, args=(digest,))
    thread.start()
    begun.wait()
    assert tree(remote.get(digest)) == tree(folder)
    hanging.set()
    thread.join()
    assert tree(remote.get(digest)) == tree(folder)


def test_a_store_says_whether_it_answers(tmp_path, remote, monkeypatch):
    asking.ask(remote)
    asking.ask(ArtifactStore(str(tmp_path / "artifacts"), tmp_path))  # made when something is put there
    with pytest.raises(Unavailable, match="is not there"):
        asking.ask(ArtifactStore(str(tmp_path / "no" / "artifacts"), tmp_path))

    def away(path):
        raise OSError("no route to host")

    monkeypatch.setattr(remote._remote, "exists", away)
    with pytest.raises(Unavailable, match="cannot be reached: OSError: no route to host"):
        asking.ask(remote)
