"""Every arm answers every item, in turns that treat them alike; then lm-eval scores the answers.

Arms take turns of `chunk` items in a seeded order, each at the same concurrency, so that a busy moment of the machine
falls on all of them and no arm's requests wait behind another's. Read `comparison.py` next.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.answers import Answer, AnswerStore, Conditions
from evals.arms import Arm
from evals.config import EvalConfig
from evals.lmeval_task import EvalTask, Scores
from evals.progress import Progress
from lifecycle.deployment import Deployment
from lifecycle.version import Frozen

if TYPE_CHECKING:
    from evals.endpoint_lm import EndpointLM
    from evals.services import Services


class ItemResult(Frozen):
    """What one arm made of one item: the answer in text, its figures, and what it took."""

    answer: str
    scores: Scores
    latency: float
    """Seconds; the sum over an item's requests for multiple choice."""
    prompt_tokens: int
    completion_tokens: int
    passages: tuple[str, ...] = ()
    error: str = ""
    passing: tuple[str, ...] = ()
    """Errors that may be gone on another try, of this item's requests: while there is one, nothing is decided."""
    served: bool = True
    """The endpoint said for each answer which version gave it."""
    deployed: bool = True
    """And on what."""
    cut: bool = False
    """The model had not ended when its limit of tokens was reached; the answer is scored as it stands."""


class MeasuredArm(Frozen):
    """One arm's outcomes, in the order of the task's items."""

    arm: Arm
    outcomes: tuple[ItemResult, ...]
    deployment: Deployment | None = None
    """What answered, where that is another service than the evaluation's."""


def measure(
    config: EvalConfig, task: EvalTask, arms: Sequence[Arm], services: Services, cache: Path, progress: Progress
) -> tuple[tuple[MeasuredArm, ...], float]:
    """All arms' outcomes, and the noise floor. Finished answers are under `cache`; what is there is not asked again.

    Raises `Unavailable` when the endpoint stops answering; the same call then goes on where it stopped.
    """
    requests = task.requests()
    again = _second_pass(config, requests)
    label = f"{config.baseline}, again"
    totals = {arm.label: _count(requests) for arm in arms}
    progress.begin(totals | ({label: _count(again)} if again else {}))

    def model(arm: Arm, *, take: int = 0, advance: Callable[[int], None]) -> EndpointLM:
        from evals.endpoint_lm import EndpointLM

        session = services.of(arm.label)
        conditions = Conditions(
            version=arm.version.digest,
            task=task.digest,
            endpoint=session.endpoint.place,
            deployment=session.deployment.digest if session.deployment else None,
            concurrency=config.concurrency,
            seed=config.seed,
            take=take,
        )
        store = AnswerStore.of_version(cache / "answers", arm.version.digest)
        return EndpointLM(session, arm.version, conditions, store, advance, config.response_format)

    models = {arm.label: model(arm, advance=partial(progress.advance, arm.label)) for arm in arms}
    for arm, chunk in _turns(config, requests, list(models)):
        _answer(models[arm], chunk)
    baseline = next(arm for arm in arms if arm.label == config.baseline)
    first = dict(models[config.baseline].answers)
    floor = _noise_floor(first, model(baseline, take=1, advance=partial(progress.advance, label)), again)
    # Every answer is known now: lm-eval reads them from the store through the same models, and scores them.
    progress.note("scoring the answers")
    for model in models.values():
        model.advance = _uncounted
    elsewhere = {label: session.deployment for label, session in services.others.items()}
    measured = tuple(_outcomes(arm, task, models[arm.label], elsewhere.get(arm.label)) for arm in arms)
    return measured, floor


def why_provisional(measured: Sequence[MeasuredArm]) -> tuple[str, ...]:
    """Why these answers can be looked at and decide nothing, in words; empty when they can."""
    outcomes = [outcome for arm in measured for outcome in arm.outcomes]
    reasons = []
    if passing := Counter(error for outcome in outcomes for error in outcome.passing):
        count, (first, _) = passing.total(), passing.most_common(1)[0]
        requests = "1 request" if count == 1 else f"{count} requests"
        reasons.append(f"{requests} failed for a reason that may pass ({first}): run the same command again")
    if not all(outcome.served for outcome in outcomes):
        reasons.append("the endpoint does not say which version answered")
    if not all(outcome.deployed for outcome in outcomes):
        reasons.append("the endpoint does not say on which deployment it answered")
    return tuple(reasons)


