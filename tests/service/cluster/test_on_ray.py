"""The two tiers on Ray Serve, two nodes on this machine: streams, deaths, departures, updates, nobody there.

One cluster is started for all of this file; the clock of its second node is seven minutes ahead. What needs no process
of its own is tested without Ray (`test_fleet.py`).
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from lifecycle.jobs.nouns import Job, JobRequest, new_id
from lifecycle.jobs.states import JobState
from lifecycle.traffic import CanaryBounds, TrafficPolicy
from service.adapters.residency import internal_name
from tests.ports import free_port
from tests.service.cluster.evaluating import evaluated, one_engine
from tests.service.cluster.nodes_here import of_a_cluster_here
from tests.service.conftest import House, fake_base, make_house, wait_until
from tests.service.faults.test_clock import LIBRARY
from tests.service.redis_server import start_redis

pytest.importorskip("ray.serve", reason="the extra `ray` is not installed", exc_type=ImportError)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

STEP = 0.02
"""Seconds a token. With half of it, callers who ask on take so much of two cores that what starts meanwhile waits."""
SKEW = {"LD_PRELOAD": str(LIBRARY), "FAKETIME": "+7m", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
"""Of one node's processes; where libfaketime is not installed, its clock is right."""
SMALL: dict[str, Any] = {"num_cpus": 8, "object_store_memory": 80 * 2**20}
"""What a node has."""
AS_ASKED_FOR: dict[str, Any] = {
    "replicas": {"least": 0, "most": 2, "idle_seconds": 0.5, "requests": 64},
    "workers": {"least": 0, "most": 1, "idle_seconds": 0.5},
    "called_seconds": 10,
}
"""Engines and workers come and go as they are asked for. The queue of six callers, and what rooms are asked for
`/metrics`, are fewer requests than the 64 that one engine may have."""
LIMITS: dict[str, str] = {}
"""Where gateways count limits, once there is a Redis."""


def settings(house: House, port: int, **engines: object) -> Any:
    from service.cluster.settings import ClusterSettings

    tier = {
        "base": str(house.base),
        "engine": "fake",
        "step_seconds": STEP,
        "replicas": {"least": 2, "most": 2},
        "workers": {"most": 1},
        "serve": {"max_loras": 2, "max_cpu_loras": 4},
    }
    return ClusterSettings.model_validate(
        {
            "bases": [{**tier, **engines}],
            "gateways": {"replicas": {"least": 2, "most": 2}},
            "serve": {"embedding_model": "none", "ui": False, "canary_seconds": 0.1, **LIMITS},
            "home": str(house.home.root),
            "registry": house.home.registry_url,
            "artifacts": house.home.artifacts_url,
            "port": port,
            "told_seconds": 0.2,
        }
    )


def deploy(house: House, port: int, **engines: object) -> None:
    from ray import serve

    from service.cluster.ray_app import build

    serve.run(build(settings(house, port, **engines)), name="dabt", route_prefix="/")


Started = tuple[House, int, tuple[dict[str, str], dict[str, str]], Any, dict[str, object]]
"""With the headers of an admin's key and of a limited one, Ray's cluster, and what its engines have been told."""


class OnRay:
    def __init__(
        self,
        house: House,
        port: int,
        client: httpx.AsyncClient,
        limited: dict[str, str],
        cluster: Any,
        told: dict[str, object],
    ) -> None:
        """`limited` are the headers of a key that may ask 8 times a minute."""
        self.limited = limited
        self.cluster = cluster
        self.house = house
        self.client = client
        self._port = port
        self._told = told

    async def run(self, **engines: object) -> None:
        """Every process anew, unless an earlier test has told them the same."""
        if self._told != engines:
            await asyncio.to_thread(deploy, self.house, self._port, **engines)
            self._told.clear()
            self._told.update(engines)

    async def chat(self, model: str, **extra: object) -> httpx.Response:
        body = {"model": model, "messages": [{"role": "user", "content": "hi"}], **extra}
        return await self.client.post("/v1/chat/completions", json=body)

    def right(self, name: str, answer: httpx.Response) -> bool:
        said = answer.json()["choices"][0]["message"]["content"].split()
        return len(said) >= 8 and said[0] == internal_name(self.house.adapters[name])

    async def rooms(self, series: str) -> dict[str, float]:
        """A figure of each room, as one of the gateways knows it, and not of one that ends: where a process has been
        killed, this may break as a caller's request may.
        """
        while True:
            with suppress(httpx.TransportError):
                page = await self.client.get("/metrics")
                if page.status_code == 200:
                    break
            await asyncio.sleep(0.05)
        head = f'dabt_room_{series}{{room="'
        rows = (line.removeprefix(head).split('"} ') for line in page.text.splitlines() if line.startswith(head))
        return {room: float(value) for room, value in rows}


