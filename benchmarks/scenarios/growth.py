"""How the cost of a request grows with what a service has to hold or to do: versions, keys, adapters, ranks, and more.

One server grows through all sizes of a kind. What it costs is told over something that does not grow and is measured by
turns with it: a second server, or the base on the same one. So what slows the machine for a while slows both. A line of
the table is the largest size over the smallest; how the cost grows in between follows from all sizes.
"""

from __future__ import annotations

import json
import math
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import count, islice
from pathlib import Path
from statistics import median

from benchmarks import adapters, bases, load
from benchmarks.figures import Figure, ratio
from benchmarks.homes import stocked
from benchmarks.load import Ask
from benchmarks.plan import Plan, asks, by_turns
from benchmarks.servers import BASE, Server, ours
from lifecycle.access.keys import KeyGrant, Role
from lifecycle.home import Home
from lifecycle.manifests import AdapterManifest
from lifecycle.models.base import fingerprint
from lifecycle.models.preflight import preflight
from lifecycle.registry import Registry
from lifecycle.store.artifacts import ArtifactStore
from lifecycle.version import Decoding, Digest, VersionSpec

NAME = "growth"
VERSIONS = (10, 100, 1_000, 10_000)
KEYS = (1, 50, 500, 5_000)
IN_MEMORY = (8, 64, 256, 1_000)
RANKS = (8, 32, 128, 256)
PROMPTS = (64, 256, 1_024, 4_096, 8_000)
STREAMS = (1, 8, 64, 256, 1_000)
_ACTOR = "benchmark"
_ROOM = 192
"""Tokens that a base takes beyond the longest prompt."""
_NUMBERS = count()
_CATCH_UP = 60.0
"""Seconds within which a server must know what was written."""
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
    found: dict[str, list[Costs]] = {}
    for kinds in (_registry, _in_memory, _ranks, _prompts_and_streams):
        found |= kinds(plan)
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
    """In a quick run the smallest, one between and the largest."""
    return [sizes[0], sizes[len(sizes) // 2], sizes[-1]] if plan.quick else sizes


def _figures(plan: Plan, what: str, costs: Sequence[Costs]) -> list[Figure]:
    kind, _, cost = what.partition(": ")
    between = growth({each.size: median(each.rounds) for each in costs})
    scenario = plan.label(f"{NAME}, {kind} {costs[0].size:,} → {costs[-1].size:,}")
    steps = ", ".join(f"{each.size:,}: {median(each.rounds) / median(costs[0].rounds):.2f}" for each in costs[1:])
    return [ratio(scenario, cost, costs[-1].rounds, costs[0].rounds, note=f"{between} ({steps})")]


# ---- what is measured


def _registry(plan: Plan) -> dict[str, list[Costs]]:
    """API keys, and then versions beside all of them, over a server that has the fewest of both."""
    config = plan.config().model_copy(update={"kv_cache_gib": 0.25})
    small, grows = _Grown.made(plan, "small"), _Grown.made(plan, "grows")
    with (
        Server(ours(config, small.home.root), plan.logs) as beside,
        Server(ours(config, grows.home.root), plan.logs) as up,
    ):
        kinds = ("API keys: first token", KEYS, grows.keys), ("versions: first token", VERSIONS, grows.versions)
        found: dict[str, list[Costs]] = {}
        work = asks(["triage"], plan.count(64), 2)
        for what, sizes, grow in kinds:
            found[what] = []
            for size in _sizes(plan, sizes):
                grow(size)
                grows.wait_for(up)
                cost = partial(_first, up, work, 4, grows.secret), partial(_first, beside, work, 4, small.secret)
                cost[0]()
                found[what].append(Costs(size, _over(plan, *cost)))
        return found


def _in_memory(plan: Plan) -> dict[str, list[Costs]]:
    """On one server, whose memory fills."""
    sizes = _sizes(plan, IN_MEMORY)
    house = stocked(plan.base, sizes[-1], plan.work, golden=False)  # what loading costs is not measured here
    config = plan.config(in_memory=sizes[-1]).model_copy(update={"kv_cache_gib": 0.25})
    work, base = (asks(models, plan.count(64), 32) for models in (house.first(8), [BASE]))
    found = []
    with Server(ours(config, house.home.root), plan.logs) as server:
        for size in sizes:
            load.run(server.url, [Ask(name, "hello", 1) for name in reversed(house.first(size))], 8)
            cost = partial(_token, server, work, 16), partial(_token, server, base, 16)
            cost[0]()
            found.append(Costs(size, _over(plan, *cost)))
    return {"adapters in memory: a token of eight of them": found}


def _ranks(plan: Plan) -> dict[str, list[Costs]]:
    """On one server, from the smallest rank to the largest: its slots grow with what they hold, and never shrink."""
    home, names = _with_ranks(plan)
    config = plan.config().model_copy(update={"max_lora_rank": RANKS[-1], "kv_cache_gib": 0.25})
    found = []
    with Server(ours(config, home), plan.logs) as server:
        for rank in _sizes(plan, RANKS):
            work, base = asks(names[rank], plan.count(64), 32), asks([BASE], plan.count(64), 32)
            cost = partial(_token, server, work, 16), partial(_token, server, base, 16)
            cost[0]()
            found.append(Costs(rank, _over(plan, *cost)))
    return {"rank: a token of four adapters, over the base's": found}


def _prompts_and_streams(plan: Plan) -> dict[str, list[Costs]]:
    """Of the base, each size by turns with all others of its kind."""
    base = bases.long(plan.base, plan.work, PROMPTS[-1] + _ROOM)
    with Server(ours(replace(plan, base=base).config(), plan.work / "homes" / "empty"), plan.logs) as server:
        few, many = _tokens(server, _SAID), _tokens(server, _SAID * 101)
        prompts, streams = _sizes(plan, PROMPTS), _sizes(plan, STREAMS)
        first, each = [], []
        for size in prompts:
            said = _SAID * max(1, round((size - few) * 100 / (many - few)))
            first.append(partial(_first_of, server, unheard(said), 4))
        for size in streams:
            each.append(partial(_token, server, asks([BASE], max(size, min(4 * size, 64)), 16), size))
        return {
            "prompt tokens: first token": _costs(prompts, by_turns(plan.rounds, *first)),
            "streams: a token": _costs(streams, by_turns(plan.rounds, *each)),
        }


def _costs(sizes: Sequence[int], spent: Sequence[Sequence[float]]) -> list[Costs]:
    return [Costs(size, rounds) for size, rounds in zip(sizes, spent, strict=True)]


def _over(plan: Plan, cost: Callable[[], float], other: Callable[[], float]) -> list[float]:
    """What the one costs over the other, by round."""
    mine, theirs = by_turns(plan.rounds, cost, other)
    return [each / beside for each, beside in zip(mine, theirs, strict=True)]


def _first(server: Server, work: Sequence[Ask], concurrent: int, key: str = "") -> float:
    """Seconds to the first token, the median."""
    return _whole(load.run(server.url, work, concurrent, key)).first_token(0.5)


def unheard(said: str) -> Iterator[Ask]:
    """Prompts each of which is another from its first word on, so that none finds its beginning in the cache."""
    while True:
        yield Ask(BASE, f"{next(_NUMBERS)} {said}", 1)


def _first_of(server: Server, prompts: Iterator[Ask], number: int) -> float:
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


# ---- homes


@dataclass
class _Grown:
    """A registry that is written while a server reads it."""

    home: Home
    base: Digest
    secret: str = ""
    """Of the newest API key."""
    has_keys: int = 0
    has_versions: int = 0

    @staticmethod
    def made(plan: Plan, kind: str) -> _Grown:
        """With the fewest keys and versions."""
        grown = _Grown(_fresh(plan.work / "homes" / f"{plan.base.name}-{kind}"), fingerprint(plan.base).digest)
        grown.keys(KEYS[0])
        grown.versions(VERSIONS[0])
        with Registry.open(grown.home.registry_url) as registry:
            registry.promote("triage:1", actor=_ACTOR, reason="to be measured", force=True)
        return grown

    def keys(self, size: int) -> None:
        with Registry.open(self.home.registry_url) as registry:
            for at in range(self.has_keys, size):
                _, self.secret = registry.keys.create(KeyGrant(name=f"key-{at}", role=Role.CALLER), actor=_ACTOR)
        self.has_keys = size

    def versions(self, size: int) -> None:
        """Half of them of the name that is asked."""
        with Registry.open(self.home.registry_url) as registry:
            for at in range(self.has_versions, size):
                spec = VersionSpec(base=self.base, decoding=Decoding(temperature=at / VERSIONS[-1]))
                name = "triage" if at % 2 == 0 else f"task-{at % 100}"
                registry.create_version(name, spec, actor=_ACTOR)
        self.has_versions = size

    def wait_for(self, server: Server) -> None:
        """Until the server knows the newest key and the newest version of the name."""
        newest = f"{server.url}/v1/models/triage:{(self.has_versions + 1) // 2}"
        asked = urllib.request.Request(newest, headers={"Authorization": f"Bearer {self.secret}"})  # noqa: S310
        until = time.monotonic() + _CATCH_UP
        while True:
            try:
                with urllib.request.urlopen(asked, timeout=60):  # noqa: S310  (loopback)
                    return
            except urllib.error.HTTPError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)


def _fresh(root: Path) -> Home:
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    return Home(root=root, registry_url=f"sqlite:///{root / 'registry.db'}", artifacts_url=str(root / "artifacts"))


def _with_ranks(plan: Plan) -> tuple[Path, dict[int, list[str]]]:
    """Four adapters of each rank; made once."""
    names = {rank: [f"r{rank}-{number}" for number in range(4)] for rank in RANKS}
    root = plan.work / "homes" / f"{plan.base.name}-ranks"
    if (root / "made").is_file():
        return root, names
    home = _fresh(root)
    store = ArtifactStore(home.artifacts_url, home.cache)
    with Registry.open(home.registry_url) as registry:
        for rank, of_rank in names.items():
            for number, name in enumerate(of_rank):
                folder = home.root / "new"
                adapters.write(plan.base, folder, seed=number, rank=rank)
                facts = preflight(folder, plan.base, max_rank=rank)
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
    (root / "made").touch()
    return root, names
