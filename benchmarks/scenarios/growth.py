"""How the cost of a request grows with what a service has to hold or to do: versions, keys, adapters, ranks, and more.

Each size is measured by turns with all others of its kind, so that what slows the machine for a while slows all of
them. A line of the table is the largest size over the smallest; how the cost grows in between follows from all sizes.
"""

from __future__ import annotations

import json
import math
import shutil
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import count, islice
from pathlib import Path
from statistics import median

from benchmarks import adapters, load
from benchmarks.figures import Figure, ratio
from benchmarks.homes import stocked
from benchmarks.load import Ask
from benchmarks.plan import Plan, asks, by_turns
from benchmarks.servers import BASE, Server, ours
from lifecycle.access.keys import KeyGrant, Role
from lifecycle.home import Home
from lifecycle.manifests import AdapterManifest
from lifecycle.models.base import fingerprint, read_object
from lifecycle.models.preflight import preflight
from lifecycle.registry import Registry
from lifecycle.store.artifacts import ArtifactStore
from lifecycle.version import Decoding, VersionSpec

NAME = "growth"
VERSIONS = (10, 100, 1_000, 10_000)
KEYS = (1, 50, 500, 5_000)
IN_MEMORY = (8, 64, 256, 1_000)
RANKS = (8, 32, 128, 256)
PROMPTS = (64, 256, 1_024, 4_096, 8_000)
STREAMS = (1, 8, 64, 256, 1_000)
_ACTOR = "benchmark"
_SAID = "صداع a word of it. "
"""A prompt is so many of these."""
_FLAT = 1.25
"""The largest size costs at most so many times the smallest."""
_LINEAR = 0.8, 1.2
"""Powers of the size."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Of one size, a figure for each round. The unit is the same for all sizes of a kind."""

    size: int
    rounds: Sequence[float]


def measure(plan: Plan) -> list[Figure]:
    kinds: dict[str, Callable[[Plan], list[Costs]]] = {
        "versions: first token": _versions,
        "API keys: first token": _keys,
        "adapters in memory: a token of eight of them": _in_memory,
        "rank: a token of four adapters, over the base's": _ranks,
        "prompt tokens: first token": _prompts,
        "streams: a token": _streams,
    }
    found = {what: cost(plan) for what, cost in kinds.items()}
    plot(found, plan.work / f"growth-{plan.size}.svg")
    return [figure for what, costs in found.items() for figure in _figures(plan, what, costs)]


def growth(costs: Mapping[int, float]) -> str:
    """In a word or two: `flat`, or the power of the size that the cost follows.

    The power is that of the line through the logarithms (least squares).
    """
    sizes, spent = list(costs), list(costs.values())
    if spent[-1] <= _FLAT * spent[0]:
        return "flat" if spent[-1] * _FLAT >= spent[0] else "falls"
    across, up = [math.log(size) for size in sizes], [math.log(cost) for cost in spent]
    middle, height = sum(across) / len(across), sum(up) / len(up)
    power = sum((x - middle) * (y - height) for x, y in zip(across, up, strict=True)) / sum(
        (x - middle) ** 2 for x in across
    )
    named = "less than linear" if power < _LINEAR[0] else "linear" if power <= _LINEAR[1] else "more than linear"
    return f"{named}, size^{power:.2f}"


