"""What callers see while a Ray cluster's head is gone: `python -m benchmarks.lost_head alone|kept`.

Two nodes on this machine: a head without replicas, and a worker that has gateways, engines and a proxy of its own,
as in `deploy/kubernetes/overlays/ray`. Callers ask the worker's proxy without a pause. Then every process of the head
is killed with -9 and is away for `--away` seconds. With `kept` Ray has a redis-server to keep what it knows in, and a
head is started again at the same address; with `alone` it has none, so the other node ends too, and everything is
started anew. Aliases are moved all the while, and a version is pinned: what was acknowledged must be there.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import psutil
import ray.util
import yaml

from benchmarks.cluster import stocked
from lifecycle.registry import Registry
from service.adapters.residency import internal_name
from service.cluster.nodes import of_a_cluster_here

_ADAPTERS = 4
_CALLERS = 4
_RAY = [sys.executable, "-m", "ray.scripts.scripts"]
_DABT = [sys.executable, "-m", "dabt"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ray_node(log: Path, variables: dict[str, str], *words: str) -> subprocess.Popen[bytes]:
    """`ray start` of one node, with all of its processes below it."""
    command = [*_RAY, "start", "--block", "--disable-usage-stats", *words]
    with log.open("ab") as told:
        return subprocess.Popen(
            [*command, f"--object-store-memory={80 * 2**20}"],
            env={**os.environ, **variables},
            stdout=told,
            stderr=told,
        )


def kill(node: subprocess.Popen[bytes]) -> int:
    """Every process of a node, as when its machine is gone. How many there were."""
    whole = [psutil.Process(node.pid), *psutil.Process(node.pid).children(recursive=True)]
    for process in whole:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    node.wait()
    return len(whole)


@dataclass
class Asked:
    """What callers and one who moves aliases were told, with when: seconds since it was printed last."""

    answers: list[tuple[float, str]] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)
    done: bool = False
    since: float = field(default_factory=time.monotonic)

    def told(self, what: str) -> None:
        self.answers.append((time.monotonic() - self.since, what))

    def printed(self, title: str) -> None:
        """And counted anew from now."""
        counts = Counter(what for _, what in self.answers)
        listed = ", ".join(f"{count} {what}" for what, count in counts.most_common()) or "nothing asked"
        right = [at for at, what in self.answers if what == "right"]
        gaps = [after - before for before, after in zip([0.0, *right], right, strict=False)]
        longest = f"; no right answer for {max(gaps):.1f} s at most" if gaps else ""
        print(f"{title}: {listed}{longest}", flush=True)
        self.mark()

    def mark(self) -> None:
        self.answers.clear()
        self.since = time.monotonic()


async def ask_on(port: int, at: int, names: dict[str, str], asked: Asked) -> None:
    name = f"a{at % _ADAPTERS}"
    body = {"model": name, "messages": [{"role": "user", "content": "hi"}], "min_tokens": 32}
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        while not asked.done:
            try:
                async with session.post("/v1/chat/completions", json=body) as answer:
                    if answer.status != 200:
                        asked.told(f"{answer.status}")
                        await asyncio.sleep(0.1)
                        continue
                    said = (await answer.json())["choices"][0]["message"]["content"].split()
                    asked.told("right" if (said[0], len(said)) == (names[name], 32) else "WRONG")
            except aiohttp.ClientError as error:
                asked.told(type(error).__name__)
                await asyncio.sleep(0.1)


async def move_on(port: int, asked: Asked) -> None:
    """Every move is an alias of its own, so that each that was acknowledged can be looked for."""
    moves = 0
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        while not asked.done:
            moves += 1
            body = {"ref": "a0:1", "alias": f"move{moves}", "force": True, "reason": "for the benchmark"}
            with suppress(aiohttp.ClientError):
                async with session.post("/admin/promote", json=body) as answer:
                    if answer.status == 200:
                        asked.acknowledged.append(f"move{moves}")
            await asyncio.sleep(0.2)


class Cluster:
    """A head and a worker, which can be lost and started again at the same address."""

    def __init__(self, root: Path, port: int, redis: str, of_head: Sequence[str], of_worker: Sequence[str]) -> None:
        """`of_head` and `of_worker` are words of `ray start`: what each of them has."""
        self.port = port
        self._root, self._gcs, self._redis = root, free_port(), redis
        self._of_head, self._of_worker = of_head, of_worker
        self.address = f"{ray.util.get_node_ip_address()}:{self._gcs}"
        self.told = {**of_a_cluster_here(), "PYTHONPATH": str(Path.cwd()), "RAY_AUTH_MODE": "disabled"}
        self.told["RAY_SERVE_WORKER_PROXY_HTTP_PORT"] = str(port)  # HAProxy has one on each node, and both are here

    def head(self) -> subprocess.Popen[bytes]:
        kept = {"RAY_REDIS_ADDRESS": self._redis, "RAY_external_storage_namespace": "dabt"} if self._redis else {}
        ports = [f"--ray-client-server-port={free_port()}", f"--dashboard-agent-listen-port={free_port()}"]
        (self._root / "ray" / "ray_current_cluster").unlink(missing_ok=True)  # the next head is another machine
        place = [f"--port={self._gcs}", f"--temp-dir={self._root / 'ray'}"]
        words = ["--head", *place, *self._of_head, "--include-dashboard=false", *ports]
        return ray_node(self._root / "head.log", {**self.told, **kept}, *words)

    def worker(self) -> subprocess.Popen[bytes]:
        # KubeRay gives its workers 600 s in place of Ray's 60 to find a head again where Redis keeps what that knew.
        patience = {"RAY_gcs_rpc_server_reconnect_timeout_s": "600"} if self._redis else {}
        words = [f"--address={self.address}", *self._of_worker, f"--dashboard-agent-listen-port={free_port()}"]
        # HAProxy's own figures have one port on every node, and this is a second node of one machine.
        own = {name: port for name, port in of_a_cluster_here().items() if name.endswith("_PORT")}
        return ray_node(self._root / "worker.log", {**self.told, **own, **patience}, *words)

    def up(self, file: Path) -> None:
        """`dabt cluster up`, until it says that it is ready."""
        command = [*_DABT, "cluster", "up", str(file), "--address", self.address]
        done = subprocess.run(command, env={**os.environ, **self.told}, check=False, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"`dabt cluster up` ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")


@contextmanager
def a_redis(root: Path) -> Iterator[str]:
    program, port = shutil.which("redis-server"), free_port()
    if program is None:
        raise SystemExit("`kept` needs a redis-server: install Debian's package redis-server")
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(root)]
    with subprocess.Popen([program, *options], stdout=subprocess.DEVNULL) as server:
        try:
            yield f"127.0.0.1:{port}"
        finally:
            server.kill()


async def until_right(asked: Asked) -> None:
    """Until every caller has been answered again."""
    already = len(asked.answers)
    while [what for _, what in asked.answers[already:]].count("right") < 2 * _CALLERS:  # noqa: ASYNC110
        await asyncio.sleep(0.1)


async def engine_again(worker: subprocess.Popen[bytes]) -> float:
    """Seconds until Ray has started an engine in the place of one that is killed now."""

    def engines() -> set[int]:
        found = set()
        for each in psutil.Process(worker.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if "ServeReplica:dabt:engine" in " ".join(each.cmdline()):
                    found.add(each.pid)
        return found

    before, began = engines(), time.monotonic()
    psutil.Process(min(before)).kill()
    while not engines() - before:  # noqa: ASYNC110 - another program's processes tell nobody
        await asyncio.sleep(0.1)
    return time.monotonic() - began


async def pin(port: int) -> None:
    body = {"ref": "a1:1", "reason": "for the benchmark"}
    url = f"http://127.0.0.1:{port}/admin/pin"
    async with aiohttp.ClientSession() as session, session.post(url, json=body) as answer:
        answer.raise_for_status()


async def until_in_memory(port: int) -> str:
    """The pins, and for how long some of them were not in every engine's memory."""
    began = time.monotonic()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        while True:
            async with session.get("/admin/residency") as answer:
                told = await answer.json()
            if not told["pins_missing"]:
                return f"pins {told['pins']}, all in memory after {time.monotonic() - began:.0f} s"
            await asyncio.sleep(0.5)


