"""What the tiers on Ray cost, and what a second engine holds: `python -m benchmarks.cluster tiers|share`.

`tiers` asks `dabt serve`'s own process and a cluster of one gateway and one engine in turn, over the same stand-in for
an engine (`--step` seconds a token), whole answers and streams. Throughput is told of `--callers` that ask without a
pause, as many as fill the engine's batch. There every request waits for the others' processor time, so the median is
told of half that throughput, by requests at random moments, the same for both. Processor time is by process.
`share` asks for `--adapters` adapters, one after the other and again, of one engine and of two, and prints how many of
them are in memory at the end. Everything is on loopback and on this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from lifecycle.home import Home
from lifecycle.manifests import AdapterManifest
from lifecycle.models.base import fingerprint
from lifecycle.registry import Registry
from lifecycle.store.artifacts import ArtifactStore
from lifecycle.version import VersionSpec
from service.cluster.nodes import of_a_cluster_here

_PURPOSES = {
    "benchmarks.cluster alone": "one process",
    "ServeReplica:dabt:gateway": "gateway",
    "ServeReplica:dabt:engine": "engine",
    "ProxyActor": "proxy",
    "haproxy": "proxy",
    "ServeController": "controller",
}
"""What a process is for, by a part of its command line."""
_ALONE, _TIERED = _PORTS = (18001, 18002)
_PLACES = 256
"""Adapters in an engine's memory."""


def stocked(root: Path, adapters: int) -> tuple[Home, Path]:
    """A home with so many adapters in production, named a0, a1, …, and the base that they are over."""
    base = root / "tiny"
    base.mkdir()
    for name, text in {"config.json": '{"model_type": "llama"}', "tokenizer.json": "{}"}.items():
        (base / name).write_text(text)
    (base / "tokenizer_config.json").write_text("{}")
    (base / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    home = Home(root=root / "home", registry_url=f"sqlite:///{root}/registry.db", artifacts_url=str(root / "artifacts"))
    home.root.mkdir()
    store = ArtifactStore(home.artifacts_url, home.cache)
    digest = fingerprint(base).digest
    with Registry.open(home.registry_url) as registry:
        for at in range(adapters):
            folder = root / "made" / f"a{at}"
            folder.mkdir(parents=True)
            (folder / "adapter_model.safetensors").write_text(f"a{at}")
            made = store.put(folder)
            shape: dict[str, Any] = {"rank": 8, "alpha": 16, "scale": 2, "target_modules": ("q_proj",)}
            size: dict[str, Any] = {"parameters": 1, "bytes": 1, "created_at": datetime.now(UTC)}
            registry.add_artifact(AdapterManifest(digest=made, base=digest, base_name="tiny", **shape, **size))
            version = registry.create_version(f"a{at}", VersionSpec(base=digest, adapter=made), actor="benchmark")
            registry.promote(version.ref, actor="benchmark", reason="for the benchmark", force=True)
    return home, base


@contextmanager
def alone(home: Home, base: Path, port: int, step: float) -> Iterator[None]:
    """The service in one process, as `dabt serve` runs it."""
    command = [sys.executable, "-m", "benchmarks.cluster", "alone", str(home.root), str(base), str(port), str(step)]
    place = {"DABT_REGISTRY_URL": home.registry_url, "DABT_ARTIFACTS_URL": home.artifacts_url}
    with subprocess.Popen(command, env={**os.environ, **place}) as process:
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)


def serve_alone(root: str, base: str, port: str, step: str) -> None:
    from service.config import ServeConfig
    from service.engine.fake_engine import FakeEngine
    from service.server import serve

    config = ServeConfig(base=Path(base), port=int(port), embedding_model="none", ui=False, log_level="warning")
    serve(config, Home.at(Path(root)), FakeEngine(step_seconds=float(step)))


@contextmanager
def cluster(port: int) -> Iterator[None]:
    """Ray on this machine, with nothing on it yet."""
    os.environ.update({**of_a_cluster_here(), **os.environ})
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
    import ray
    from ray import serve

    ray.init("local", num_cpus=16, object_store_memory=100 * 2**20, log_to_driver=False, include_dashboard=False)
    try:
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        yield
        serve.shutdown()
    finally:
        ray.shutdown()