def processes(title: str) -> list[psutil.Process]:
    """Of this test's own cluster: another may run on the machine."""
    return [each for each in psutil.Process().children(recursive=True) if title in command_of(each)]


def command_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    root = tmp_path_factory.mktemp("ray")
    house = make_house(root / "home", fake_base(root / "tiny"))
    for name in "abcdef":
        house.adapter(name)
        house.prod(name, adapter=name)
    keys = house.key("tests", role="admin"), house.key("limited", limits={"requests_per_minute": 8})
    redis, counting = shutil.which("redis-server"), None
    if redis is not None:
        LIMITS["limits_url"] = f"redis://127.0.0.1:{(at := free_port())}/0"
        counting = start_redis(redis, at, root)
    port = free_port()
    variables = {
        **of_a_cluster_here(),
        "PYTHONPATH": os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")]),
    }
    patch = pytest.MonkeyPatch()
    for name, value in variables.items():
        patch.setenv(name, value)
    import ray
    from ray import serve
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    try:
        cluster.add_node(wait=False, **SMALL, include_dashboard=False)
        cluster.add_node(wait=False, **SMALL, env_vars=SKEW if LIBRARY else {})
        cluster.wait_for_nodes(timeout=300)
        ray.init(cluster.address, log_to_driver=False)
        serve.start(http_options={"host": "127.0.0.1", "port": port}, proxy_location="HeadOnly")
        deploy(house, port)
        yield house, port, keys, cluster, {}
        serve.shutdown()
    finally:
        ray.shutdown()
        cluster.shutdown()
        patch.undo()
        LIMITS.clear()
        if counting is not None:
            counting.kill()
            counting.wait()
        house.registry.close()


@pytest.fixture
async def on_ray(here: Started) -> AsyncIterator[OnRay]:
    house, port, (key, limited), cluster, told = here
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=None, headers=key) as client:
        yield OnRay(house, port, client, limited, cluster, told)


async def under_load(
    on_ray: OnRay, meanwhile: Callable[[], Any], *, may_break: bool = False, **extra: object
) -> list[tuple[str, httpx.Response]]:
    """Answers of eight callers who ask on until `meanwhile` has been done, and once more. Their connections break only
    where that is expected.
    """
    done = asyncio.Event()
    answers: list[tuple[str, httpx.Response]] = []

    async def ask_on(at: int) -> None:
        last = False
        while not last:
            last = done.is_set()
            name = "abcd"[at % 4]
            try:
                answers.append((name, await on_ray.chat(name, **extra)))
            except httpx.TransportError:
                if not may_break:
                    raise
                await asyncio.sleep(0.05)  # where nobody listens it would ask on without a pause

    callers = [asyncio.create_task(ask_on(at)) for at in range(8)]
    try:
        await wait_until(lambda: len(answers) >= 8)
        await meanwhile()
    finally:
        done.set()
    await asyncio.gather(*callers)
    return answers


async def test_the_api_answers_through_both_tiers(on_ray: OnRay) -> None:
    ready = await on_ray.client.get("/ready")
    assert (ready.status_code, ready.json()["engine"]["engine"]) == (200, "fake")
    for name in "abcd":
        answer = await on_ray.chat(name)
        assert on_ray.right(name, answer)
        assert answer.headers["x-dabt-version"] == f"{name}:1"
    assert (await on_ray.chat("tiny")).json()["choices"][0]["message"]["content"].startswith("base ")
    unknown = await on_ray.chat("nobody")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")


async def test_a_stream_comes_token_by_token(on_ray: OnRay) -> None:
    body = {"model": "a", "messages": [{"role": "user", "content": "hi"}], "stream": True, "min_tokens": 100}
    async with on_ray.client.stream("POST", "/v1/chat/completions", json=body) as answer:
        events = [line async for line in answer.aiter_lines() if line.startswith("data: {")]
    assert len(events) == 100


