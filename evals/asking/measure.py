"""Every arm answers every sample, once or several times, in turns that treat them alike; then the answers are scored.

Arms take turns of `chunk` samples in a seeded order, each at the same concurrency, so that a busy moment of the machine
falls on all of them and no arm's requests wait behind another's. The next turn begins while the last requests of one
are on their way, so that none of the places in flight stays empty (`turns.py`). Read `statistics/comparison.py` next.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import Field

from evals.arms import Arm
from evals.asking.answers import Answer, AnswerStore, Conditions, span_of
from evals.asking.asker import Asker
from evals.asking.columns import Columns
from evals.asking.judges import ServedJudges
from evals.asking.sampled import repeats_of
from evals.asking.spilled import Spilled
from evals.asking.turns import Turn, rows, solve, turns_of
from evals.config import EvalConfig
from evals.progress import Progress, Silent
from evals.sample import Sample
from evals.scorers.scorer import Score, ScoringContext
from evals.scorers.scoring import ItemScore, score
from evals.solvers.solver import Attempt, Solver
from lifecycle.deployment import Deployment
from lifecycle.text.normaliser import DEFAULT
from lifecycle.text.scores import parse_object
from lifecycle.version import Frozen

if TYPE_CHECKING:
    from evals.asking.services import Services
    from evals.tasks.suite import Suite

_SCORED_AT_ONCE = 1_000
"""Samples that are scored together: what scoring itself needs does not grow with the items."""
_T = TypeVar("_T")
_Several = tuple[_T, ...]
"""Of one sample, one from each of an arm's askers."""
_Scored = tuple["ItemResult", tuple[Score, ...]]
"""What an answer came to, and what each scorer said of it."""


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
    outcomes: Sequence[ItemResult]
    deployment: Deployment | None = None
    """What answered, where that is another service than the evaluation's."""
    parts: Sequence[Sequence[Score]] = ()
    """What each of the suite's scorers said of each answer, scorer by scorer: text statistics are made of them. Of a
    sample that was asked several times, its answers stand together."""
    known: Columns | None = field(default=None, repr=False)
    """The outcomes' columns, where they have been made already."""

    @cached_property
    def columns(self) -> Columns:
        return self.known or Columns.of(self.outcomes)


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
    flights = asyncio.Semaphore(config.concurrency)
    judges = ServedJudges(services.own, cache / "judges", config.concurrency)
    by_label = {arm.label: arm for arm in arms}

    def asker(arm: Arm) -> Asker:
        session = services.of(arm.label)
        conditions = Conditions(
            version=arm.version.digest,
            task=suite.digest,
            endpoint=session.endpoint.place,
            deployment=session.deployment.digest if session.deployment else None,
            concurrency=config.concurrency,
            seed=config.seed,
        )
        store = AnswerStore.of_version(cache / "answers", arm.version.digest)
        return Asker(session, arm.version, conditions, store, config.response_format, flights)

    askers = {
        arm.label: [mine.repeat(number) for number in range(repeats[arm.label])]
        for arm, mine in ((arm, asker(arm)) for arm in arms)
    }
    baseline = askers[config.baseline][0]

    def known(askers: Sequence[Asker], samples: Sequence[Sample]) -> list[_Several[Attempt]]:
        turn = Turn("", askers, samples)
        return solve([turn], suite.solver, services, config.concurrency, Silent(), _itself)[0]

    async def scored(turn: Turn, sample: Sample, attempt: Attempt, rival: Attempt | None = None) -> _Scored:
        context = ScoringContext(judges, rival, by_label[turn.label].version.spec.retrieves)
        given = await score(suite.scorers, sample, attempt, context)
        return _outcome(attempt, given, len(turn.askers)), given.parts

    # Scores that take a moment are made while other answers are awaited. For all others the answers are read again from
    # the stores, part by part, so that memory holds no answers twice.
    at_once = all(scorer.while_asking() for scorer in suite.scorers)
    second: dict[str, Attempt] = {}

    async def answered(turn: Turn, sample: Sample, attempt: Attempt) -> _Scored | None:
        if turn.label == label:
            second[sample.key] = attempt
        return await scored(turn, sample, attempt) if at_once and turn.label in made else None

    made = {arm.label: _Made(len(suite.scorers)) for arm in arms}
    turns = chain(turns_of(config, suite.samples, askers), [Turn(label, [baseline.again()], again)] if again else [])
    for row in rows(turns, len(arms)):
        given = solve(row, suite.solver, services, config.concurrency, progress, answered)
        for turn, results in zip(row, given, strict=True):
            if turn.label in made:
                made[turn.label].add(results)
    first = known([baseline], again) if again else []
    floor = _noise_floor([(attempt, second[sample.key]) for sample, (attempt,) in zip(again, first, strict=True)])
    progress.note("scoring the answers")
    for start in range(0, 0 if at_once else len(suite.samples), _SCORED_AT_ONCE):
        chunk = suite.samples[start : start + _SCORED_AT_ONCE]
        attempts = {arm.label: known(askers[arm.label], chunk) for arm in arms}
        for arm in arms:
            turn = Turn(arm.label, askers[arm.label], chunk)
            rivals = attempts[config.baseline] if arm.label != config.baseline else [()] * len(chunk)
            work = [
                partial(scored, turn, sample, attempt, _at(number, rival))
                for sample, several, rival in zip(chunk, attempts[arm.label], rivals, strict=True)
                for number, attempt in enumerate(several)
            ]
            each = iter(services.own.gather(work, concurrency=config.concurrency, done=lambda _: None))
            made[arm.label].add(list(zip(*[each] * repeats[arm.label], strict=True)))
    elsewhere = {label: session.deployment for label, session in services.others.items()}
    measured = [
        MeasuredArm(arm, made[arm.label].outcomes, elsewhere.get(arm.label), made[arm.label].parts) for arm in arms
    ]
    return tuple(measured), floor


