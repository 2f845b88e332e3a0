"""`dabt doctor`: each thing that can be wrong is made wrong, and is said in one line with its cure."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import uuid
from collections import namedtuple
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from typer.testing import CliRunner

import dabt
from lifecycle.errors import Unavailable
from lifecycle.home import Home
from lifecycle.registry import Registry, tables
from lifecycle.store.stock import Stock
from lifecycle.upkeep.doctor import machine, settings, truth
from lifecycle.upkeep.doctor.checkup import Patient, examine
from lifecycle.upkeep.doctor.finding import Finding, Level
from lifecycle.version import Prompt
from tests.lifecycle.registry.test_migrations import HOMES, fill
from tests.lifecycle.upkeep.lived_in import LivedIn, at
from tests.ports import free_port

pytestmark = pytest.mark.timeout(300)
ROOT = Path(__file__).parents[3]
OK, WARNING, FAULT = Level.OK, Level.WARNING, Level.FAULT


@pytest.fixture
def lived(tmp_path: Path) -> Iterator[LivedIn]:
    with closing(LivedIn(at(tmp_path / "home"))) as made:
        made.version("one")
        yield made


def found(home: Home, check: str, *, deep: bool = False, base: Sequence[str] = (), **environment: str) -> list[Finding]:
    patient = Patient(home, bases=tuple(base), deep=deep, port=free_port(), environment=environment)
    findings = [finding for finding in examine(patient) if finding.check == check]
    assert all(finding.cure for finding in findings if finding.level is not OK), "what is wrong has a cure"
    assert all("\n" not in finding.says + finding.cure for finding in findings)
    return findings


def levels(findings: list[Finding]) -> list[Level]:
    return [finding.level for finding in findings]


def test_a_home_that_is_well_has_no_fault_and_is_left_as_it_was(lived):
    lived.everything()
    files = sorted(path for path in lived.home.root.rglob("*"))
    revision = lived.registry.revision()
    findings = list(examine(Patient(lived.home, deep=True, port=free_port(), environment={})))
    about_home = [f for f in findings if f.check not in ("packages", "memory", "disk", "open files", "versions")]
    assert [f for f in about_home if f.level is not OK] == []
    assert {"python", "home", "schema", "pages", "store", "artifacts", "versions", "port"} <= {
        f.check for f in findings
    }
    assert sorted(path for path in lived.home.root.rglob("*")) == files
    assert lived.registry.revision() == revision


def test_nothing_there_yet_is_no_fault_and_nothing_is_made(tmp_path):
    home = at(tmp_path / "home")
    for check in ("home", "registry", "store"):
        assert levels(found(home, check)) == [WARNING]
    assert not home.root.exists()


# -- the machine ------------------------------------------------------------------------------------------------------


def test_another_python(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 13, 1))
    assert levels([*machine.python()]) == [FAULT]


def test_packages_that_are_not_those_of_the_lock(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "LOCKS", tmp_path)
    assert levels([*machine.packages()]) == [OK], "a wheel has no lock beside it"
    lock = tmp_path / "cpu.lock"
    lock.write_text("# head\npydantic==0.0.1\nno-such-package-here==1.0\n")
    missing, other = machine.packages()
    assert (missing.level, missing.says) == (FAULT, "no-such-package-here of cpu.lock not installed")
    assert other.level is WARNING
    assert "pydantic" in other.says
    lock.write_text(f"pydantic=={__import__('pydantic').VERSION}\n")
    assert levels([*machine.packages()]) == [OK]


@pytest.mark.parametrize(
    ("flags", "level"),
    [("flags\t: sse avx2 avx512f", OK), ("flags : avx2", OK), ("Features : asimd", OK), ("flags : sse2", FAULT)],
)
def test_a_processor_without_what_the_engine_needs(tmp_path, monkeypatch, flags, level):
    monkeypatch.setattr(machine, "PROC", tmp_path)
    monkeypatch.setattr(machine, "_cuda_build", lambda: False)
    assert levels([*machine.processor()]) == [WARNING], "nothing can be read"
    (tmp_path / "cpuinfo").write_text(f"processor : 0\n{flags}\n")
    assert levels([*machine.processor()]) == [level]


@pytest.mark.parametrize(
    ("told", "level"),
    [
        (FileNotFoundError("nvidia-smi"), FAULT),
        ((9, "NVIDIA-SMI has failed: no driver"), FAULT),
        ((0, ""), FAULT),
        ((0, "NVIDIA H100, 580.1, 81559 MiB, 80000 MiB\n"), OK),
    ],
)
def test_a_gpu_that_does_not_answer(monkeypatch, told, level):
    def run(*_: Any, **__: Any) -> subprocess.CompletedProcess[str]:
        if isinstance(told, Exception):
            raise told
        return subprocess.CompletedProcess([], told[0], told[1], "")

    monkeypatch.setattr(machine, "_cuda_build", lambda: True)
    monkeypatch.setattr(subprocess, "run", run)
    assert levels([*machine.processor()]) == [level]


def test_little_memory_of_the_machine_or_of_the_container(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "PROC", tmp_path)
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    assert levels([*machine.memory()]) == [WARNING], "nothing can be read"
    (tmp_path / "meminfo").write_text("MemAvailable:   8388608 kB\n")
    assert levels([*machine.memory()]) == [OK]
    (tmp_path / "memory.max").write_text(f"{4 * 2**30}\n")
    (tmp_path / "memory.current").write_text(f"{3 * 2**30}\n")
    (finding,) = machine.memory()
    assert (finding.level, finding.says) == (WARNING, "1.0 GiB are free")


@pytest.mark.parametrize(("gib", "level"), [(0.5, FAULT), (3, WARNING), (50, OK)])
def test_a_full_disk(lived, monkeypatch, gib, level):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(2**40, 0, int(gib * 2**30)))
    assert levels([*machine.disk(lived.home)]) == [level]


@pytest.mark.parametrize(("soft", "level"), [(64, FAULT), (1024, WARNING), (65536, OK), (-1, OK)])
def test_few_open_files(monkeypatch, soft, level):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, 1048576))
    (finding,) = machine.open_files()
    assert finding.level is level


# -- home and registry ------------------------------------------------------------------------------------------------


def test_a_home_that_cannot_be_written(lived, monkeypatch):
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "write_text", refuse)
    (finding,) = truth.home(lived.home)
    assert (finding.level, "Permission denied" in finding.says) == (FAULT, True)


def test_a_registry_that_cannot_be_reached_or_whose_url_is_none(tmp_path, monkeypatch):
    away = at(tmp_path / "home", f"postgresql://dabt:secret@127.0.0.1:{free_port()}/dabt")
    (finding,) = found(away, "registry")
    assert finding.level is FAULT
    assert "secret" not in finding.says
    assert "start the server" in finding.cure
    assert levels(found(at(tmp_path / "home", "mysql://host/db"), "registry")) == [FAULT]
    monkeypatch.setitem(sys.modules, "psycopg", None)
    (finding,) = found(away, "registry")
    assert "psycopg" in finding.cure


def test_a_registry_that_is_damaged(lived):
    lived.close()
    file = lived.home.root / "registry.db"
    whole = file.read_bytes()
    file.write_bytes(b"nothing of SQLite" * 1000)
    (finding,) = found(lived.home, "registry")
    assert (finding.level, "dabt restore" in finding.cure) == (FAULT, True)
    file.write_bytes(whole[:-4096] + b"x" * 4096)
    assert levels(found(lived.home, "pages", deep=True)) == [FAULT]


def test_a_row_that_names_one_that_is_gone(lived):
    with closing(sqlite3.connect(lived.home.root / "registry.db")) as connection:
        connection.execute("INSERT INTO aliases VALUES ('triage', 'prod', 99)")
        connection.commit()
    (finding,) = found(lived.home, "pages", deep=True)
    assert (finding.level, finding.says) == (FAULT, "a row of aliases names none of alias_moves")


def test_a_file_that_cannot_be_written(lived, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert FAULT in levels(found(lived.home, "registry"))


def test_an_older_schema_is_told_and_not_migrated(tmp_path):
    home = at(tmp_path / "old")
    home.root.mkdir()
    fill(home.registry_url, (HOMES / "schema4.sqlite.sql").read_text(encoding="utf-8"))
    with closing(sqlite3.connect(home.root / "registry.db")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")  # as a release leaves it
    before = (home.root / "registry.db").read_bytes()
    (finding,) = found(home, "schema")
    assert finding.level is WARNING
    assert f"has schema 4; the first command of this release migrates it to {tables.SCHEMA_VERSION}" in finding.says
    assert (home.root / "registry.db").read_bytes() == before


def test_a_newer_schema_and_one_that_was_changed_by_hand(lived):
    with lived.registry._database.write() as tx:
        tx.execute(update(tables.alembic_version).values(version_num="0001"))
    (finding,) = found(lived.home, "schema")
    assert (finding.level, "by hand" in finding.cure) == (FAULT, True)
    with lived.registry._database.write() as tx:
        tx.execute(update(tables.meta).values(value="99"))
    (finding,) = found(lived.home, "schema")
    assert (finding.level, "use the release that wrote it" in finding.cure) == (FAULT, True)
    assert found(lived.home, "artifacts") == [], "nothing is said of what cannot be read"


@pytest.mark.parametrize(("ahead", "level"), [(0.1, OK), (-5.0, WARNING), (300.0, FAULT)])
def test_clocks_that_differ(ahead, level):
    finding = truth._of_clock(ahead)
    assert finding.level is level
    assert ("ahead" if ahead > 0 else "behind") in finding.says


def test_a_slow_answer_is_no_clock_that_differs():
    began = datetime(2026, 1, 1, tzinfo=UTC)
    ended = began + timedelta(seconds=9)
    ahead = [truth._ahead(began + timedelta(seconds=told), began, ended) for told in (-3, 0, 4, 9, 11)]
    assert ahead == [-3, 0, 0, 0, 2]


@pytest.mark.e2e
def test_a_postgresql_that_is_well_and_its_clock(tmp_path, postgres_url):
    with closing(LivedIn(at(tmp_path / "home", postgres_url))) as lived:
        lived.version("one")
        assert levels(found(lived.home, "schema")) == [OK]
        assert levels(found(lived.home, "clock")) == [OK]
        assert levels(found(lived.home, "hints")) == [OK]
        assert levels(found(lived.home, "failover")) == [], "there is one server"
        (finding,) = found(lived.home, "settings", DABT_LIMITS_URL="redis://127.0.0.1:1/0")[:1]
        assert "a folder of this one" in finding.says


@pytest.mark.e2e
def test_a_postgresql_without_room_for_one_more_process(tmp_path, postgres_url, monkeypatch):
    with closing(LivedIn(at(tmp_path / "home", postgres_url))) as lived:
        for told, level in (("4", OK), ("40", OK), ("47", WARNING)):
            monkeypatch.setenv("DABT_REGISTRY_CONNECTIONS", told)
            (finding,) = found(lived.home, "connections")
            assert finding.says.startswith("47 for this database, "), "of 50, three are the superuser's"
            assert (finding.level, f"takes {int(told) + 1} at most" in finding.says) == (level, True)
    monkeypatch.setenv("DABT_REGISTRY_CONNECTIONS", "many")
    (finding,) = found(lived.home, "registry")
    assert (finding.level, "DABT_REGISTRY_CONNECTIONS=many is no number" in finding.says) == (FAULT, True)


@pytest.mark.e2e
def test_several_servers_of_which_none_waits_for_a_standby(tmp_path, postgres_url):
    several = postgres_url.replace("@127.0.0.1:", "@127.0.0.1:1,127.0.0.1:")
    with closing(LivedIn(at(tmp_path / "home", several))) as lived:
        (finding,) = found(lived.home, "failover")
        assert (finding.level, "synchronous_standby_names" in finding.cure) == (WARNING, True)


def test_a_row_that_cannot_be_read(lived):
    with closing(sqlite3.connect(lived.home.root / "registry.db")) as connection:
        connection.execute("UPDATE versions SET spec = '{broken'")
        connection.commit()
    (finding,) = found(lived.home, "registry")
    assert (finding.level, "broken JSON" in finding.says) == (FAULT, True)


# -- the store --------------------------------------------------------------------------------------------------------


def test_a_store_that_cannot_be_opened_or_reached(lived, monkeypatch):
    nobody = {"ENDPOINT_URL": f"http://127.0.0.1:{free_port()}", "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b"}
    for name, value in {**nobody, "REGION": "us-east-1", "MAX_ATTEMPTS": "1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    for url in ("nothing://bucket", "s3://bucket/dabt"):
        findings = found(lived.home.model_copy(update={"artifacts_url": url}), "store")
        assert levels(findings) == [FAULT]

    def away(_: Stock) -> None:
        raise Unavailable("the artifact store memory://x cannot be reached: ConnectionError")

    monkeypatch.setattr(Stock, "holdings", away)
    (finding,) = found(lived.home, "store")
    assert "credentials" in finding.cure


def test_a_store_that_cannot_be_written(lived, monkeypatch):
    def full(self: Path, *_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    (finding,) = truth.store(lived.home)
    assert (finding.level, "full" in finding.says) == (FAULT, True)


def test_a_store_that_overwrites_what_was_to_be_left_alone(tmp_path, monkeypatch):
    with closing(LivedIn(at(tmp_path / "home", artifacts_url=f"memory://{uuid.uuid4().hex}/x"))) as lived:
        lived.version("one")
        files = set(lived.store._remote.find(lived.store._prefix))
        assert OK in levels(found(lived.home, "store"))
        monkeypatch.setattr(Stock, "_second", lambda *_: False)
        assert levels(found(lived.home, "store")) == [OK, WARNING]
        assert set(lived.store._remote.find(lived.store._prefix)) == files, "a probe was left"


def test_what_is_missing_in_the_store_is_named_with_who_needs_it(lived):
    version = lived.registry.version("triage:1")
    lived.store.remove(version.spec.adapter)
    index = lived.put("index")
    lived.registry.add_index("handbook", index, {})
    lived.store.remove(index)
    file = lived.file("rows")
    lived.store.remove(file.digest)
    says = {finding.says: finding.cure for finding in found(lived.home, "artifacts")}
    assert "dabt import" in says[f"{version.spec.adapter} is not in the store, and triage:1 needs it"]
    assert "dabt index" in says[f"{index} is not in the store, and the index handbook needs it"]
    assert "its owner sends it again" in says[f"{file.digest} is not in the store, and {file.id} needs it"]
    for number in range(4):
        lived.store.remove(lived.version(f"v{number}").spec.adapter)
    assert "2 more are not in the store" in found(lived.home, "artifacts")[-1].says


def test_bytes_that_are_not_what_was_stored(lived):
    digests = sorted(lived.version(text).spec.adapter for text in ("two", "three"))
    every = sorted(lived.registry.needs.all().required)
    last = every[-1]
    file = lived.home.root / "artifacts/sha256" / last[7:] / "bytes"
    file.chmod(0o600)
    file.write_text("changed")
    assert levels(found(lived.home, "artifacts")) == [OK], "one is read: the first"
    (finding,) = found(lived.home, "artifacts", deep=True)
    assert (finding.level, last in finding.says) == (FAULT, True)
    assert len(digests) == 2


# -- versions, ports, settings ----------------------------------------------------------------------------------------


def test_versions_that_serve_over_another_base_and_cannot_prove_themselves(lived, base):
    lived.registry.promote("triage:1", actor="amal", reason="r", force=True)
    of_base, unproved = found(lived.home, "versions", base=[str(base)])
    assert (of_base.level, "triage:1 serve by an alias" in of_base.says) == (WARNING, True)
    assert (unproved.level, "golden" in unproved.says) == (WARNING, True)
    assert levels(found(lived.home, "base", base=[str(base / "nowhere")])) == [FAULT]
    assert "1 version over 1 base" in found(lived.home, "versions")[0].says


def test_versions_over_the_base_that_is_served(lived, base):
    from lifecycle.models.base import fingerprint
    from lifecycle.version import VersionSpec

    spec = VersionSpec(base=fingerprint(base).digest, prompt=Prompt(system="s"))
    lived.registry.create_version("bare", spec, actor="amal")
    lived.registry.promote("bare:1", actor="amal", reason="r", force=True)
    assert levels(found(lived.home, "versions", base=[str(base)])) == [OK]


def test_versions_over_any_of_several_bases_that_are_served(lived, base, tmp_path):
    from lifecycle.models.base import fingerprint
    from lifecycle.version import VersionSpec

    other = tmp_path / "other"
    shutil.copytree(base, other)
    (other / "tokenizer.json").write_text('{"other": 1}')
    for name, folder in (("near", base), ("far", other)):
        spec = VersionSpec(base=fingerprint(folder).digest, prompt=Prompt(system="s"))
        lived.registry.create_version(name, spec, actor="amal")
        lived.registry.promote(f"{name}:1", actor="amal", reason="r", force=True)
    (of_base,) = found(lived.home, "versions", base=[str(base), f"second={other}"])
    assert (of_base.level, of_base.says) == (OK, f"all 2 that serve by an alias are over {base.name} and other")
    (of_base,) = found(lived.home, "versions", base=[str(base)])
    assert (of_base.level, "far:1 serve by an alias" in of_base.says) == (WARNING, True)


def test_a_version_of_another_release(lived):
    with lived.registry._database.write() as tx:
        tx.execute(update(tables.versions).values(spec={"base": "sha256:x", "from": "the future"}))
    assert levels(found(lived.home, "versions"))[0] is FAULT


@pytest.fixture
def listening() -> Iterator[Callable[[bytes], int]]:
    """A program that answers every request with the body."""
    servers = []

    def start(body: bytes) -> int:
        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None: ...

        server = HTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return int(server.server_address[1])

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_port_that_is_free_taken_or_a_service(listening, monkeypatch):
    assert levels([*settings.port(free_port())]) == [OK]
    assert levels([*settings.port(listening(b"another program"))]) == [FAULT]
    assert levels([*settings.port(listening(b"[]"))]) == [FAULT]
    assert levels([*settings.port(listening(b'{"ready": true}'))]) == [OK]
    assert levels([*settings.port(listening(b'{"ready": false}'))]) == [WARNING]

    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    (finding,) = settings.port(1)
    assert (finding.level, "above 1023" in finding.cure) == (FAULT, True)


def test_settings_that_contradict(tmp_path):
    files = at(tmp_path / "home")
    shared = at(tmp_path / "home", "postgresql://h/db", "s3://bucket/dabt")
    limits = {"DABT_LIMITS_URL": "memory://"}

    def said(home: Home, **environment: str) -> list[tuple[Level, str]]:
        return [(f.level, f.says) for f in settings.contradictions(home, environment)]

    assert said(files, **limits, DABT_HOME="x") == [(OK, "nothing contradicts")]
    ((level, says),) = said(files, DABT_REGISTY_URL="x")
    assert (level, "DABT_REGISTY_URL is set, and nothing reads it" in says) == (WARNING, True)
    assert next(iter(settings.contradictions(files, {"DABT_REGISTY_URL": "x"}))).cure == "write DABT_REGISTRY_URL"
    ((level, says),) = said(files.model_copy(update={"artifacts_url": "s3://bucket/dabt"}))
    assert (level, "registry is a file of this one" in says) == (WARNING, True)
    ((level, says),) = said(shared)
    assert (level, "each counts limits for itself" in says) == (WARNING, True)
    local = shared.model_copy(update={"artifacts_url": "/srv/dabt"})
    assert "a folder of this one" in said(local)[0][1]
    ((level, says),) = said(files, DABT_LIMITS_URL="mysql://x")
    assert (level, "no place to count in" in says) == (FAULT, True)
    ((level, says),) = said(shared, DABT_LIMITS_URL=f"redis://127.0.0.1:{free_port()}/0")
    assert (level, "nothing answers" in says) == (FAULT, True)


def test_all_variables_that_are_read_are_known():
    written = set()
    for folder in ("lifecycle", "service", "training", "evals", "retrieval", "console", "examples", "scripts"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".sh") and "upkeep" not in path.parts:
                written |= set(re.findall(r"\bDABT_[A-Z_]+\b", path.read_text(encoding="utf-8")))
    assert written - {"DABT_"} <= set(settings.VARIABLES)


# -- the command ------------------------------------------------------------------------------------------------------


def test_the_command_says_one_line_for_each_and_fails_for_a_fault(home: Home):
    with closing(LivedIn(home)) as lived:
        version = lived.version("one")
        port = str(free_port())
        done = CliRunner().invoke(dabt.app, ["doctor", "--port", port], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        assert re.search(r"^ok +schema ", done.output, re.MULTILINE)
        lived.store.remove(version.spec.adapter)
    done = CliRunner().invoke(dabt.app, ["doctor", "--port", port], catch_exceptions=False)
    assert done.exit_code == 1
    assert re.search(
        r"^fault +artifacts .*triage:1 needs it\n +→ `dabt restore FROM --artifacts` puts", done.output, re.MULTILINE
    )
    done = CliRunner().invoke(dabt.app, ["doctor", "--port", port, "--json"], catch_exceptions=False)
    told = [(finding["check"], finding["level"]) for finding in json.loads(done.output)]
    assert ("artifacts", "fault") in told
    with Registry.open(home.registry_url) as registry:
        assert registry.audit()[0].action == "version.create", "a look leaves nothing in the trail"
