"""The first token from an adapter whose files are on this disk, beside that from one that is loaded."""

from __future__ import annotations

from benchmarks import load
from benchmarks.figures import Bar, Figure
from benchmarks.homes import stocked
from benchmarks.load import Ask
from benchmarks.plan import Plan, asks
from benchmarks.servers import BASE, Server, ours

NAME = "cold"
_ADAPTERS = 1000
_LOADED, _PARTS = "adapter loaded", ("fetch", "room", "load", "verify")
"""What the service logs of each, and the parts whose seconds it names: from the store, a free place, in the engine, the
golden prompts."""
_AFTER = 8
"""Loaded before anything is measured."""


def measure(plan: Plan) -> list[Figure]:
    """A round is one adapter: asked for twice on an idle server, first not loaded and then loaded."""
    house = stocked(plan.base, _ADAPTERS, plan.work)
    names = house.first(_AFTER + plan.count(64))
    with Server(ours(plan.config(), house.home.root), plan.logs) as dabt:
        load.run(dabt.url, asks([BASE, *names[:_AFTER]], 64, 16), 16)
        before = len(dabt.logged(_LOADED))
        pairs = [(_first_token(dabt, name), _first_token(dabt, name)) for name in names[_AFTER:]]
        parts = dabt.logged(_LOADED)[before:]
    extra = tuple(1000 * (cold - warm) for cold, warm in pairs)
    warm = tuple(1000 * warm for _, warm in pairs)
    scenario = plan.label(f"{NAME}: from local disk")
    return [
        Figure(scenario, "TTFT of a loaded adapter", warm, "ms"),
        Figure(scenario, "TTFT over that when not loaded", extra, "ms", Bar(at_most=150)),
        Figure(scenario, "the slowest of them", (max(extra),), "ms", Bar(at_most=150)),
        *(
            Figure(scenario, f"of which {part}", tuple(1000 * one[f"{part}_seconds"] for one in parts), "ms")
            for part in _PARTS
        ),
    ]


def _first_token(server: Server, name: str) -> float:
    told = load.run(server.url, [Ask(name, "صداع منذ يومين. What now?", 4)], 1).told[0]
    if told.first is None:
        raise RuntimeError(f"{name} gave no token: {told.error}")
    return told.first