def _turns(
    config: EvalConfig, requests: Sequence[tuple[str, list[Any]]], arms: list[str]
) -> list[tuple[str, Sequence[tuple[str, list[Any]]]]]:
    order = random.Random(config.seed)
    turns = []
    for start in range(0, len(requests), config.chunk):
        chunk = requests[start : start + config.chunk]
        turns += [(arm, chunk) for arm in order.sample(arms, len(arms))]
    return turns


def _second_pass(config: EvalConfig, requests: Sequence[tuple[str, list[Any]]]) -> list[tuple[str, list[Any]]]:
    """A seeded choice of items in another order: batches are composed anew, which is what shakes greedy answers."""
    size = min(config.noise_items, len(requests))
    return random.Random(config.seed + 1).sample(list(requests), size)


def _answer(model: EndpointLM, items: Sequence[tuple[str, list[Any]]]) -> None:
    for kind in dict.fromkeys(kind for kind, _ in items):
        getattr(model, kind)([request for called, group in items if called == kind for request in group])


def _noise_floor(
    first: dict[tuple[str, int], list[Answer]], model: EndpointLM, again: Sequence[tuple[str, list[Any]]]
) -> float:
    """Share of the items whose answer differs in the second pass, of those answered in both; 0 when there are none.

    Log-likelihood answers differ when another choice comes out best.
    """
    if not again:
        return 0.0
    _answer(model, again)
    pairs = [(first[place], answers) for place, answers in model.answers.items()]
    answered = [(first, second) for first, second in pairs if not any(answer.error for answer in (*first, *second))]
    return sum(_said(first) != _said(second) for first, second in answered) / max(len(answered), 1)


def _said(answers: Sequence[Answer]) -> tuple[str, ...] | int:
    numbers = [answer.logprob for answer in answers]
    if all(number is not None for number in numbers):
        values = [number for number in numbers if number is not None]
        return values.index(max(values)) if len(values) > 1 else int(bool(answers[0].greedy))
    return tuple(answer.text for answer in answers)


def _outcomes(arm: Arm, task: EvalTask, model: EndpointLM, deployment: Deployment | None) -> MeasuredArm:
    scores = task.score(model)
    outcomes = []
    for number, item in enumerate(task.items):
        answers = model.answers[task.place(number)]
        outcomes.append(
            ItemResult(
                answer=_shown(answers),
                scores=scores[item.key],
                latency=sum(answer.latency for answer in answers),
                prompt_tokens=sum(answer.prompt_tokens for answer in answers),
                completion_tokens=sum(answer.completion_tokens for answer in answers),
                passages=tuple(dict.fromkeys(passage for answer in answers for passage in answer.passages)),
                error=next((answer.error for answer in answers if answer.error), ""),
                passing=tuple(answer.error for answer in answers if not answer.final),
                served=all(answer.served for answer in answers if not answer.error),
                deployed=all(answer.deployment for answer in answers if not answer.error),
                cut=any(answer.finish_reason == "length" for answer in answers),
            )
        )
    return MeasuredArm(arm=arm, outcomes=tuple(outcomes), deployment=deployment)


def _shown(answers: Sequence[Answer]) -> str:
    """The answer as a reader sees it; for log-likelihoods, the choices' numbers."""
    if any(answer.logprob is not None for answer in answers):
        return "  ".join("–" if answer.logprob is None else f"{answer.logprob:.2f}" for answer in answers)
    return answers[0].text


def _count(requests: Sequence[tuple[str, list[Any]]]) -> int:
    return sum(len(group) for _, group in requests)


def _uncounted(_: int) -> None:
    """Reading known answers back for scoring is no progress."""