def end_proxies(*ports: int) -> None:
    """Those that outlived the raylet of their node, where the machine's `setpriv` is too old to end them with it."""
    left = 0
    for process in psutil.process_iter(["name"]):
        with suppress(psutil.Error):
            if process.info["name"] == "haproxy" and {each.laddr.port for each in process.net_connections()} & {*ports}:
                process.kill()
                left += 1
    print(f"{left} of the nodes' proxies had outlived them", flush=True)


async def lost(cluster: Cluster, file: Path, registry: Registry, away: float, kept: bool) -> None:
    port = cluster.port
    nodes = {"head": cluster.head()}
    nodes["worker"] = cluster.worker()
    asked = Asked()
    try:
        await asyncio.to_thread(cluster.up, file)
        digests = {f"a{at}": registry.version(f"a{at}:1").spec.adapter for at in range(_ADAPTERS)}
        names = {name: internal_name(digest) for name, digest in digests.items() if digest is not None}
        tasks = [asyncio.create_task(ask_on(port, at, names, asked)) for at in range(_CALLERS)]
        await until_right(asked)
        await pin(port)
        asked.mark()
        tasks.append(asyncio.create_task(move_on(port, asked)))
        await asyncio.sleep(5)
        asked.printed("before")
        print(f"the head is killed: {kill(nodes['head'])} processes", flush=True)
        await asyncio.sleep(away)
        asked.printed(f"{away:g} s without a head")
        if kept:
            nodes["head"] = cluster.head()
            await until_right(asked)
            await asyncio.sleep(5)
            asked.printed("from the next head's start on")
            seconds = await engine_again(nodes["worker"])
            print(f"an engine is killed: another is started after {seconds:.0f} s", flush=True)
            await until_right(asked)
            asked.printed("meanwhile")
        else:
            began = time.monotonic()
            await asyncio.to_thread(nodes["worker"].wait)
            print(f"the other node has ended by itself, {time.monotonic() - began:.0f} s later", flush=True)
            end_proxies(port)
            nodes["head"] = cluster.head()
            nodes["worker"] = cluster.worker()
            await asyncio.to_thread(cluster.up, file)
            await until_right(asked)
            asked.printed("from there, with both started anew and `dabt cluster up`")
        print(await until_in_memory(port), flush=True)
        asked.done = True
        await asyncio.gather(*tasks)
        there = {alias.alias for alias in registry.aliases("a0")}
        gone = [move for move in asked.acknowledged if move not in there]
        print(f"moves: {len(asked.acknowledged)} acknowledged, {len(gone)} of them lost", flush=True)
    finally:
        for node in nodes.values():
            with suppress(psutil.NoSuchProcess):
                kill(node)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("how", choices=["alone", "kept"])
    parser.add_argument("--away", type=float, default=30, help="seconds without a head")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        root = Path(folder)
        home, base = stocked(root, _ADAPTERS)
        port, of_the_head = free_port(), free_port()
        told = {
            "bases": [{"base": str(base), "engine": "fake", "step_seconds": 0.01, "replicas": {"least": 2, "most": 2}}],
            "gateways": {"replicas": {"least": 2, "most": 2}},
            "serve": {"embedding_model": "none", "ui": False, "log_level": "warning"},
            "home": str(home.root), "registry": home.registry_url, "artifacts": home.artifacts_url, "port": of_the_head,
        }  # fmt: skip
        file = root / "cluster.yaml"
        file.write_text(yaml.safe_dump(told))
        redis = stack.enter_context(a_redis(root)) if given.how == "kept" else ""
        registry = stack.enter_context(Registry.open(home.registry_url))
        stack.callback(end_proxies, port, of_the_head)
        cluster = Cluster(root, port, redis, ["--num-cpus=0"], ["--num-cpus=16"])
        asyncio.run(lost(cluster, file, registry, given.away, given.how == "kept"))


if __name__ == "__main__":
    main()
