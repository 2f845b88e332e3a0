"""The local copies of a remote store: bounded, least recently used first, whole or not there, tried again."""

from __future__ import annotations

import errno
import os
import shutil
import time
import uuid

import pytest

from lifecycle.errors import Corrupt, NotFound, Unavailable
from lifecycle.store.artifacts import ArtifactStore

SIZE = 1000


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr("lifecycle.store.object_store._FIRST_PAUSE", 0)


@pytest.fixture
def make(tmp_path):
    """A store in memory whose local copies may hold `copies` folders; put four folders of one size into it."""

    def made(copies):
        store = ArtifactStore(f"memory://{uuid.uuid4().hex}", tmp_path / "cache", copies * SIZE if copies else None)
        digests = []
        for name in "abcd":
            folder = tmp_path / name
            folder.mkdir(exist_ok=True)
            (folder / "weights").write_bytes(name.encode() * SIZE)
            digests.append(store.put(folder))
        return store, digests

    return made


def aged(store, digest, hours):
    """As if it had been used last so long ago."""
    os.utime(store._folder(digest), (time.time() - hours * 3600,) * 2)


def here(store, digests):
    return [store._folder(digest).is_dir() for digest in digests]


def flaky(store, monkeypatch, name, failures):
    """The first calls of the remote filesystem's method `name` raise these, then it works; returns the calls."""
    real, left, calls = getattr(store._remote, name), list(failures), []

    def method(*args, **options):
        calls.append(args)
        if left and (failure := left.pop(0)) is not None:
            raise failure
        return real(*args, **options)

    monkeypatch.setattr(store._remote, name, method)
    return calls


def test_past_the_bound_the_least_recently_used_copy_goes(make):
    store, (a, b, c, _) = make(copies=2)
    for hours, digest in ((3, a), (2, b)):
        store.get(digest)
        aged(store, digest, hours)
    store.get(a)  # used again: b is now the oldest
    store.get(c)
    assert here(store, (a, b, c)) == [True, False, True]
    assert list((store._local / "tmp").iterdir()) == []
    assert (store.get(b) / "weights").read_bytes() == b"b" * SIZE, "a copy that went comes again"


def test_what_is_in_use_is_never_deleted(make):
    store, digests = make(copies=1)
    a, b, c, _ = digests
    store.cache.in_use = lambda: [a]
    for hours, digest in ((9, a), (1, b)):
        store.get(digest)
        aged(store, digest, hours)
    store.get(c)
    assert here(store, (a, b, c)) == [True, False, True]


def test_what_was_used_a_moment_ago_stays_because_another_process_may_be_reading_it(make):
    store, (a, b, c, _) = make(copies=1)
    for digest in (a, b, c):
        store.get(digest)
    assert here(store, (a, b, c)) == [True, True, True]


def test_one_that_is_larger_than_the_bound_is_served_all_the_same(make, tmp_path):
    store, _ = make(copies=1)
    folder = tmp_path / "large"
    folder.mkdir()
    (folder / "weights").write_bytes(b"x" * 5 * SIZE)
    digest = store.put(folder)
    assert (store.get(digest) / "weights").stat().st_size == 5 * SIZE


def test_without_a_bound_nothing_is_deleted(make):
    store, digests = make(copies=None)
    for hours, digest in enumerate(digests, start=1):
        store.get(digest)
        aged(store, digest, hours)
    store.get(digests[0])
    assert here(store, digests) == [True] * 4


def test_a_local_store_is_no_cache_and_nothing_is_deleted_from_it(tmp_path):
    store = ArtifactStore(str(tmp_path / "store"), tmp_path / "cache", 1)
    digests = []
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").write_bytes(name.encode() * SIZE)
        digests.append(store.put(tmp_path / name))
        aged(store, digests[-1], 24)
    for digest in digests:
        store.get(digest)
    assert here(store, digests) == [True, True]


@pytest.mark.parametrize("method", ["cat_file", "get_file"])
def test_a_read_that_fails_is_tried_again(make, monkeypatch, method):
    store, (a, *_) = make(copies=None)
    calls = flaky(store, monkeypatch, method, [ConnectionResetError("gone"), TimeoutError("slow")])
    assert (store.get(a) / "weights").read_bytes() == b"a" * SIZE
    assert len(calls) == 3