def deploy(home: Home, base: Path, port: int, step: float, engines: int) -> None:
    from ray import serve

    from service.cluster.ray_app import build
    from service.cluster.settings import ClusterSettings

    replicas = {"least": engines, "most": engines}
    tier = {"base": str(base), "engine": "fake", "step_seconds": step, "replicas": replicas}
    told = {
        "bases": [{**tier, "serve": {"max_loras": 8, "max_cpu_loras": _PLACES}}],
        "serve": {"embedding_model": "none", "ui": False, "log_level": "warning"},
        "home": str(home.root),
        "registry": home.registry_url,
        "artifacts": home.artifacts_url,
        "port": port,
    }
    serve.run(build(ClusterSettings.model_validate(told)), name="dabt", route_prefix="/")


@dataclass(frozen=True)
class Took:
    """Seconds of one request."""

    first: float
    """Until something of the answer came."""
    all: float


async def asked(port: int, callers: int, each: int, stream: bool) -> list[Took]:
    """So many callers, each with so many requests of 32 tokens, one after the other."""
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:

        async def ask_on(at: int) -> list[Took]:
            return [await asked_once(session, at, stream) for _ in range(each)]

        rows = await asyncio.gather(*(ask_on(at) for at in range(callers)))
    return [took for row in rows for took in row]


async def arriving(port: int, a_second: float, requests: int, stream: bool, seed: int) -> list[Took]:
    """Requests of 32 tokens at the random moments of that seed, whether or not others have their answers."""
    gaps = random.Random(seed)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        sent = []
        for at in range(requests):
            await asyncio.sleep(gaps.expovariate(a_second))
            sent.append(asyncio.create_task(asked_once(session, at, stream)))
        return await asyncio.gather(*sent)


async def asked_once(session: aiohttp.ClientSession, at: int, stream: bool) -> Took:
    asks = {"model": f"a{at % 8}", "messages": [{"role": "user", "content": "hi"}], "min_tokens": 32, "stream": stream}
    began = time.perf_counter()
    async with session.post("/v1/chat/completions", json=asks) as answer:
        assert answer.status == 200, await answer.text()
        await answer.content.readany()
        first = time.perf_counter() - began
        await answer.read()
    return Took(first, time.perf_counter() - began)


async def ready(port: int) -> None:
    async with aiohttp.ClientSession() as session:
        while True:
            with suppress(aiohttp.ClientError):
                async with session.get(f"http://127.0.0.1:{port}/ready") as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.1)


def processor() -> Counter[str]:
    """Seconds that the processes below this one have had, by what they are for. Others' are not among them."""
    had: Counter[str] = Counter()
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            times = process.cpu_times()
            had[_purpose(process)] += times.user + times.system
    return had


def _purpose(process: psutil.Process) -> str:
    told = " ".join(process.cmdline())
    known = (purpose for part, purpose in _PURPOSES.items() if part in told)
    return next(known, "the rest of Ray")


