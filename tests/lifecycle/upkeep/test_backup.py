"""Backups: the original is destroyed, and all of it is back, in whatever kind of registry and store."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import dabt
from lifecycle.errors import Conflict, Corrupt, NotAllowed, NotFound, Unreadable
from lifecycle.home import Home
from lifecycle.registry import Registry, tables
from lifecycle.store.artifacts import ArtifactStore
from lifecycle.upkeep import backup as backing
from lifecycle.upkeep.backup import back_up, backups
from lifecycle.upkeep.restore import mend, restore
from tests.lifecycle.upkeep.lived_in import LivedIn, at, rows

pytestmark = pytest.mark.timeout(300)
ROOT = Path(__file__).parents[3]


@pytest.fixture
def lived(tmp_path: Path, registry_url: str):
    with closing(LivedIn(at(tmp_path / "original", registry_url)).everything()) as made:
        yield made


@pytest.fixture
def simple(tmp_path: Path):
    """On SQLite, with little in it."""
    with closing(LivedIn(at(tmp_path / "original"))) as made:
        made.approved("one")
        yield made


def without_the_restore(there: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    entries = there["audit"]
    assert [entry["action"] for entry in entries].count("registry.restore") == 1
    return {**there, "audit": entries[:-1]}


def destroy(lived: LivedIn) -> None:
    lived.close()
    shutil.rmtree(lived.home.root)
    if lived.home.registry_url.startswith("postgresql"):
        with closing(Registry.later(lived.home.registry_url, new=False)) as there, there._database.write() as tx:
            tables.metadata.drop_all(tx)
    else:
        for file in Path(lived.home.registry_url.removeprefix("sqlite:///")).parent.glob("registry.db*"):
            file.unlink()


def test_everything_is_back_after_the_original_was_destroyed(lived, tmp_path):
    before = rows(lived.home.registry_url)
    assert [table for table, there in before.items() if not there] == [], "the home lacks something to be lost"
    needed = lived.registry.needs.all()
    done = back_up(lived.home, tmp_path / "backup")
    destroy(lived)
    done = restore(lived.home, tmp_path / "backup", actor="amal")
    assert without_the_restore(rows(lived.home.registry_url)) == before
    store = ArtifactStore(lived.home.artifacts_url, lived.home.cache)
    for digest in needed.required:
        store.verify(digest)
    assert set(done.backup.artifacts) == {*needed.required, *filter(store.has, needed.mentioned)}
    assert len(done.backup.artifacts) == 9
    assert done.rows == done.backup.rows
    with Registry.open(lived.home.registry_url) as registry:
        assert registry.keys.find("old").revoked_at is not None
        again = registry.create_version("triage", lived.house.spec("new"), actor="amal")
        assert again.number == 5, "ids and numbers go on after the last"
        assert registry.rollback("triage", actor="amal", reason="complaints").targets[0].number == 1


@pytest.mark.e2e
def test_a_home_of_files_moves_to_postgresql_and_an_object_store_and_back(tmp_path, postgres_url):
    with closing(LivedIn(at(tmp_path / "files")).everything()) as lived:
        before = rows(lived.home.registry_url)
        back_up(lived.home, tmp_path / "there")
    remote = at(tmp_path / "remote", postgres_url, f"memory://{uuid.uuid4().hex}/dabt")
    restore(remote, tmp_path / "there", actor="amal")
    assert without_the_restore(rows(postgres_url)) == before
    done = back_up(remote, tmp_path / "back")
    home = at(tmp_path / "again")
    restore(home, tmp_path / "back", actor="amal")
    there = rows(home.registry_url)
    assert without_the_restore({**there, "audit": there["audit"][:-1]}) == before
    for digest in done.backup.artifacts:
        ArtifactStore(home.artifacts_url, home.cache).verify(digest)


def test_what_is_there_already_is_not_copied_again_and_old_backups_go_with_what_they_alone_had(simple, tmp_path):
    to = tmp_path / "backup"
    assert back_up(simple.home, to).copied == 1
    simple.registry.retire("triage:1", actor="amal", reason="old")
    with simple.registry._database.write() as tx:
        tx.execute(tables.verdicts.delete())
    simple.version("two")
    second = back_up(simple.home, to)
    assert (second.copied, len(second.backup.artifacts)) == (1, 1)
    assert len(list((to / "artifacts/sha256").glob("*.json"))) == 2
    third = back_up(simple.home, to, keep=2)
    assert third.copied == 0
    assert len(third.dropped) == 1
    assert [backup.name for backup in backups(to)] == [second.backup.name, third.backup.name]
    assert {path.stem for path in (to / "artifacts/sha256").iterdir()} == {third.backup.artifacts[0][7:]}


def test_a_backup_has_no_secret_and_only_its_owner_reads_it(simple, tmp_path):
    from lifecycle.access.keys import KeyGrant

    key, secret = simple.registry.keys.create(KeyGrant(name="app"), actor="ops")
    done = back_up(simple.home, tmp_path / "backup")
    assert done.backup.keys == 1
    held = (done.folder / "registry.db").read_bytes()
    assert key.digest.encode() in held
    assert secret.encode() not in held
    assert stat.S_IMODE(done.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((done.folder / "registry.db").stat().st_mode) == 0o600


# -- while a service runs ---------------------------------------------------------------------------------------------


def test_a_backup_beside_writers_is_one_moment_with_all_that_it_names(simple, tmp_path):
    over, made = threading.Event(), []

    def write() -> None:
        with closing(LivedIn(simple.home)) as other:
            while not over.is_set():
                version = other.version(f"of the writer {len(made)}", name="busy")
                made.append(version.ref)
                other.file(f"file {len(made)}")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        taken = []
        for _ in range(4):
            taken.append(back_up(simple.home, tmp_path / "backup"))
            before = len(made)
            while len(made) < before + 2:  # of which one at least is in the next backup alone
                assert writer.is_alive()
    finally:
        over.set()
        writer.join()
    revisions = [done.backup.revision for done in taken]
    assert sorted(set(revisions)) == revisions
    for done in taken:
        home = at(tmp_path / done.backup.name)
        restore(home, tmp_path / "backup", at=done.backup.name, actor="amal")
        with Registry.open(home.registry_url) as registry:
            assert registry.audit()[0].id == done.backup.revision + 1
            for digest in registry.needs.all().required:
                ArtifactStore(home.artifacts_url, home.cache).verify(digest)


def test_what_is_deleted_between_the_registry_and_its_bytes_makes_it_take_the_registry_again(
    simple, tmp_path, monkeypatch
):
    from lifecycle.jobs.purging import purge

    file = simple.file("soon gone")
    taken = []

    def take(url: str, to: Path) -> None:
        real(url, to)
        taken.append(to.name)
        if len(taken) == 1:
            simple.registry.files.delete(file.id, "amal", actor="amal")
            purge(simple.store, simple.registry)

    real = backing.copying.take
    monkeypatch.setattr(backing.copying, "take", take)
    done = back_up(simple.home, tmp_path / "backup")
    assert taken == ["registry.db", "again.db", "registry.db"]
    assert file.digest not in done.backup.artifacts
    assert done.backup.missing == {}


def test_a_killed_backup_is_never_taken_for_a_whole_one(simple, tmp_path):
    to = tmp_path / "backup"
    whole = back_up(simple.home, to)
    simple.version("two")
    script = (
        "import os, sys; from lifecycle.home import Home; from lifecycle.upkeep import backup\n"
        "at = int(sys.argv[3])\n"
        "def die(name, real):\n"
        "    def act(*given):\n"
        "        if name == ('_copy', '_describe', '_into_place')[at]: os.kill(os.getpid(), 9)\n"
        "        return real(*given) if name != '_copy' else real(*given, again=False)\n"
        "    return (lambda *given, **_: act(*given))\n"
        "for name in ('_copy', '_describe', '_into_place'): setattr(backup, name, die(name, getattr(backup, name)))\n"
        "backup.back_up(Home.model_validate_json(sys.argv[1]), __import__('pathlib').Path(sys.argv[2]))\n"
    )
    for moment in range(3):
        words = [sys.executable, "-c", script, simple.home.model_dump_json(), str(to), str(moment)]
        done = subprocess.run(words, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False)
        assert done.returncode == -signal.SIGKILL
        assert [backup.name for backup in backups(to)] == [whole.backup.name]
    home = at(tmp_path / "new")
    restore(home, to, actor="amal")
    with Registry.open(home.registry_url) as registry:
        assert [version.ref for version in registry.versions()] == ["triage:1"]
    assert len(back_up(simple.home, to).backup.artifacts) == 2
    assert not (to / "tmp").exists()


def test_two_backups_to_one_folder_at_once_are_one(simple, tmp_path):
    with backing._alone(tmp_path / "backup"), pytest.raises(Conflict, match="another backup"):
        back_up(simple.home, tmp_path / "backup")


def test_a_registry_of_an_earlier_release_is_backed_up_as_it_is(tmp_path):
    from tests.lifecycle.registry.test_migrations import HOMES, fill

    home = at(tmp_path / "old")
    home.root.mkdir()
    fill(home.registry_url, (HOMES / "schema4.sqlite.sql").read_text(encoding="utf-8"))
    before = (home.root / "registry.db").read_bytes()
    done = back_up(home, tmp_path / "backup", allow_missing=True)
    assert done.backup.schema_version == 4
    assert set(done.backup.missing.values()) >= {"triage:3"}
    assert (home.root / "registry.db").read_bytes() == before, "it was migrated"
    restore(at(tmp_path / "new"), tmp_path / "backup", actor="amal")
    with Registry.open(at(tmp_path / "new").registry_url) as registry:
        assert len(registry.versions("triage")) == 8


# -- what is refused --------------------------------------------------------------------------------------------------


def test_a_store_that_lacks_what_is_needed_is_no_whole_backup_unless_asked_for(simple, tmp_path):
    (digest,) = simple.registry.needs.all().required
    simple.store.remove(digest)
    with pytest.raises(Corrupt, match=f"{digest}: needed by triage:1"):
        back_up(simple.home, tmp_path / "backup")
    assert backups(tmp_path / "backup") == []
    assert back_up(simple.home, tmp_path / "backup", allow_missing=True).backup.missing == {digest: "triage:1"}


def test_nothing_is_restored_over_what_is_there(simple, tmp_path):
    back_up(simple.home, tmp_path / "backup")
    before = rows(simple.home.registry_url)
    with pytest.raises(NotAllowed, match="holds something already"):
        restore(simple.home, tmp_path / "backup", actor="amal")
    assert rows(simple.home.registry_url) == before


@pytest.mark.parametrize("what", ["registry.db", "artifact"])
def test_a_damaged_backup_is_refused_and_leaves_an_empty_registry(simple, tmp_path, what):
    done = back_up(simple.home, tmp_path / "backup")
    hex_ = done.backup.artifacts[0][7:]
    file = done.folder / what if what == "registry.db" else tmp_path / "backup/artifacts/sha256" / hex_ / "bytes"
    file.chmod(0o600)
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    home = at(tmp_path / "new")
    with pytest.raises(Corrupt):
        restore(home, tmp_path / "backup", actor="amal")
    with Registry.open(home.registry_url) as registry:
        assert registry.revision() == 0
    if what == "artifact":
        assert back_up(simple.home, tmp_path / "backup", verify=True).copied == 1
        restore(home, tmp_path / "backup", actor="amal")


def test_a_restore_that_was_killed_is_done_by_the_next(simple, tmp_path, monkeypatch):
    simple.version("two")
    back_up(simple.home, tmp_path / "backup")
    home = at(tmp_path / "new")
    from lifecycle.registry import copying

    real = copying._copy

    def half(source: Any, target: Any) -> int:
        real(source, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(copying, "_copy", half)
    with pytest.raises(KeyboardInterrupt):
        restore(home, tmp_path / "backup", actor="amal")
    monkeypatch.undo()
    assert restore(home, tmp_path / "backup", actor="amal").artifacts == 2


def test_what_is_no_backup_and_what_a_newer_release_made_are_told(simple, tmp_path):
    home = at(tmp_path / "new")
    with pytest.raises(NotFound, match="holds no whole backup"):
        restore(home, tmp_path / "nowhere", actor="amal")
    done = back_up(simple.home, tmp_path / "backup")
    with pytest.raises(NotFound, match="--list"):
        restore(home, tmp_path / "backup", at="last year", actor="amal")
    manifest = done.folder / "backup.json"
    body = json.loads(manifest.read_text())
    for change, says in (({"schema_version": 99}, "use that release"), ({"format": 2}, "newer release")):
        manifest.write_text(json.dumps(body | change))
        with pytest.raises(Unreadable, match=says):
            restore(home, tmp_path / "backup", actor="amal")
    assert not (home.root / "registry.db").exists()


def test_a_damaged_registry_is_told_and_no_backup(simple, tmp_path):
    simple.close()
    file = simple.home.root / "registry.db"
    body = bytearray(file.read_bytes())
    body[8192:] = b"x" * (len(body) - 8192)
    file.write_bytes(body)
    with pytest.raises(Corrupt, match="damaged"):
        back_up(simple.home, tmp_path / "backup")
    assert backups(tmp_path / "backup") == []


# -- a store that lacks something -------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["", "memory://"])
def test_what_a_store_lacks_or_holds_damaged_is_put_back_and_the_registry_stays(tmp_path, url):
    home = at(tmp_path / "home", artifacts_url=f"{url}{uuid.uuid4().hex}/x" if url else "")
    with closing(LivedIn(home)) as lived:
        gone, damaged, whole = (lived.version(text).spec.adapter for text in ("gone", "damaged", "whole"))
        back_up(home, tmp_path / "backup")
        lived.store.remove(gone)
        if url:
            lived.store._remote.pipe_file(lived.store._at(damaged, "bytes"), b"other")
        else:
            (lived.store._folder(damaged) / "bytes").chmod(0o600)
            (lived.store._folder(damaged) / "bytes").write_text("other")
        revision = lived.registry.revision()
        assert mend(home, tmp_path / "backup") == {gone: "triage:1", damaged: "triage:2"}
        assert mend(home, tmp_path / "backup") == {}
        store = ArtifactStore(home.artifacts_url, tmp_path / "new-cache")
        for digest in (gone, damaged, whole):
            store.verify(digest)
        assert lived.registry.revision() == revision
        never = lived.version("never backed up").spec.adapter
        lived.store.remove(never)
        with pytest.raises(NotFound, match=f"{never}: needed by triage:4"):
            mend(home, tmp_path / "backup")


# -- the commands -----------------------------------------------------------------------------------------------------


def test_the_commands_back_up_list_and_restore(home: Home, tmp_path, monkeypatch):
    with closing(LivedIn(home).everything()):
        pass
    done = CliRunner().invoke(dabt.app, ["backup", str(tmp_path / "b")], catch_exceptions=False)
    assert "9 artifacts copied" in done.output
    assert "digests of 2 API keys' secrets" in done.output
    listed = CliRunner().invoke(dabt.app, ["restore", str(tmp_path / "b"), "--list"], catch_exceptions=False)
    assert "9 artifacts, release" in listed.output
    new = tmp_path / "new"
    back = CliRunner().invoke(dabt.app, ["restore", str(tmp_path / "b"), "--home", str(new)], catch_exceptions=False)
    assert "9 artifacts are back" in back.output
    assert rows(at(new).registry_url)["alias_moves"] == rows(home.registry_url)["alias_moves"]
