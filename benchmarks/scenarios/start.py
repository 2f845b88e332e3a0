"""From the start of the process to the first answer that says ready, one server at a time on an idle machine."""

from __future__ import annotations

from benchmarks.figures import Bar, Figure, ratio
from benchmarks.plan import Plan, by_turns
from benchmarks.servers import Recipe, Server, ours, stock

NAME = "start"


def measure(plan: Plan) -> list[Figure]:
    config = plan.config()
    mine, theirs = ours(config, plan.work / "homes" / "empty"), stock(config, {})
    # Once before: the disk's cache, and vLLM's own of what it knows of the model.
    for recipe in () if plan.quick else (mine, theirs):
        _seconds(recipe, plan)
    left, right = by_turns(plan.rounds, lambda: _seconds(mine, plan), lambda: _seconds(theirs, plan))
    scenario = plan.label(f"{NAME}: process to ready")
    return [
        ratio(scenario, "seconds / stock", left, right, Bar(at_most=0.6)),
        Figure(scenario, "ours", tuple(left), "s"),
        Figure(scenario, "stock", tuple(right), "s"),
    ]


def _seconds(recipe: Recipe, plan: Plan) -> float:
    with Server(recipe, plan.logs) as server:
        return server.started_in