def why_provisional(measured: Sequence[MeasuredArm]) -> tuple[str, ...]:
    """Why these answers can be looked at and decide nothing, in words; empty when they can."""
    passing: Counter[str] = Counter()
    served = deployed = True
    for outcome in (outcome for arm in measured for outcome in arm.outcomes):
        passing.update(outcome.passing)
        served, deployed = served and outcome.served, deployed and outcome.deployed
    reasons = []
    if passing:
        count, (first, _) = passing.total(), passing.most_common(1)[0]
        requests = "1 request" if count == 1 else f"{count} requests"
        reasons.append(f"{requests} failed for a reason that may pass ({first}): run the same command again")
    if not served:
        reasons.append("the endpoint does not say which version answered")
    if not deployed:
        reasons.append("the endpoint does not say on which deployment it answered")
    return tuple(reasons)


async def _itself(turn: Turn, sample: Sample, attempt: Attempt) -> Attempt:
    return attempt


class _Made:
    """What one arm's answers came to, in the order of the samples."""

    def __init__(self, scorers: int) -> None:
        self.outcomes: Spilled[ItemResult] = Spilled()
        self.parts: list[Spilled[Score]] = [Spilled() for _ in range(scorers)]

    def add(self, results: Sequence[_Several[_Scored | None]]) -> None:
        """Those of the samples that come next, where they have been scored."""
        for several in ([one for one in given if one is not None] for given in results):
            if not several:
                continue
            self.outcomes.append(ItemResult.of([outcome for outcome, _ in several]))
            for _, scores in several:
                for kept, given in zip(self.parts, scores, strict=True):
                    kept.append(given)


def _second_pass(config: EvalConfig, samples: Sequence[Sample]) -> list[Sample]:
    """A seeded choice of samples in another order: batches are composed anew, which is what shakes greedy answers."""
    size = min(config.noise_items, len(samples))
    return [samples[at] for at in random.Random(config.seed + 1).sample(range(len(samples)), size)]


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