def test_a_store_that_stays_away_is_said_so_after_three_tries(make, monkeypatch):
    store, (a, *_) = make(copies=None)
    calls = flaky(store, monkeypatch, "cat_file", [ConnectionResetError("gone")] * 9)
    with pytest.raises(Unavailable, match=r"cannot be reached.*gone"):
        store.get(a)
    assert len(calls) == 3


@pytest.mark.parametrize("failure", [FileNotFoundError("no"), PermissionError("denied")])
def test_what_will_not_pass_is_not_tried_again(make, monkeypatch, failure):
    store, (a, *_) = make(copies=None)
    calls = flaky(store, monkeypatch, "cat_file", [failure] * 9)
    with pytest.raises((NotFound, Unavailable)):
        store.get(a)
    assert len(calls) == 1


def test_bytes_damaged_on_the_way_are_fetched_once_more(make, monkeypatch):
    store, (a, *_) = make(copies=None)
    real, downloads = store._remote.get_file, []

    def damaged_the_first_time(source, target):
        downloads.append(source)
        real(source, target)
        if len(downloads) == 1:
            with open(target, "ab") as file:
                file.truncate(SIZE // 2)

    monkeypatch.setattr(store._remote, "get_file", damaged_the_first_time)
    assert (store.get(a) / "weights").read_bytes() == b"a" * SIZE
    assert len(downloads) == 2


def test_bytes_damaged_in_the_store_are_fetched_twice_and_then_refused(make, monkeypatch):
    store, (a, *_) = make(copies=None)
    store._remote.pipe_file(store._at(a, "weights"), b"damaged")
    calls = flaky(store, monkeypatch, "get_file", [])
    with pytest.raises(Corrupt, match="holds damaged bytes"):
        store.get(a)
    assert len(calls) == 2
    assert here(store, [a]) == [False]


def full():
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_on_a_full_disk_what_is_idle_makes_room(make, monkeypatch):
    store, (a, b, *_) = make(copies=None)
    store.get(a)
    aged(store, a, 1)
    flaky(store, monkeypatch, "get_file", [full()])
    assert (store.get(b) / "weights").is_file()
    assert here(store, (a, b)) == [False, True]


def test_a_disk_that_stays_full_is_a_clear_error_and_leaves_nothing_half_written(make, monkeypatch):
    store, (a, b, *_) = make(copies=None)
    store.get(a)
    calls = flaky(store, monkeypatch, "get_file", [full()] * 9)
    with pytest.raises(Unavailable, match=r"disk of the store .* is full.*try again") as caught:
        store.get(b)
    assert caught.value.retry_after
    assert len(calls) == 1, "another try would find the same disk"
    assert here(store, (a, b)) == [True, False]
    assert list((store._local / "tmp").iterdir()) == []


def test_a_local_put_on_a_full_disk_says_so(tmp_path, monkeypatch):
    store = ArtifactStore(str(tmp_path / "store"), tmp_path / "cache")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "weights").write_bytes(b"a")

    def copy(*_):
        raise full()

    monkeypatch.setattr("lifecycle.store.artifacts.shutil.copyfile", copy)
    with pytest.raises(Unavailable, match="is full"):
        store.put(tmp_path / "a")


def test_a_copy_used_again_while_it_was_being_chosen_is_spared(make, monkeypatch):
    store, (a, b, *_) = make(copies=1)
    store.get(a)
    aged(store, a, 1)

    def meanwhile():
        store.cache.touch(store._folder(a))
        return []

    store.cache.in_use = meanwhile
    store.get(b)
    assert here(store, (a, b)) == [True, True]


def test_two_processes_that_evict_the_same_copy_do_not_disturb_each_other(make, monkeypatch):
    store, (a, b, *_) = make(copies=1)
    store.get(a)
    aged(store, a, 1)
    monkeypatch.setattr(store.cache, "in_use", lambda: shutil.rmtree(store._folder(a)) or [])
    store.get(b)
    assert here(store, (a, b)) == [False, True]


def test_a_copy_used_in_the_time_to_come_does_not_stay_for_ever(make):
    """As after a clock that was set back: nothing is known of when it was used."""
    store, (a, b, *_) = make(copies=1)
    store.get(a)
    aged(store, a, -48)
    store.get(b)
    assert here(store, (a, b)) == [False, True]
