"""From the start of the process to the first answer that says ready, one server at a time on an idle machine.

The first start of ours on a machine compiles and looks into the model; it is shown apart, with every cache empty.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from benchmarks.figures import Bar, Figure, ratio
from benchmarks.plan import Plan, by_turns
from benchmarks.servers import Recipe, Server, ours, stock

NAME = "start"
_CACHES = ("VLLM_CACHE_ROOT", "NUMBA_CACHE_DIR", "XDG_CACHE_HOME")


def measure(plan: Plan) -> list[Figure]:
    config = plan.config()
    mine, theirs = ours(config, plan.work / "homes" / "empty"), stock(config, {})
    # Once before: the disk's cache, and vLLM's own of what it knows of the model.
    for recipe in () if plan.quick else (mine, theirs):
        _seconds(recipe, plan)
    left, right = by_turns(plan.rounds, lambda: _seconds(mine, plan), lambda: _seconds(theirs, plan))
    scenario = plan.label(f"{NAME}: process to ready")
    return [
        ratio(scenario, "seconds / stock", left, right, Bar(at_most=0.4)),
        Figure(scenario, "ours", tuple(left), "s"),
        Figure(scenario, "stock", tuple(right), "s"),
        Figure(scenario, "ours, every cache empty", (_first(mine, plan),), "s"),
    ]


def _first(recipe: Recipe, plan: Plan) -> float:
    with tempfile.TemporaryDirectory(dir=plan.work, prefix="caches-") as empty:
        caches = {name: str(Path(empty, name)) for name in _CACHES}
        return _seconds(replace(recipe, environment={**recipe.environment, **caches}), plan)


def _seconds(recipe: Recipe, plan: Plan) -> float:
    with Server(recipe, plan.logs) as server:
        return server.started_in
