"""A private PostgreSQL on loopback, a standby of it, and a transaction pooler before it: real ones."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.ports import free_port


def _postgres_bin() -> Path | None:
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return folders[-1].parent if folders else None


class Cluster:
    """A private PostgreSQL on loopback, which can be stopped and started again under the same address."""

    def __init__(self, folder: Path, binaries: Path, as_user: list[str], *, primary: Cluster | None = None) -> None:
        """A new one, or a standby of `primary`."""
        self.folder, self._binaries, self._as_user = folder, binaries, as_user
        self.port = free_port()
        self.url = f"postgresql://dabt@127.0.0.1:{self.port}"
        """Without its database's name."""
        if primary is None:
            self._run("initdb", "-U", "dabt", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        else:
            given = f"host=127.0.0.1 port={primary.port} user=dabt application_name=standby"
            self._run("pg_basebackup", "-d", given, "-R", "-X", "stream", "-c", "fast")

    def start(self) -> None:
        server = f"-h 127.0.0.1 -p {self.port} -k {self.folder} -F -c max_connections=50"
        self._run("pg_ctl", "-w", "-l", str(self.folder / "log"), "-o", server, "start")

    def stop(self) -> None:
        """At once, as a crash would."""
        self._run("pg_ctl", "-m", "immediate", "-w", "stop")

    def promote(self) -> None:
        self._run("pg_ctl", "-w", "promote")

    @contextmanager
    def standby(self) -> Iterator[Cluster]:
        """A second server that follows this one; from here on a write is acknowledged when both have it."""
        import psycopg

        with _folder(self._as_user) as folder:
            made = Cluster(folder, self._binaries, self._as_user, primary=self)
            made.start()
            try:
                with psycopg.connect(f"{self.url}/postgres", autocommit=True) as here:
                    here.execute("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (standby)'")
                    here.execute("SELECT pg_reload_conf()")
                    asked = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'quorum'"
                    while here.execute(asked).fetchone() != (1,):
                        pass
                yield made
            finally:
                made.stop()

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as_user, str(self._binaries / program), "-D", str(self.folder / "data"), *arguments]
        subprocess.run(command, check=True, cwd=self.folder, stdout=subprocess.DEVNULL, timeout=120)


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Running; stopped and removed at the end. Skips the test where there is no PostgreSQL."""
    binaries = _postgres_bin()
    if binaries is None:
        pytest.skip("no PostgreSQL binaries: install Debian's package postgresql to run this")
    # initdb refuses root, and a server's socket path must be short, so this is no place for pytest's long tmp_path.
    as_user = _as_user()
    with _folder(as_user) as folder:
        made = Cluster(folder, binaries, as_user)
        made.start()
        try:
            yield made
        finally:
            with suppress(subprocess.CalledProcessError):  # the test has stopped it
                made.stop()


@contextmanager
def transaction_pooler(server: Cluster) -> Iterator[str]:
    """The URL of a PgBouncer before the server, which gives each transaction whichever connection is free."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        pytest.skip("no PgBouncer: install Debian's package pgbouncer to run this")
    port = free_port()
    with _folder(server._as_user) as folder:
        (folder / "pgbouncer.ini").write_text(
            f"""[databases]
postgres = host=127.0.0.1 port={server.port} user=dabt
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 2
logfile = {folder}/log
pidfile = {folder}/pid
"""
        )
        command = [*server._as_user, program, str(folder / "pgbouncer.ini")]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            while True:
                with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                assert process.poll() is None, "PgBouncer did not start"
            yield f"postgresql://dabt@127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


def _as_user() -> list[str]:
    if os.geteuid() != 0:
        return []
    known = subprocess.run(["id", "postgres"], check=False, capture_output=True).returncode == 0
    if not known or not shutil.which("runuser"):
        pytest.skip("running as root, with no postgres user to run the server as")
    return ["runuser", "-u", "postgres", "--"]


@contextmanager
def _folder(as_user: list[str]) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="dabt-pg-"))
    if as_user:
        shutil.chown(folder, "postgres", "postgres")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