def tiers(rounds: int, callers: int, each: int, step: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home, base = stocked(Path(folder), 8)
        with alone(home, base, _ALONE, step), cluster(_TIERED):
            deploy(home, base, _TIERED, step, engines=1)
            for port in _PORTS:
                asyncio.run(ready(port))
                asyncio.run(asked(port, callers, 2, stream=False))
            at_rest()
            for stream in (False, True):
                print("streams" if stream else "whole answers", flush=True)
                measured(rounds, callers, each, stream)


def at_rest(seconds: float = 5.0) -> None:
    """What the processes take while nobody asks: it is in the figures a request too, by as much as those are few."""
    had = processor()
    time.sleep(seconds)
    print(f"at rest, processor, ms a second: {_listed(processor() - had, 1000 / seconds)}", flush=True)


def measured(rounds: int, callers: int, each: int, stream: bool) -> None:
    half = throughput(rounds, callers, each, stream) / 2
    rows: dict[int, list[list[float]]] = {port: [] for port in _PORTS}
    for at in range(rounds):
        for port in _PORTS:
            took = asyncio.run(arriving(port, half, callers * each, stream, seed=at))
            rows[port].append([statistics.median(x.all for x in took), statistics.median(x.first for x in took)])
    one, tiered = map(_medians, rows.values())
    first = f"; first token {_compared(one[1], tiered[1])}" if stream else ""
    print(f"  at {half:.1f} requests/s: median {_compared(one[0], tiered[0])}{first}", flush=True)


def throughput(rounds: int, callers: int, each: int, stream: bool) -> float:
    """Print what both answer in a second, and give it of the one process."""
    rows: dict[int, list[list[float]]] = {port: [] for port in _PORTS}
    spent: dict[int, Counter[str]] = {port: Counter() for port in _PORTS}
    for _ in range(rounds):
        for port in _PORTS:
            began, had = time.perf_counter(), processor()
            took = asyncio.run(asked(port, callers, each, stream))
            rows[port].append([len(took) / (time.perf_counter() - began), statistics.median(x.all for x in took)])
            spent[port].update(processor() - had)
    one, tiered = map(_medians, rows.values())
    requests = rounds * callers * each
    alone = spent[_ALONE]["one process"]
    del spent[_TIERED]["one process"]
    print(
        f"  {callers} callers: {one[0]:.1f} and {tiered[0]:.1f} requests/s (ratio {tiered[0] / one[0]:.3f}); "
        f"median {_compared(one[1], tiered[1])}\n"
        f"  processor, ms a request: {1000 * alone / requests:.1f} in one process, "
        f"{1000 * spent[_TIERED].total() / requests:.1f} on Ray: {_listed(spent[_TIERED], 1000 / requests)}",
        flush=True,
    )
    return one[0]


def _compared(one: float, tiered: float) -> str:
    return f"{1000 * one:.1f} and {1000 * tiered:.1f} ms ({1000 * (tiered - one):+.1f} ms)"


def _listed(spent: Counter[str], times: float) -> str:
    return ", ".join(f"{name} {seconds * times:.1f}" for name, seconds in spent.most_common())


def _medians(rows: list[list[float]]) -> list[float]:
    return [statistics.median(column) for column in zip(*rows, strict=True)]


async def residents(port: int, adapters: int) -> tuple[int, int]:
    """After every adapter was asked for twice: how many of them are in memory, and in how many places."""
    url = f"http://127.0.0.1:{port}"
    async with aiohttp.ClientSession() as session:

        async def ask_on(at: int) -> None:
            for number in range(at, adapters, 8):
                body = {"model": f"a{number}", "messages": [{"role": "user", "content": "hi"}]}
                async with session.post(f"{url}/v1/chat/completions", json=body) as answer:
                    assert answer.status == 200, await answer.text()

        for _ in range(2):
            await asyncio.gather(*(ask_on(at) for at in range(8)))
        await asyncio.sleep(2)  # engines tell what they hold twice a second
        async with session.get(f"{url}/admin/residency") as answer:
            rows = (await answer.json())["adapters"]
    return len({row["digest"] for row in rows}), len(rows)


def share(adapters: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home, base = stocked(Path(folder), adapters)
        with cluster(18003):
            held = {}
            for engines in (1, 2):
                deploy(home, base, 18003, 0.0, engines)
                asyncio.run(ready(18003))
                held[engines], places = asyncio.run(residents(18003, adapters))
                print(f"{engines} engines: {held[engines]} of {adapters} adapters in {places} places", flush=True)
            print(f"ratio {held[2] / held[1]:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("tiers", "share"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--each", type=int, default=4)
    parser.add_argument("--step", type=float, default=0.02)
    parser.add_argument("--adapters", type=int, default=1000)
    told = parser.parse_args()
    if told.what == "tiers":
        tiers(told.rounds, told.callers, told.each, told.step)
    else:
        share(told.adapters)


if __name__ == "__main__":
    if sys.argv[1:2] == ["alone"]:
        serve_alone(*sys.argv[2:])
    else:
        main()
