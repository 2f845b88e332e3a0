"""Every arm answers every sample, once or several times, in turns that treat them alike; then the answers are scored.

Arms take turns of `chunk` samples in a seeded order, each at the same concurrency, so that a busy moment of the machine
falls on all of them and no arm's requests wait behind another's. The next turn begins while the last requests of one
are on their way, so that none of the places in flight stays empty. Read `statistics/comparison.py` next.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from evals.arms import Arm
from evals.asking.answers import Answer, AnswerStore, Conditions, span_of
from evals.asking.asker import Asker
from evals.asking.judges import ServedJudges
from evals.config import EvalConfig
from evals.progress import Progress, Silent
from evals.sample import Sample
from evals.scorers.scorer import Score, ScoringContext
from evals.scorers.scoring import ItemScore, score
from evals.solvers.solver import Attempt, Solver
from lifecycle.deployment import Deployment
from lifecycle.errors import InvalidConfig, Problem
from lifecycle.text.normaliser import DEFAULT
from lifecycle.text.scores import parse_object
from lifecycle.version import Frozen

if TYPE_CHECKING:
    from evals.asking.services import Services
    from evals.tasks.suite import Suite

_SCORED_AT_ONCE = 1_000
"""Samples that are scored together: what scoring itself needs does not grow with the items."""


_IN_A_ROW = 50
"""Turns that are asked without a pause between them."""


class ItemResult(Frozen):
    """What one arm made of one sample: the answer in text, its figures, and what it took."""

    answer: str
    scores: dict[str, float]
    latency: float
    """Seconds; the sum over a sample's requests."""
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    """Of the prompt's, those that the endpoint says it need not compute again."""
    first_token: float | None = None
    """Seconds from the first request's arrival to its first token, as the endpoint timed it; None where it did not."""
    searched: float = 0.0
    """Seconds in the search for passages, of all its requests."""
    requests: float = 1.0
    """Of which several answers may come with one."""
    spans: tuple[tuple[float, float], ...] = ()
    """Of each answer: when it was asked for and when it was there, in seconds since 1970."""
    passages: tuple[str, ...] = ()
    error: str = ""
    passing: tuple[str, ...] = ()
    """Errors that may be gone on another try, of this sample's requests: while there is one, nothing is decided."""
    served: bool = True
    """The endpoint said for each answer which version gave it."""
    deployed: bool = True
    """And on what."""
    cut: bool = False
    """The model had not ended when its limit of tokens was reached; the answer is scored as it stands."""
    unscored: dict[str, str] = Field(default_factory=dict)
    """Figure → why it has no number for this answer; no miss, no hit, no tie."""
    explanation: str = ""
    """What the scorers said of it."""
    said: str = Field(default="", exclude_if=lambda said: not said)
    """What the answer comes to: one of several to the same sample votes by it."""
    repeats: tuple[ItemResult, ...] = Field(default=(), exclude_if=lambda repeats: not repeats)
    """Each answer to a sample that was asked several times, in the order of their seeds."""

    @property
    def each(self) -> tuple[ItemResult, ...]:
        """The single answers."""
        return self.repeats or (self,)

    @classmethod
    def of(cls, repeats: Sequence[ItemResult]) -> ItemResult:
        """The sample's result: the one answer's, or of several the mean of each figure over those that have it, with
        the first answer to show. It failed where all did."""
        if len(repeats) == 1:
            return repeats[0]
        given: dict[str, list[float]] = {}
        for result in repeats:
            for name, value in result.scores.items():
                given.setdefault(name, []).append(value)
        return cls(
            answer=repeats[0].answer,
            scores={name: sum(values) / len(values) for name, values in given.items()},
            latency=sum(result.latency for result in repeats) / len(repeats),
            prompt_tokens=round(sum(result.prompt_tokens for result in repeats) / len(repeats)),
            completion_tokens=round(sum(result.completion_tokens for result in repeats) / len(repeats)),
            passages=repeats[0].passages,
            error=repeats[0].error if all(result.error for result in repeats) else "",
            passing=tuple(error for result in repeats for error in result.passing),
            served=all(result.served for result in repeats),
            deployed=all(result.deployed for result in repeats),
            cut=any(result.cut for result in repeats),
            unscored={name: reason for result in repeats for name, reason in result.unscored.items()},
            explanation=repeats[0].explanation,
            repeats=tuple(repeats),
        )


@dataclass(frozen=True)
class MeasuredArm:
    """One arm's outcomes, in the order of the suite's samples."""

    arm: Arm
    outcomes: tuple[ItemResult, ...]
    deployment: Deployment | None = None
    """What answered, where that is another service than the evaluation's."""
    parts: tuple[tuple[Score, ...], ...] = ()
    """What each of the suite's scorers said of each answer, scorer by scorer: text statistics are made of them. Of a
    sample that was asked several times, its answers stand together."""


