"""Arms that are named by an alias: what the alias serves now, asked once, when a run begins.

An arm called `prod` that says nothing else is `prod` of the evaluation's own name. From then on the arm is that
version, whatever happens to the alias while the run lasts, and the report keeps what was found. Read `arms.py` next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from evals.config import NEWEST, EvalConfig
from lifecycle.aliases import PROD
from lifecycle.errors import InvalidConfig, NotFound, Problem
from lifecycle.report import Served
from lifecycle.version import Ref

if TYPE_CHECKING:
    from lifecycle.registry import Registry


def served_now(name: str, alias: str, registry: Registry) -> Served:
    """What the alias serves: of several versions its incumbent, or without one that with the most traffic."""
    try:
        there = registry.alias(name, alias)
    except NotFound:
        return Served(alias=f"{name}:{alias}")
    number = there.incumbent or max(there.targets, key=lambda target: target.weight).number
    version = registry.version(f"{name}:{number}")
    shares = str(there) if len(there.targets) > 1 else ""
    return Served(alias=there.ref, ref=version.ref, version_digest=version.digest, shares=shares)


def served_arms(config: EvalConfig, registry: Registry, *, first_deploy: bool = False) -> dict[str, Served]:
    """What each arm that is named by an alias is, by its label.

    Raises `InvalidConfig` with every alias that serves nothing. With `first_deploy` that is said and no error, unless
    the baseline is such an arm.
    """
    served: dict[str, Served] = {}
    problems = []
    for label, recipe in config.arms.items():
        ref = Ref.parse(recipe.version) if recipe.version else None
        if ref is None or ref.number is not None or ref.alias == NEWEST:
            continue
        served[label] = now = served_now(ref.name, ref.alias or PROD, registry)
        if now.ref is None and label == config.baseline:
            cure = f"take another baseline until something is promoted: `dabt promote {ref.name}:1`"
            problems.append(Problem(f"arms.{label}", f"{now.alias} serves nothing yet, and this is the baseline", cure))
        elif now.ref is None and not first_deploy:
            cure = "promote a version, take the arm out, or say --ci, which takes it for a first deploy"
            problems.append(Problem(f"arms.{label}", f"{now.alias} serves nothing yet", cure))
    if problems:
        raise InvalidConfig("an arm is named by an alias that serves nothing", problems)
    return served
