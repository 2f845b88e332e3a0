"""An alias is moved twenty times under load: nobody fails, and each is answered by the version that it pointed at.

The moves come from another process than the service, as `dabt promote` does. Every answer names the registry's
revision by which its version was chosen; the moves' own revisions say which version that had to be. The tokens say
whether it was that version that answered.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks import load
from benchmarks.answers import alone
from benchmarks.figures import Bar, Figure
from benchmarks.homes import Stocked, stocked
from benchmarks.load import Ask, Run, Told
from benchmarks.plan import Plan, asks
from benchmarks.servers import Server, ours
from lifecycle.registry import Registry
from lifecycle.version import VersionSpec
from service.request_context import REVISION_HEADER, VERSION_HEADER

NAME = "moves"
_ALIAS, _VERSIONS, _MOVES = "moving", 4, 20
_REQUESTS, _CONCURRENT, _TOKENS, _MESSAGES = 2000, 32, 16, 8


@dataclass(frozen=True)
class Move:
    """From this revision of the registry on, the alias points at this version."""

    revision: int
    version: str


def measure(plan: Plan) -> list[Figure]:
    house = stocked(plan.base, 8, plan.work)
    work = asks([_ALIAS], plan.count(_REQUESTS), _TOKENS, _MESSAGES)
    with house.registry() as registry:
        versions = _versions(house, registry)
        moves = [_point_at(registry, versions[0])]
        with Server(ours(plan.config(), house.home.root), plan.logs) as dabt:
            right = alone(dabt.url, [_by_version(version, ask) for version in versions for ask in work])
            load.run(dabt.url, work[: plan.count(200)], _CONCURRENT)
            run = asyncio.run(_moved_under_load(dabt.url, work, registry, versions, moves))
    wrong = [one for one in run.told if not one.error and not _as_it_was(one, moves)]
    unlike = [
        one
        for one in run.told
        if not one.error and one.tokens != right[_by_version(one.headers[VERSION_HEADER], one.ask)]
    ]
    answered_by = {one.headers.get(VERSION_HEADER) for one in run.told}
    scenario = plan.label(f"{NAME}: {len(run.told)} requests, {len(moves) - 1} moves")
    return [
        Figure(scenario, "requests failed", (float(len(run.failed)),), bar=Bar(at_most=0)),
        Figure(scenario, "not the alias's version", (float(len(wrong)),), bar=Bar(at_most=0)),
        Figure(scenario, "not that version's tokens", (float(len(unlike)),), bar=Bar(at_most=0)),
        Figure(scenario, "versions that answered", (float(len(answered_by)),), bar=Bar(at_least=len(versions))),
    ]


async def _moved_under_load(
    url: str, work: Sequence[Ask], registry: Registry, versions: Sequence[str], moves: list[Move]
) -> Run:
    """The load, with the moves spread over the requests."""
    every = len(work) // (_MOVES + 1)
    due = asyncio.Semaphore(0)
    begun = 0

    def begins() -> None:
        nonlocal begun
        begun += 1
        if begun % every == 0:
            due.release()

    async def moving() -> None:
        for number in range(1, _MOVES + 1):
            await due.acquire()
            moves.append(await asyncio.to_thread(_point_at, registry, versions[number % len(versions)]))

    run, _ = await asyncio.gather(load.drive(url, work, _CONCURRENT, begins), moving())
    return run


def _versions(house: Stocked, registry: Registry) -> list[str]:
    """Refs of the alias's versions, each with an adapter of its own."""
    digests, base = house.digests(), registry.version(house.first(1)[0] + ":1").spec.base
    specs = [VersionSpec(base=base, adapter=digests[name]) for name in house.first(_VERSIONS)]
    made = [registry.create_version(_ALIAS, spec, actor="benchmark") for spec in specs]
    for version in made:
        # An alias of its own that stays: what it answers alone is asked for by that.
        registry.promote(version.ref, actor="benchmark", reason="to be compared", alias=_own(version.ref), force=True)
    return [version.ref for version in made]


def _point_at(registry: Registry, version: str) -> Move:
    registry.promote(version, actor="benchmark", reason="moved under load", force=True)
    return Move(registry.revision(), version)


def _as_it_was(one: Told, moves: Sequence[Move]) -> bool:
    """Whether the version that answered is the one that the alias had at the revision that the answer names."""
    at = bisect_right([move.revision for move in moves], int(one.headers[REVISION_HEADER])) - 1
    return at >= 0 and one.headers[VERSION_HEADER] == moves[at].version


def _by_version(version: str, ask: Ask) -> Ask:
    return Ask(f"{_ALIAS}:{_own(version)}", ask.text, ask.tokens)


def _own(version: str) -> str:
    return "v" + version.rpartition(":")[2]