def measure(
    config: EvalConfig, suite: Suite, arms: Sequence[Arm], services: Services, cache: Path, progress: Progress
) -> tuple[tuple[MeasuredArm, ...], float]:
    """All arms' outcomes, and the noise floor. Finished answers are under `cache`; what is there is not asked again.

    Raises `Unavailable` when the endpoint stops answering; the same call then goes on where it stopped.
    """
    again = _second_pass(config, suite.samples)
    label = f"{config.baseline}, again"
    repeats = {arm.label: repeats_of(arm, suite, config.repeats) for arm in arms}
    totals = {arm.label: _count(suite.solver, suite.samples) * repeats[arm.label] for arm in arms}
    progress.begin(totals | ({label: _count(suite.solver, again)} if again else {}))

    def asker(arm: Arm, take: int = 0) -> Asker:
        session = services.of(arm.label)
        conditions = Conditions(
            version=arm.version.digest,
            task=suite.digest,
            endpoint=session.endpoint.place,
            deployment=session.deployment.digest if session.deployment else None,
            concurrency=config.concurrency,
            seed=config.seed,
            take=take,
        )
        store = AnswerStore.of_version(cache / "answers", arm.version.digest)
        return Asker(session, arm.version, conditions, store, config.response_format)

    def repeated(asker: Asker, repeats: int = 1) -> list[Asker]:
        return [asker.repeat(number) for number in range(repeats)]

    def solve(turns: Sequence[_Turn], told: Progress = progress) -> list[list[tuple[Attempt, ...]]]:
        return _solve(turns, suite.solver, services, config.concurrency, told)

    def known(askers: Sequence[Asker], samples: Sequence[Sample]) -> list[tuple[Attempt, ...]]:
        return solve([_Turn("", askers, samples)], Silent())[0]

    askers = {arm.label: repeated(asker(arm), repeats[arm.label]) for arm in arms}
    for row in _rows(_turns(config, suite.samples, askers)):
        solve(row)
    baseline = next(arm for arm in arms if arm.label == config.baseline)
    second = solve([_Turn(label, repeated(asker(baseline, take=1)), again)])[0] if again else []
    # What is finished is in the stores, on disk: it is read again part by part, so that memory holds no answers twice.
    first = known(askers[baseline.label][:1], again) if again else []
    floor = _noise_floor([(one, two) for (one,), (two,) in zip(first, second, strict=True)])
    progress.note("scoring the answers")
    elsewhere = {label: session.deployment for label, session in services.others.items()}
    judges = ServedJudges(services.own, cache / "judges", config.concurrency)
    outcomes: dict[str, list[ItemResult]] = {arm.label: [] for arm in arms}
    parts: dict[str, list[list[Score]]] = {arm.label: [[] for _ in suite.scorers] for arm in arms}
    for start in range(0, len(suite.samples), _SCORED_AT_ONCE):
        chunk = suite.samples[start : start + _SCORED_AT_ONCE]
        attempts = {arm.label: known(askers[arm.label], chunk) for arm in arms}
        for arm in arms:
            rivals = attempts[baseline.label] if arm is not baseline else [()] * len(chunk)
            work = [
                (sample, attempt, ScoringContext(judges, _at(number, rival), arm.version.spec.retrieves))
                for sample, several, rival in zip(chunk, attempts[arm.label], rivals, strict=True)
                for number, attempt in enumerate(several)
            ]
            scores = _scored(suite, work, services, config.concurrency)
            count = repeats[arm.label]
            results = (_outcome(attempt, score, count) for (_, attempt, _), score in zip(work, scores, strict=True))
            outcomes[arm.label] += [ItemResult.of(together) for together in zip(*[results] * count, strict=True)]
            for at, said in enumerate(parts[arm.label]):
                said += [score.parts[at] for score in scores]
    measured = [
        MeasuredArm(arm, tuple(outcomes[arm.label]), elsewhere.get(arm.label), tuple(map(tuple, parts[arm.label])))
        for arm in arms
    ]
    return tuple(measured), floor


def repeats_of(arm: Arm, suite: Suite, repeats: int) -> int:
    """How often each sample is asked of the arm: once where it would answer the same again."""
    return 1 if suite.solver.greedy(arm.version) else repeats


def require_sampled(arms: Sequence[Arm], suite: Suite, repeats: int) -> None:
    """Raises `InvalidConfig` where several answers are asked for and no arm samples any."""
    if repeats == 1 or any(not suite.solver.greedy(arm.version) for arm in arms):
        return
    fault = f"every arm of '{suite.name}' answers greedily, so {repeats} answers to an item would be one and the same"
    cure = "give an arm `decoding: {temperature: 0.7}`, or the task's solver a temperature; or leave repeats at 1"
    raise InvalidConfig("nothing would be learnt by asking again", [Problem("repeats", fault, cure)])


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


@dataclass(frozen=True, slots=True)
class _Turn:
    """Samples that one arm answers, once by each of its askers."""

    label: str
    askers: Sequence[Asker]
    samples: Sequence[Sample]


