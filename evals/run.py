"""One evaluation from beginning to end: arms → answers → scores → statistics → report → verdicts.

Everything else in this package is a step of `evaluate`.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from evals.advice.rules import with_advice
from evals.alias_arms import served_arms
from evals.arms import base_name, resolve_arms, training_rows, with_prod
from evals.asking.endpoint import Endpoint
from evals.asking.measure import MeasuredArm, measure
from evals.asking.sampled import require_sampled
from evals.asking.services import asked
from evals.asking.spilled import Spilled
from evals.config import EvalConfig, load_policy
from evals.cost.costs import spent_of, used, with_costs
from evals.cost.prices import load_prices
from evals.gate.policy import check, judge
from evals.gate.provisional import provisional
from evals.gate.suites import facts_of, require_slices
from evals.leaks import leaks
from evals.people.in_report import people_of
from evals.progress import Progress, Silent
from evals.report import folder_of, write
from evals.report.advice import Findings, recommend
from evals.report.evaluation import Evaluation
from evals.report.words import Words
from evals.sample import Sample
from evals.statistics.comparison import agreement, arm_result, comparisons, require_decided
from evals.statistics.slices import slices
from evals.tasks.loading import load_suite
from evals.tasks.suite import Suite
from lifecycle.aliases import PROD
from lifecycle.gates import SuiteFacts
from lifecycle.home import Home
from lifecycle.report import Example, Report
from lifecycle.standing import opens
from lifecycle.states import State
from lifecycle.text.counting import counted
from lifecycle.verdict import Verdict
from lifecycle.version import Ref, Version

if TYPE_CHECKING:
    import httpx

    from lifecycle.registry import Registry

__all__ = ["Evaluation", "evaluate"]


def evaluate(
    config: EvalConfig,
    registry: Registry,
    home: Home,
    *,
    actor: str = "evals",
    progress: Progress | None = None,
    endpoint: Endpoint | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    first_deploy: bool = False,
) -> Evaluation:
    """Runs the evaluation, writes its folder, and records the report and a verdict for every arm but the baseline.

    A policy that compares with `prod` adds the version that is served now, which is not judged; nor is an arm called
    so. With `first_deploy` an arm of an alias that serves nothing yet is left out, and the report says so.

    Whether that is a verdict that moves anybody's standing or only a look is in `provisional.py`, and what a verdict
    opens is for the gate of its name (`lifecycle/standing.py`).

    `endpoint` says more than `config.endpoint` (key, time-out, retries); `transport` stands in for the network.
    Finished answers are kept as they come: after an interruption the same call goes on. Must run outside an event
    loop. Raises `InvalidConfig`, `InvalidData` or `NotFound` before anything is asked, `NotAllowed` when the endpoint
    refuses a version, and `Unavailable` when it stops answering.
    """
    progress = progress or Silent()
    config = config.over_templated_base(home.cache / "bases")
    policy, prices = load_policy(config.policy, config.baseline), load_prices(config.prices)
    progress.note("reading the task and its items")
    suite = load_suite(config, home.cache)
    require_slices(policy, suite)
    rules = policy.on(suite.name)
    facts = facts_of(config, suite, registry)
    served = served_arms(config, registry, first_deploy=first_deploy)
    arms = resolve_arms(config, registry, actor=actor, served=served)
    unjudged = {config.baseline} | ({PROD} & served.keys())
    candidates = [arm.label for arm in arms if arm.label not in unjudged]
    arms, prod = with_prod(arms, config, registry, served) if PROD in rules.names else (arms, None)
    require_sampled(config, arms, suite)
    suite.solver.check([arm.version for arm in arms])
    if not isinstance(suite.samples, Spilled):
        suite = replace(suite, samples=Spilled(suite.samples))
    with asked(endpoint or Endpoint(url=config.endpoint), arms, transport) as services:
        deployment = services.own.deployment
        progress.note(f"asking {counted(len(arms), 'arm')} {counted(len(suite.samples), 'item')} each")
        measured, noise_floor = measure(config, suite, arms, services, home.cache, progress)

    progress.note("comparing the arms")
    look = (*provisional(config, suite, measured), *leaks(suite.samples, arms, registry))
    tries = registry.count_try(
        suite.data_digest,
        candidates=[arm.version.digest for arm in arms if arm.label in candidates],
        deployment=deployment.digest if deployment else None,
        name=config.name,
        provisional=bool(look),
        actor=actor,
        drawn="" if all(suite.solver.greedy(arm.version) for arm in arms) else f"{config.seed} x {config.repeats}",
    )
    results = tuple(arm_result(arm, suite) for arm in measured)
    results = with_costs(results, measured, config.concurrency, prices, spent_of(registry))
    require_decided(results, suite.metric)
    plain = Report(
        task=suite.name,
        task_digest=suite.digest,
        base=base_name(config, arms, registry),
        metric=suite.metric,
        item_metric=suite.item_metric,
        safety_metric=suite.safety,
        arms=results,
        comparisons=comparisons(measured, suite),
        slices=slices(measured, suite, config.baseline, rules.slices),
        people=people_of(results, suite.data_digest, deployment, registry, rules.slices),
        noise_floor=noise_floor,
        n_items=len(suite.samples),
        repeats=config.repeats,
        suite=facts,
        deployment=deployment,
        provisional=look,
        tries=tries,
        scoring=suite.scoring,
        served=served,
        prod=prod,
        n_train=training_rows(arms, registry),
        prices=used(prices, results),
        seed=config.seed,
        examples=_examples(config, suite, measured),
        created_at=datetime.now(UTC),
    )
    findings = Findings(plain, {arm.label: arm.version.spec for arm in arms}, check(plain, policy, candidates), rules)
    report = with_advice(plain, findings)
    ship = recommend(findings)
    verdicts = judge(report, policy, candidates, at=datetime.now(UTC))
    evaluation = Evaluation(
        report=report,
        verdicts=verdicts,
        policy=policy.name,
        recommended=ship.ref if ship else None,
        folder=folder_of(home, report),
        notes=suite.notes,
        opens={arm: _opens(verdict, facts, registry) for arm, verdict in zip(candidates, verdicts, strict=True)},
    )
    progress.note("writing the report")
    # The folder first: a verdict in the registry must never name a report that nobody can open.
    write(evaluation, suite.samples, measured, Words(config.language), suite.scorers)
    registry.record_report(report, actor=actor)
    versions = [registry.record_verdict(verdict, actor=actor) for verdict in evaluation.verdicts]
    return replace(evaluation, alerts=_alerts(versions, registry))


def _opens(verdict: Verdict, facts: SuiteFacts, registry: Registry) -> str:
    name = Ref.parse(verdict.ref).name
    return opens(registry.gate(name), verdict, [verdict, *registry.verdicts(verdict.ref)], facts)


def _alerts(versions: Sequence[Version], registry: Registry) -> tuple[str, ...]:
    """What serves and is doubted. It goes on serving: what to do about it is for people to decide."""
    return tuple(
        f"{version.ref} serves {', '.join(served)} and is doubted: {registry.doubt(version.ref)}"
        for version in versions
        if version.state is State.DOUBTED
        and (served := [alias.ref for alias in registry.aliases(version.name) if version.number in alias.numbers])
    )


def _examples(config: EvalConfig, suite: Suite, measured: Sequence[MeasuredArm]) -> tuple[Example, ...]:
    """Items worth reading: half of them where the arms differ most, half by chance, so that neither hides the other."""
    places = list(range(len(suite.samples)))
    random.Random(config.seed).shuffle(places)
    # In the items' order: read by chance, each would bring a block of others from the disk.
    each = zip(*(arm.outcomes for arm in measured), strict=True)
    apart = array("d", (agreement(outcomes, suite.of_items) for outcomes in each))
    telling = sorted(places, key=lambda at: -apart[at])
    chosen = dict.fromkeys(telling[: (config.examples + 1) // 2])
    chosen |= dict.fromkeys([at for at in places if at not in chosen][: config.examples - len(chosen)])
    return tuple(_example(suite.samples[at], at, measured, suite.of_items) for at in sorted(chosen))


def _example(sample: Sample, at: int, measured: Sequence[MeasuredArm], metric: str) -> Example:
    outcomes = {arm.arm.label: arm.outcomes[at] for arm in measured}
    return Example(
        item=sample.id,
        question=sample.question,
        target=sample.shown_target,
        answers={arm: outcome.error or outcome.answer for arm, outcome in outcomes.items()},
        scores={arm: outcome.scores.get(metric, 0.0) for arm, outcome in outcomes.items()},
        samples={
            arm: tuple((one.error or one.answer, one.scores.get(metric, 0.0)) for one in outcome.repeats)
            for arm, outcome in outcomes.items()
            if outcome.repeats
        },
    )