async def test_the_first_token_comes_while_the_room_is_at_the_rest_and_a_caller_who_leaves_frees_it(
    on_ray: OnRay,
) -> None:
    body = {"model": "a", "messages": [{"role": "user", "content": "hi"}], "stream": True, "min_tokens": 4000}
    async with on_ray.client.stream("POST", "/v1/chat/completions", json=body) as answer:
        lines = answer.aiter_lines()
        assert (await anext(lines)).startswith("data: {")
        await wait_until(lambda: has_one(on_ray))  # for forty seconds it is
    await wait_until(lambda: all_idle(on_ray))


async def has_one(on_ray: OnRay) -> bool:
    return sum((await on_ray.rooms("busy")).values()) == 1


async def all_idle(on_ray: OnRay) -> bool:
    return not any((await on_ray.rooms("busy")).values())


async def test_a_promotion_reaches_all_gateways_and_no_answer_mixes_two(on_ray: OnRay) -> None:
    house = on_ray.house
    house.adapter("d-new")
    second = house.version("d", adapter="d-new")
    said = {"d:1": internal_name(house.adapters["d"]), "d:2": internal_name(house.adapters["d-new"])}
    house.registry.promote(second.ref, actor="test", reason="for the test", force=True)
    in_a_row = 0
    while in_a_row < 16:
        answer = await on_ray.chat("d")
        version = answer.json()["dabt"]["version"]
        assert answer.json()["choices"][0]["message"]["content"].split()[0] == said[version]
        in_a_row = in_a_row + 1 if version == "d:2" else 0
    house.registry.rollback("d", actor="test", reason="for the test")
    await wait_until(lambda: d_is_first(on_ray))


async def d_is_first(on_ray: OnRay) -> bool:
    answers = [await on_ray.chat("d") for _ in range(8)]
    return all(answer.json()["dabt"]["version"] == "d:1" for answer in answers)


async def test_a_keys_limit_is_one_over_all_gateways_whatever_their_clocks_say(on_ray: OnRay) -> None:
    if not LIMITS:
        pytest.skip("no redis-server: install Debian's package redis-server to run this")
    body = {"model": "a", "messages": [{"role": "user", "content": "hi"}]}
    asked = (on_ray.client.post("/v1/chat/completions", json=body, headers=on_ray.limited) for _ in range(32))
    statuses = [answer.status_code for answer in await asyncio.gather(*asked)]
    assert sorted(statuses) == [200] * 8 + [429] * 24


async def test_every_gateway_tells_of_a_canary_what_all_of_them_have_seen(on_ray: OnRay) -> None:
    house = on_ray.house
    house.adapter("c-new")
    bounds = CanaryBounds(max_error_rate=0.5)
    house.registry.amend_policy("c", "prod", lambda policy: TrafficPolicy(canary=bounds), actor="t", reason="t")
    house.registry.promote(house.version("c", adapter="c-new").ref, actor="t", reason="t", force=True, share=0.5)

    async def shared() -> bool:
        alias = (await on_ray.client.get("/admin/traffic/c")).json()["aliases"][0]
        return len(alias["targets"]) == 2

    await agreed(shared)
    answers = await asyncio.gather(*(on_ray.chat("c", user=f"user-{at}") for at in range(40)))
    met = [answer.json()["dabt"]["version"] for answer in answers].count("c:2")

    async def counted() -> bool:
        alias = (await on_ray.client.get("/admin/traffic/c")).json()["aliases"][0]
        return int(alias["figures"][0]["n"]) == met

    await agreed(counted)
    house.registry.rollback("c", actor="t", reason="t")

    async def rolled_back() -> bool:
        return not await shared()

    await agreed(rolled_back)


async def agreed(said: Callable[[], Awaitable[bool]]) -> None:
    """So many answers in a row that no gateway says otherwise."""
    in_a_row = 0
    while in_a_row < 16:
        told = await asyncio.gather(*(said() for _ in range(8)))
        in_a_row = in_a_row + 8 if all(told) else 0
        if not in_a_row:
            await asyncio.sleep(0.25)  # whatever starts meanwhile needs the processor