def _turns(config: EvalConfig, samples: Sequence[Sample], askers: Mapping[str, Sequence[Asker]]) -> list[_Turn]:
    order = random.Random(config.seed)
    turns: list[_Turn] = []
    for start in range(0, len(samples), config.chunk):
        chunk = samples[start : start + config.chunk]
        turns += [_Turn(arm, askers[arm], chunk) for arm in order.sample(list(askers), len(askers))]
    return turns


def _rows(turns: Sequence[_Turn]) -> list[Sequence[_Turn]]:
    """Turns that are asked in one go."""
    return [turns[start : start + _IN_A_ROW] for start in range(0, len(turns), _IN_A_ROW)]


def _second_pass(config: EvalConfig, samples: Sequence[Sample]) -> list[Sample]:
    """A seeded choice of samples in another order: batches are composed anew, which is what shakes greedy answers."""
    size = min(config.noise_items, len(samples))
    return random.Random(config.seed + 1).sample(list(samples), size)


def _solve(
    turns: Sequence[_Turn], solver: Solver, services: Services, concurrency: int, progress: Progress
) -> list[list[tuple[Attempt, ...]]]:
    """Of each turn each sample's attempts, one by each asker."""
    left = [len(turn.samples) * len(turn.askers) for turn in turns]

    async def attempt(number: int, sample: Sample, asker: Asker) -> tuple[str, Sample, Attempt]:
        made = await solver.solve(sample, asker)
        left[number] -= 1
        if not left[number]:
            await asker.check_alive()
        return turns[number].label, sample, made

    work = [
        partial(attempt, number, sample, asker)
        for number, turn in enumerate(turns)
        for sample in turn.samples
        for asker in turn.askers
    ]
    solved = services.own.gather(
        work, concurrency=concurrency, done=lambda made: progress.advance(made[0], solver.requests(made[1]))
    )
    given = (attempt for _, _, attempt in solved)
    return [[tuple(next(given) for _ in turn.askers) for _ in turn.samples] for turn in turns]


def _noise_floor(pairs: Sequence[tuple[Attempt, Attempt]]) -> float:
    """Share of the samples whose answer differs in the second pass, of those answered in both; 0 when there are none.

    Log-likelihood answers differ when another choice comes out best.
    """
    answered = [pair for pair in pairs if not any(attempt.error for attempt in pair)]
    return sum(_said(first) != _said(second) for first, second in answered) / max(len(answered), 1)


def _said(attempt: Attempt) -> object:
    numbers = [answer.logprob for answer in attempt.answers]
    if all(number is not None for number in numbers):
        values = [number for number in numbers if number is not None]
        return values.index(max(values)) if len(values) > 1 else int(bool(attempt.answers[0].greedy))
    return [(answer.text, [call.get("function") for call in answer.tool_calls]) for answer in attempt.answers]


def _at(number: int, several: Sequence[Attempt]) -> Attempt | None:
    """The rival's answer of the same number; one that answers greedily has the same for all."""
    return several[number % len(several)] if several else None


def _scored(
    suite: Suite, attempts: Sequence[tuple[Sample, Attempt, ScoringContext]], services: Services, concurrency: int
) -> list[ItemScore]:
    work = [partial(score, suite.scorers, *attempt) for attempt in attempts]
    return services.own.gather(work, concurrency=concurrency, done=lambda _: None)


def _outcome(attempt: Attempt, score: ItemScore, count: int) -> ItemResult:
    """Of one of `count` answers to a sample."""
    said = _vote(attempt) if score.said is None and count > 1 else score.said
    answers: Sequence[Answer] = attempt.answers
    return ItemResult(
        answer=attempt.shown,
        scores=score.figures,
        latency=sum(answer.latency for answer in answers),
        prompt_tokens=sum(answer.prompt_tokens for answer in answers),
        completion_tokens=sum(answer.completion_tokens for answer in answers),
        cached_tokens=sum(answer.cached_tokens for answer in answers),
        first_token=answers[0].first_token if answers else None,
        searched=sum(answer.searched for answer in answers),
        requests=sum(1 / answer.shared for answer in answers),
        spans=tuple(span_of(answer) for answer in answers),
        passages=tuple(attempt.passages),
        error=attempt.error,
        passing=tuple(answer.error for answer in answers if not answer.final),
        served=all(answer.served for answer in answers if not answer.error),
        deployed=all(answer.deployment for answer in answers if not answer.error),
        cut=any(answer.finish_reason == "length" for answer in answers),
        unscored=score.unscored,
        explanation=score.explanation,
        said=said if said and count > 1 else "",
    )


def _vote(attempt: Attempt) -> str:
    """An answer as others are counted to say the same: JSON as a program reads it, else as a reader does."""
    if attempt.tool_calls:
        return attempt.shown
    value = parse_object(attempt.text)
    return DEFAULT.normal(attempt.text) if value is None else json.dumps(value, ensure_ascii=False, sort_keys=True)


def _count(solver: Solver, samples: Sequence[Sample]) -> int:
    return sum(map(solver.requests, samples))