def plot(found: Mapping[str, Sequence[Costs]], file: Path) -> None:
    """Cost over that of the smallest size, both axes logarithmic; the file's ending says in which form."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = NAME  # the same figures are the same file
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
    for what, costs in found.items():
        first = median(costs[0].rounds)
        line = [median(each.rounds) / first for each in costs]
        axes.plot([each.size for each in costs], line, marker="o", label=what)
    axes.set(xscale="log", yscale="log", xlabel="size", ylabel="cost, over that of the smallest size")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(file, dpi=120, metadata={"Date": None} if file.suffix == ".svg" else None)
    pyplot.close(figure)


def _sizes(plan: Plan, sizes: Sequence[int]) -> Sequence[int]:
    """In a quick run the smallest, one between and the largest: each size has a server of its own, as a rule."""
    return [sizes[0], sizes[len(sizes) // 2], sizes[-1]] if plan.quick else sizes


def _figures(plan: Plan, what: str, costs: Sequence[Costs]) -> list[Figure]:
    kind, _, cost = what.partition(": ")
    between = growth({each.size: median(each.rounds) for each in costs})
    scenario = plan.label(f"{NAME}, {kind} {costs[0].size:,} → {costs[-1].size:,}")
    steps = ", ".join(f"{each.size:,}: {median(each.rounds) / median(costs[0].rounds):.2f}" for each in costs[1:])
    return [ratio(scenario, cost, costs[-1].rounds, costs[0].rounds, note=f"{between} ({steps})")]


# ---- what is measured


def _versions(plan: Plan) -> list[Costs]:
    return _by_home(plan, _sizes(plan, VERSIONS), _with_versions, "triage")


def _keys(plan: Plan) -> list[Costs]:
    return _by_home(plan, _sizes(plan, KEYS), _with_keys, BASE)


def _by_home(
    plan: Plan, sizes: Sequence[int], make: Callable[[Plan, int], tuple[Path, str]], model: str
) -> list[Costs]:
    """First tokens of a server for each size, all of them up at a time."""
    homes = [make(plan, size) for size in sizes]
    config = plan.config().model_copy(update={"kv_cache_gib": 0.25})
    with ExitStack() as up:
        servers = [up.enter_context(Server(ours(config, home), plan.logs)) for home, _ in homes]
        work = asks([model], plan.count(64), 2)
        cost = [partial(_first, server, work, 4, key) for server, (_, key) in zip(servers, homes, strict=True)]
        for each in cost:
            each()
        return [Costs(size, spent) for size, spent in zip(sizes, by_turns(plan.rounds, *cost), strict=True)]


def _in_memory(plan: Plan) -> list[Costs]:
    sizes = _sizes(plan, IN_MEMORY)
    house = stocked(plan.base, sizes[-1], plan.work, golden=False)  # what loading costs is not measured here
    work = asks(house.first(8), plan.count(128), 32)
    with ExitStack() as up:
        cost = []
        for size in sizes:
            config = plan.config(in_memory=size).model_copy(update={"kv_cache_gib": 0.25})
            server = up.enter_context(Server(ours(config, house.home.root), plan.logs))
            load.run(server.url, [Ask(name, "hello", 1) for name in reversed(house.first(size))], 8)
            cost.append(partial(_token, server, work, 16))
        return [Costs(size, spent) for size, spent in zip(sizes, by_turns(plan.rounds, *cost), strict=True)]


def _ranks(plan: Plan) -> list[Costs]:
    """On one server, from the smallest rank to the largest: its slots grow with what they hold, and never shrink."""
    home, names = _with_ranks(plan)
    config = plan.config().model_copy(update={"max_lora_rank": RANKS[-1], "kv_cache_gib": 0.25})
    found = []
    with Server(ours(config, home), plan.logs) as server:
        for rank in _sizes(plan, RANKS):
            work, base = asks(names[rank], plan.count(128), 32), asks([BASE], plan.count(128), 32)
            cost = partial(_token, server, work, 16), partial(_token, server, base, 16)
            cost[0]()
            mine, plain = by_turns(plan.rounds, *cost)
            found.append(Costs(rank, [each / other for each, other in zip(mine, plain, strict=True)]))
    return found


def _prompts(plan: Plan) -> list[Costs]:
    longest = int(read_object(plan.base / "config.json").get("max_position_embeddings", 0)) - 64
    sizes = _sizes(plan, [size for size in PROMPTS if size <= longest])
    home = plan.work / "homes" / "empty"
    with Server(ours(plan.config(), home), plan.logs) as server:
        few, many = _tokens(server, _SAID), _tokens(server, _SAID * 101)
        cost = []
        for size in sizes:
            said = _SAID * max(1, round((size - few) * 100 / (many - few)))
            # Every prompt is another from its first word on, so that none finds its beginning in the cache.
            prompts = (Ask(BASE, f"{number} {said}", 1) for number in count())
            cost.append(partial(_unheard, server, prompts, plan.count(16)))
        return [Costs(size, spent) for size, spent in zip(sizes, by_turns(plan.rounds, *cost), strict=True)]


def _streams(plan: Plan) -> list[Costs]:
    home, sizes = plan.work / "homes" / "empty", _sizes(plan, STREAMS)
    with Server(ours(plan.config(), home), plan.logs) as server:
        cost = [
            partial(_token, server, asks([BASE], max(size, plan.count(min(4 * size, 256))), 16), size) for size in sizes
        ]
        return [Costs(size, spent) for size, spent in zip(sizes, by_turns(plan.rounds, *cost), strict=True)]


def _first(server: Server, work: Sequence[Ask], concurrent: int, key: str = "") -> float:
    """Seconds to the first token, the median."""
    return _whole(load.run(server.url, work, concurrent, key)).first_token(0.5)


def _unheard(server: Server, prompts: Iterator[Ask], number: int) -> float:
    return _first(server, list(islice(prompts, number)), 1)


def _tokens(server: Server, text: str) -> int:
    body = json.dumps({"model": BASE, "messages": [{"role": "user", "content": text}]}).encode()
    asked = urllib.request.Request(f"{server.url}/tokenize", body, {"content-type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(asked, timeout=60) as answer:  # noqa: S310  (loopback)
        return int(json.load(answer)["count"])


def _token(server: Server, work: Sequence[Ask], concurrent: int) -> float:
    """Seconds of the whole server for one token."""
    return 1 / _whole(load.run(server.url, work, concurrent)).throughput


def _whole(run: load.Run) -> load.Run:
    if run.failed:
        raise RuntimeError(f"{len(run.failed)} of {len(run.told)} requests failed: {run.failed[0].error[:200]}")
    return run


# ---- homes of each size, made once


def _home(plan: Plan, kind: str, size: int, fill: Callable[[Home, Registry], object]) -> Path:
    root = plan.work / "homes" / f"{plan.base.name}-{size}-{kind}"
    home = Home(root=root, registry_url=f"sqlite:///{root / 'registry.db'}", artifacts_url=str(root / "artifacts"))
    if not (root / "made").is_file():
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        with Registry.open(home.registry_url) as registry:
            fill(home, registry)
        (root / "made").touch()
    return root


def _with_versions(plan: Plan, size: int) -> tuple[Path, str]:
    base = fingerprint(plan.base).digest

    def fill(_: Home, registry: Registry) -> None:
        for at in range(size):
            spec = VersionSpec(base=base, decoding=Decoding(temperature=at / size))
            version = registry.create_version("triage" if at < size // 2 else f"task-{at % 100}", spec, actor=_ACTOR)
        registry.promote("triage:1", actor=_ACTOR, reason="to be measured", force=True)
        assert version

    return _home(plan, "versions", size, fill), ""


def _with_keys(plan: Plan, size: int) -> tuple[Path, str]:
    def fill(home: Home, registry: Registry) -> None:
        for at in range(size):
            _, secret = registry.keys.create(KeyGrant(name=f"key-{at}", role=Role.CALLER), actor=_ACTOR)
        (home.root / "secret").write_text(secret, encoding="ascii")

    root = _home(plan, "keys", size, fill)
    return root, (root / "secret").read_text(encoding="ascii")


def _with_ranks(plan: Plan) -> tuple[Path, dict[int, list[str]]]:
    names = {rank: [f"r{rank}-{number}" for number in range(4)] for rank in RANKS}

    def fill(home: Home, registry: Registry) -> None:
        store = ArtifactStore(home.artifacts_url, home.cache)
        for rank, of_rank in names.items():
            for number, name in enumerate(of_rank):
                folder = home.root / "new"
                adapters.write(plan.base, folder, seed=number, rank=rank)
                facts = preflight(folder, plan.base)
                manifest = AdapterManifest(
                    digest=store.put(folder),
                    base=fingerprint(plan.base).digest,
                    base_name=plan.base.name,
                    created_at=datetime.now(UTC),
                    **facts.model_dump(exclude={"base_name"}),
                )
                shutil.rmtree(folder)
                registry.add_artifact(manifest, actor=_ACTOR)
                spec = VersionSpec(base=manifest.base, adapter=manifest.digest)
                version = registry.create_version(name, spec, actor=_ACTOR)
                registry.promote(version.ref, actor=_ACTOR, reason="to be measured", force=True)

    return _home(plan, "ranks", RANKS[-1], fill), names
