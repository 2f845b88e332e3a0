"""Several answers to an item: which arms sample theirs, and what to do where none does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lifecycle.errors import InvalidConfig, Problem

if TYPE_CHECKING:
    from evals.arms import Arm
    from evals.config import EvalConfig
    from evals.tasks.suite import Suite
    from lifecycle.version import Version

_WARM = {"temperature": 0.7}
_IN_PLACE = ", and write it as `adapter:` in place of `version:`, which is whole"


def repeats_of(arm: Arm, suite: Suite, repeats: int) -> int:
    """How often each sample is asked of the arm: once where it would answer the same again."""
    return 1 if suite.solver.greedy(arm.version) else repeats


def require_sampled(config: EvalConfig, arms: Sequence[Arm], suite: Suite) -> None:
    """Raises `InvalidConfig` where several answers are asked for and no arm samples any."""
    repeats = config.repeats
    if repeats == 1 or any(not suite.solver.greedy(arm.version) for arm in arms):
        return
    fault = f"every arm of '{suite.name}' answers greedily, so {repeats} answers to an item would be one and the same"
    cure = _cure(config, arms, suite)
    raise InvalidConfig("nothing would be learnt by asking again", [Problem("repeats", fault, cure)])


def _cure(config: EvalConfig, arms: Sequence[Arm], suite: Suite) -> str:
    """What can be followed as it is written: what these arms and this solver would heed."""
    without = "take repeats out"
    warm = [arm for arm in arms if not suite.solver.greedy(_warmed(arm.version))]
    if not warm:
        place = suite.solver.sampled_by() if any(arm.version.spec.classifier is None for arm in arms) else ""
        return f"{place}; or {without}" if place else f"{without}: nothing is drawn by chance here"
    if config.of_options:
        file = json.dumps(_file(config, arms, warm), ensure_ascii=False)
        return f"write {file} into a file, and run `dabt eval FILE --repeats {config.repeats}`; or {without}"
    whole = all(recipe.version for arm in warm if (recipe := config.arms.get(arm.label)))
    return f"give an arm `decoding: {{temperature: 0.7}}`{_IN_PLACE if whole else ''}; or {without}"


def _file(config: EvalConfig, arms: Sequence[Arm], warm: Sequence[Arm]) -> dict[str, Any]:
    """The evaluation that the options say, with sampling arms: YAML, and on one line, so that it can be copied.

    A version is whole, so one with an adapter is made anew of it; others stay as they were.
    """
    made: dict[str, Any] = {}
    for arm in arms:
        version, recipe = config.arms[arm.label].version, config.arms[arm.label].model_dump(exclude_defaults=True)
        if arm in warm and (version is None or arm.version.spec.adapter):
            recipe = ({"adapter": version} if version else {}) | {"decoding": _WARM}
        made[arm.label] = recipe
    said = {"name": config.name, "task": config.task, "data": str(config.data or ""), "base": config.base}
    said |= {"template": config.template, "endpoint": config.endpoint}
    said |= {} if config.baseline == "base" else {"baseline": config.baseline}
    return {key: value for key, value in said.items() if value} | {"arms": made}


def _warmed(version: Version) -> Version:
    """The same, sampling."""
    decoding = version.spec.decoding.model_copy(update=_WARM)
    return version.model_copy(update={"spec": version.spec.model_copy(update={"decoding": decoding})})
