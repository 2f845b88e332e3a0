"""One evaluation from beginning to end: arms → answers → scores → statistics → report → verdicts.

Everything else in this package is a step of `evaluate`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from evals.advice import Findings, advise, recommend
from evals.arms import base_name, resolve_arms, training_rows, with_prod
from evals.comparison import agreement, arm_result, comparisons
from evals.config import EvalConfig, load_policy
from evals.endpoint import Endpoint
from evals.evaluation import Evaluation
from evals.gate import check, judge
from evals.lmeval_task import EvalTask, Item, load
from evals.measure import MeasuredArm, measure
from evals.progress import Progress, Silent
from evals.provisional import provisional
from evals.report import folder_of, write
from evals.services import asked
from evals.suite import make_suite
from lifecycle.aliases import PROD
from lifecycle.gates import Suite
from lifecycle.home import Home
from lifecycle.report import Example, Report, Verdict
from lifecycle.standing import opens
from lifecycle.states import State
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
) -> Evaluation:
    """Runs the evaluation, writes its folder, and records the report and a verdict for every arm but the baseline.

    A policy that compares with `prod` adds the version that is served now, which is not judged.

    Whether that is a verdict that moves anybody's standing or only a look is in `provisional.py`, and what a verdict
    opens is for the gate of its name (`lifecycle/standing.py`).

    `endpoint` says more than `config.endpoint` (key, time-out, retries); `transport` stands in for the network.
    Finished answers are kept as they come: after an interruption the same call goes on. Must run outside an event
    loop. Raises `InvalidConfig`, `InvalidData` or `NotFound` before anything is asked, `NotAllowed` when the endpoint
    refuses a version, and `Unavailable` when it stops answering.
    """
    progress = progress or Silent()
    policy = load_policy(config.policy)
    progress.note("reading the task and its items")
    task = load(config, home.cache)
    suite = make_suite(config, task, registry)
    arms = resolve_arms(config, registry, actor=actor)
    candidates = [arm.label for arm in arms if arm.label != config.baseline]
    arms, prod = with_prod(arms, config, registry) if PROD in policy.names else (arms, None)
    with asked(endpoint or Endpoint(url=config.endpoint), arms, transport) as services:
        deployment = services.own.deployment
        progress.note(f"asking {len(arms)} arms {len(task.items)} items each")
        measured, noise_floor = measure(config, task, arms, services, home.cache, progress)

    look = provisional(config, task, measured)
    tries = registry.count_try(
        suite.data_digest,
        candidates=[arm.version.digest for arm in arms if arm.label in candidates],
        deployment=deployment.digest if deployment else None,
        name=config.name,
        provisional=bool(look),
        actor=actor,
    )
    plain = Report(
        task=config.task,
        task_digest=task.digest,
        base=base_name(config, arms, registry),
        metric=config.metric,
        safety_metric=config.safety,
        arms=tuple(arm_result(arm, task, config) for arm in measured),
        comparisons=comparisons(measured, task, config),
        noise_floor=noise_floor,
        n_items=len(task.items),
        suite=suite,
        deployment=deployment,
        provisional=look,
        tries=tries,
        prod=prod,
        n_train=training_rows(arms, registry),
        seed=config.seed,
        examples=_examples(config, task, measured),
        created_at=datetime.now(UTC),
    )
    findings = Findings(plain, {arm.label: arm.version.spec for arm in arms}, check(plain, policy, candidates), policy)
    report = plain.model_copy(update={"advice": advise(findings)})
    ship = recommend(findings)
    verdicts = judge(report, policy, candidates, at=datetime.now(UTC))
    evaluation = Evaluation(
        report=report,
        verdicts=verdicts,
        policy=policy.name,
        recommended=ship.ref if ship else None,
        folder=folder_of(home, report),
        opens={arm: _opens(verdict, suite, registry) for arm, verdict in zip(candidates, verdicts, strict=True)},
    )
    # The folder first: a verdict in the registry must never name a report that nobody can open.
    write(evaluation, task.items, measured)
    registry.record_report(report, actor=actor)
    versions = [registry.record_verdict(verdict, actor=actor) for verdict in evaluation.verdicts]
    return replace(evaluation, alerts=_alerts(versions, registry))


def _opens(verdict: Verdict, suite: Suite, registry: Registry) -> str:
    name = Ref.parse(verdict.ref).name
    return opens(registry.gate(name), verdict, [verdict, *registry.verdicts(verdict.ref)], suite)


def _alerts(versions: Sequence[Version], registry: Registry) -> tuple[str, ...]:
    """What serves and is doubted. It goes on serving: what to do about it is for people to decide."""
    return tuple(
        f"{version.ref} serves {', '.join(served)} and is doubted: {registry.doubt(version.ref)}"
        for version in versions
        if version.state is State.DOUBTED
        and (served := [alias.ref for alias in registry.aliases(version.name) if version.number in alias.numbers])
    )


def _examples(config: EvalConfig, task: EvalTask, measured: Sequence[MeasuredArm]) -> tuple[Example, ...]:
    """Items worth reading: half of them where the arms differ most, half by chance, so that neither hides the other."""
    places = list(range(len(task.items)))
    random.Random(config.seed).shuffle(places)
    telling = sorted(places, key=lambda at: -agreement([arm.outcomes[at] for arm in measured], config.metric))
    chosen = dict.fromkeys(telling[: (config.examples + 1) // 2])
    chosen |= dict.fromkeys([at for at in places if at not in chosen][: config.examples - len(chosen)])
    return tuple(_example(task.items[at], at, measured, config.metric) for at in sorted(chosen))


def _example(item: Item, at: int, measured: Sequence[MeasuredArm], metric: str) -> Example:
    outcomes = {arm.arm.label: arm.outcomes[at] for arm in measured}
    return Example(
        item=item.name,
        question=item.question,
        target=item.target,
        answers={arm: outcome.error or outcome.answer for arm, outcome in outcomes.items()},
        scores={arm: outcome.scores.get(metric, 0.0) for arm, outcome in outcomes.items()},
    )