async def test_killing_a_nodes_raylet_takes_its_replicas_along_and_others_answer(on_ray: OnRay) -> None:
    """It stands before those that kill a replica: until then each node has some."""
    rooms = await two_rooms(on_ray)
    (node,) = on_ray.cluster.worker_nodes
    raylet = node.all_processes["raylet"][0].process
    there = [each for each in psutil.Process(raylet.pid).children() if "ray::ServeReplica:dabt" in command_of(each)]
    engines = [each for each in there if "engine-0" in command_of(each)]
    assert engines

    async def kill() -> None:
        raylet.kill()
        raylet.wait()  # Ray's processes take one that nobody has waited for to be alive
        await wait_until(lambda: all(map(is_gone, there)))
        await agreed(lambda: renewed(on_ray, rooms, len(engines)))
        await both("gateway")

    answers = await under_load(on_ray, kill, may_break=True, min_tokens=30)
    assert {answer.status_code for _, answer in answers} <= {200, 500, 502, 503}
    assert all(on_ray.right(name, answer) for name, answer in answers if answer.status_code == 200)
    await wait_until(lambda: all_idle(on_ray))
    # In no thread: a node's start sets handlers of signals.
    on_ray.cluster.remove_node(node, allow_graceful=False)
    on_ray.cluster.add_node(**SMALL, env_vars=SKEW if LIBRARY else {})


async def test_killing_an_engine_replica_under_load_loses_no_whole_answer(on_ray: OnRay) -> None:
    engines, rooms = await both("engine-0"), await two_rooms(on_ray)

    async def kill() -> None:
        await killed(engines[0])
        await agreed(lambda: renewed(on_ray, rooms, 1))

    answers = await under_load(on_ray, kill, min_tokens=30)
    assert {answer.status_code for _, answer in answers} == {200}
    assert all(on_ray.right(name, answer) for name, answer in answers)


async def killed(*processes: psutil.Process) -> None:
    for each in processes:
        os.kill(each.pid, signal.SIGKILL)
    await wait_until(lambda: all(map(is_gone, processes)))


