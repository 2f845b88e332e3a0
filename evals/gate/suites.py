"""The suite of an evaluation: what it measures, by digest, whoever is measured. `lifecycle/gates.py` has the noun.

It is of the whole file: a sample, another endpoint, concurrency or seed make no other suite.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from evals.config import EvalConfig, load_policy
from evals.cost.prices import load_prices
from evals.gate.policy import Policy
from evals.knowledge import knowledge_of
from evals.recipes import Recipe, read_prompt
from evals.slices import lies_in
from evals.tasks.loading import load_suite
from evals.tasks.suite import Suite
from lifecycle.errors import InvalidConfig, InvalidInput, Problem
from lifecycle.gates import Gate, SuiteFacts
from lifecycle.report import Where, words_of
from lifecycle.version import Digest, Frozen, Knowledge, digest_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lifecycle.registry import Registry


def facts_of(config: EvalConfig, suite: Suite, registry: Registry) -> SuiteFacts:
    """Raises `InvalidConfig` with every index that a rival reads and the registry lacks."""
    return SuiteFacts(
        task=suite.name,
        task_digest=suite.digest,
        data_digest=suite.data_digest,
        metric=suite.metric,
        safety_metric=suite.safety,
        cluster=suite.cluster,
        baseline=config.baseline,
        rivals=_rivals(config, suite.name, registry),
        prices=_prices(config, suite.name),
    )


def make_gate(name: str, policy: Path, evaluations: Sequence[Path], registry: Registry, cache: Path) -> Gate:
    """The gate that asks for the policy in each evaluation's suite.

    Raises `InvalidConfig` with the faults of a file or with the slices that no item lies in, `InvalidInput` when two
    evaluations are one suite, and what `load_suite` raises.
    """
    rules = load_policy(policy)
    configs = [EvalConfig.load(path) for path in evaluations]
    loaded = [load_suite(config, cache) for config in configs]
    for suite in loaded:
        require_slices(rules, suite)
    suites = [facts_of(config, suite, registry) for config, suite in zip(configs, loaded, strict=True)]
    if len({suite.digest for suite in suites}) < len(suites):
        raise InvalidInput("two of the evaluations measure the same; name each once")
    body = rules.model_dump(mode="json")
    return Gate(name=name, policy=rules.digest, policy_name=rules.name, policy_body=body, suites=tuple(suites))


def require_slices(policy: Policy, suite: Suite) -> None:
    """Raises `InvalidConfig` with every rule on a slice that no item of the suite lies in. Of a sample of the items
    (`limit`) nothing is asked: it decides nothing."""
    rules = policy.on(suite.name).rules
    if len(suite.samples) < suite.whole:
        return
    problems = [
        Problem(
            f"rules.{number}.slice",
            f"no item of '{suite.name}' has {words_of(rule.slice)}",
            _there_is(suite, rule.slice),
        )
        for number, rule in enumerate(policy.rules)
        if rule in rules
        if rule.slice and not any(lies_in(sample.slices, rule.slice) for sample in suite.samples)
    ]
    if problems:
        raise InvalidConfig(f"the policy {policy.name} cannot judge '{suite.name}'", problems)


def _there_is(suite: Suite, where: Where) -> str:
    """What the items have instead, field by field."""
    known = {field: sorted({s.slices[field] for s in suite.samples if field in s.slices}) for field in where}
    fields = sorted({field for sample in suite.samples for field in sample.slices})
    return "; ".join(
        f"{field} is {', '.join(values[:10])}{', …' if len(values) > 10 else ''}"
        if values
        else f"name {field} in the task's `slices`: there is only {', '.join(fields)}"
        for field, values in known.items()
    )


def _prices(config: EvalConfig, suite: str) -> Digest | None:
    """Of the prices that a rule on costs is held by: who writes others has another suite."""
    prices = load_prices(config.prices)
    return prices.digest if prices and load_policy(config.policy, config.baseline).on(suite).asks_prices else None


def _rivals(config: EvalConfig, suite: str, registry: Registry) -> dict[str, Digest]:
    """What is written out and not trained, and whatever the policy compares with. Other arms that name a version are
    candidates, and may be any."""
    compared = {config.baseline, *load_policy(config.policy, config.baseline).on(suite).names}
    rivals: dict[str, Digest] = {}
    problems: list[Problem] = []
    for label, recipe in config.arms.items():
        if (recipe.version or recipe.adapter) and label not in compared:
            continue
        knowledge = None
        if recipe.knowledge:
            knowledge, faults = knowledge_of(recipe.knowledge, f"arms.{label}", registry)
            problems += faults
        rivals[label] = _digest(recipe, knowledge)
    if problems:
        raise InvalidConfig("the rivals of the evaluation cannot be told", problems)
    return rivals


def _digest(recipe: Recipe, knowledge: Knowledge | None) -> Digest:
    """Of the recipe as it is written, without the base that it will run on. A version goes in as it is named, since
    `triage:1` never changes, and `triage:newest` is what the gate was set to compare with."""
    parts: dict[str, Frozen | None] = {
        "prompt": read_prompt(recipe.prompt),
        "decoding": recipe.decoding,
        "knowledge": knowledge,
    }
    plain = {key: part.model_dump(mode="json", exclude_defaults=True) for key, part in parts.items() if part}
    named = {"version": recipe.version, "adapter": recipe.adapter}
    return digest_of({key: part for key, part in (plain | named).items() if part})