def is_gone(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    return True


async def both(deployment: str) -> list[psutil.Process]:
    """Its two replicas, once there are no more and no fewer: Ray may be putting one in another's place."""
    title = f"ray::ServeReplica:dabt:{deployment}"
    await wait_until(lambda: len(processes(title)) == 2)
    return processes(title)


async def two_rooms(on_ray: OnRay) -> set[str]:
    """Their names, once a gateway has heard of both."""

    async def two() -> set[str] | None:
        rooms = set(await on_ray.rooms("capacity"))
        return rooms if len(rooms) == 2 else None

    return await wait_until(two)


async def renewed(on_ray: OnRay, before: set[str], gone: int) -> bool:
    """Whether a gateway knows two rooms, in the place of so many that were there `before`."""
    rooms = set(await on_ray.rooms("capacity"))
    return len(rooms) == 2 and len(rooms & before) <= 2 - gone


async def test_killing_a_gateway_under_load_gives_no_wrong_answer_and_frees_the_engines(on_ray: OnRay) -> None:
    """The errors are those that docs/guides/cluster.md has: a connection that breaks, or an error of the proxy."""
    gateways = await both("gateway")

    async def kill() -> None:
        os.kill(gateways[0].pid, signal.SIGKILL)
        await both("gateway")

    answers = await under_load(on_ray, kill, may_break=True, min_tokens=30)
    statuses = {answer.status_code for _, answer in answers}
    assert statuses <= {200, 500, 502, 503}
    assert all(on_ray.right(name, answer) for name, answer in answers if answer.status_code == 200)
    await wait_until(lambda: all_idle(on_ray))
    assert on_ray.right("a", await on_ray.chat("a"))


async def test_while_the_controller_is_gone_all_are_answered_and_what_dies_then_is_started_when_it_is_back(
    on_ray: OnRay,
) -> None:
    """An engine dies with it. Moves and pins are the registry's, so they are made meanwhile, and the new engine holds
    what is pinned.
    """
    house, rooms = on_ray.house, await two_rooms(on_ray)
    (controller,), engines = processes("ray::ServeController"), await both("engine-0")

    async def kill() -> None:
        await killed(controller, engines[0])
        for at in range(4):
            moved = {"ref": "a:1", "alias": f"meanwhile{at}", "reason": "for the test", "force": True}
            assert (await on_ray.client.post("/admin/promote", json=moved)).status_code == 200
        assert (await on_ray.client.post("/admin/pin", json={"ref": "a:1"})).status_code == 200
        await agreed(lambda: renewed(on_ray, rooms, 1))

    answers = await under_load(on_ray, kill, min_tokens=30)
    assert {answer.status_code for _, answer in answers} == {200}
    assert all(on_ray.right(name, answer) for name, answer in answers)
    assert {f"meanwhile{at}" for at in range(4)} <= {alias.alias for alias in house.registry.aliases("a")}
    await agreed(lambda: both_hold(on_ray, house.adapters["a"]))
    assert (await on_ray.client.post("/admin/unpin", json={"ref": "a:1"})).status_code == 200
    assert processes("ray::ServeController") != [controller]


async def both_hold(on_ray: OnRay, digest: str) -> bool:
    """Whether a gateway has heard of a pin in two rooms."""
    rows = (await on_ray.client.get("/admin/residency")).json()["adapters"]
    return [row["pinned"] for row in rows if row["digest"] == digest] == [True, True]


@pytest.mark.parametrize("title", ["haproxy -db", "ray::HAProxyManager"])
async def test_killing_the_proxy_breaks_connections_until_ray_has_another_and_no_longer(
    on_ray: OnRay, title: str
) -> None:
    """HAProxy, or the actor of Ray's that keeps it. Until the new one has heard of gateways, it knows no path."""
    if not processes(title):
        pytest.skip("no HAProxy: it comes with the extra `ray` on Linux")

    async def kill() -> None:
        proxies = processes("haproxy -db")
        await killed(*processes(title))
        await wait_until(lambda: all(map(is_gone, proxies)))  # Ray ends them with their actor, and a moment later
        await wait_until(lambda: proxy_is_well(on_ray))

    answers = await under_load(on_ray, kill, may_break=True, min_tokens=30)
    unknown = [answer.text for _, answer in answers if answer.status_code == 404]
    assert all("Ping http://.../-/routes" in text for text in unknown)
    assert {answer.status_code for _, answer in answers} <= {200, 404, 500, 502, 503}
    assert all(on_ray.right(name, answer) for name, answer in answers if answer.status_code == 200)
    for name, answer in zip("abcd", await asyncio.gather(*(on_ray.chat(name) for name in "abcd")), strict=True):
        assert on_ray.right(name, answer)
    await wait_until(lambda: all_idle(on_ray))


async def proxy_is_well(on_ray: OnRay) -> bool:
    with suppress(httpx.TransportError):
        return (await on_ray.client.get("/-/healthz")).status_code == 200
    return False


async def test_an_evaluation_over_many_engines_is_that_of_one_though_one_of_them_is_killed(
    on_ray: OnRay, tmp_path: Path
) -> None:
    house, killed, rooms = on_ray.house, [], await two_rooms(on_ray)

    def kill() -> None:
        engine = processes("ray::ServeReplica:dabt:engine-0")[0]
        killed.append(engine.pid)
        os.kill(engine.pid, signal.SIGKILL)

    url = f"{on_ray.client.base_url}/v1"
    key = on_ray.client.headers["authorization"].removeprefix("Bearer ")
    many = await asyncio.to_thread(evaluated, house, tmp_path / "many", url, kill, key)
    assert len(killed) == 1
    assert (many["items"], many["errors"]) == (60, [0, 0, 0])
    assert set(many["pairs"]) == {60}
    assert len(many["answers"]) == 60
    with one_engine(house) as alone:
        assert await asyncio.to_thread(evaluated, house, tmp_path / "one", alone, lambda: None, key) == many
    assert len({str(answers) for answers in many["answers"].values()}) > 1
    await agreed(lambda: renewed(on_ray, rooms, 1))


async def test_a_stream_whose_engine_is_killed_ends_with_an_error_that_says_so(on_ray: OnRay) -> None:
    body = {"model": "b", "messages": [{"role": "user", "content": "hi"}], "stream": True, "min_tokens": 4000}
    events, rooms = [], await two_rooms(on_ray)
    async with on_ray.client.stream("POST", "/v1/chat/completions", json=body) as answer:
        async for line in answer.aiter_lines():
            if line.startswith("data: {"):
                events.append(json.loads(line[6:]))
                if len(events) == 1:
                    for each in processes("ray::ServeReplica:dabt:engine-0"):
                        os.kill(each.pid, signal.SIGKILL)
    assert events[-1]["error"]["code"] == "engine_dead"
    assert "in the middle of this answer" in events[-1]["error"]["message"]
    await agreed(lambda: renewed(on_ray, rooms, 2))
    assert on_ray.right("b", await on_ray.chat("b"))


async def test_a_rolling_update_loses_no_request(on_ray: OnRay) -> None:
    before = await two_rooms(on_ray)

    async def update() -> None:
        await on_ray.run(step_seconds=STEP / 2)
        # Not of every gateway: callers who ask on keep those that are to go.
        await wait_until(lambda: renewed(on_ray, before, 2))

    answers = await under_load(on_ray, update, min_tokens=30)
    assert {answer.status_code for _, answer in answers} == {200}
    assert all(on_ray.right(name, answer) for name, answer in answers)


async def test_a_worker_takes_jobs_where_ray_has_room_for_it_and_one_that_is_killed_is_followed_by_another(
    on_ray: OnRay,
) -> None:
    registry = on_ray.house.registry
    assert processes("ray::ServeReplica:dabt:worker-0") == [], "there was no job yet"

    async def refused() -> bool:
        """A job whose file is gone is a worker's to refuse, and costs no training."""
        request = JobRequest(model="tiny", training_file="file-gone", seed=3)
        job = Job(
            id=new_id("ftjob-"), owner="amal", state=JobState.VALIDATING, base=on_ray.house.base_digest, name="triage",
            request=request, created_at=datetime.now(UTC),
        )  # fmt: skip
        registry.jobs.create(job, asked=job.id, actor="amal")
        await wait_until(lambda: registry.jobs.get(job.id, None).state is JobState.FAILED)
        return True

    assert await refused()
    title = "ray::ServeReplica:dabt:worker-0"
    await wait_until(lambda: [len(workers_of(replica)) for replica in processes(title)] == [1])
    (replica,) = processes(title)
    (worker,) = workers_of(replica)
    os.kill(replica.pid, signal.SIGKILL)
    await wait_until(lambda: is_gone(worker))
    assert await refused()


def workers_of(replica: psutil.Process) -> list[psutil.Process]:
    """None while Ray puts another replica in its place."""
    with suppress(psutil.NoSuchProcess):
        return [each for each in replica.children() if "worker" in command_of(each).split()]
    return []


async def test_a_replica_comes_for_adapters_that_memory_has_no_place_for_and_leaves_when_they_are_not_called(
    on_ray: OnRay,
) -> None:
    """A replica has four places, and its queue asks for no other."""
    before, many, done = await two_rooms(on_ray), asyncio.Event(), asyncio.Event()
    answers: list[tuple[str, httpx.Response]] = []
    await on_ray.run(**AS_ASKED_FOR)

    async def ask_on(name: str, until: asyncio.Event) -> None:
        while not until.is_set():
            answers.append((name, await on_ray.chat(name)))

    async def of_these(count: int) -> bool:
        rooms = set(await on_ray.rooms("capacity"))
        return len(rooms) == count and not rooms & before

    async with asyncio.TaskGroup() as callers:
        for name in "ab":
            callers.create_task(ask_on(name, done))
        await agreed(lambda: of_these(1))
        for name in "cdef":
            callers.create_task(ask_on(name, many))
        await agreed(lambda: of_these(2))
        many.set()
        await agreed(lambda: of_these(1))
        done.set()
    assert {answer.status_code for _, answer in answers} == {200}
    assert all(on_ray.right(name, answer) for name, answer in answers)
    assert {name for name, _ in answers} == {*"abcdef"}


async def test_a_base_that_nobody_asks_for_is_let_go_and_comes_back(on_ray: OnRay) -> None:
    """And so are the workers of a queue without jobs."""
    await on_ray.run(**AS_ASKED_FOR)
    await wait_until(lambda: no_room(on_ray))
    await wait_until(lambda: not processes("ray::ServeReplica:dabt:worker-0"))
    answer = await on_ray.chat("a")
    assert on_ray.right("a", answer)


async def no_room(on_ray: OnRay) -> bool:
    return not await on_ray.rooms("capacity")
