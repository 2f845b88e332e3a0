"""So many requests in flight and no more, the next one always ready, and scores made where they hold up nobody."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest

from evals.arms import Arm
from evals.asking.answers import AnswerStore, Conditions
from evals.asking.asker import Asker
from evals.asking.endpoint import Endpoint, Session
from evals.asking.measure import measure
from evals.asking.services import Services
from evals.asking.turns import Turn, rows, solve, turns_of
from evals.config import EvalConfig
from evals.progress import Silent
from evals.sample import Sample
from evals.scorers.scorer import Figure, Score, Scorer, ScoringContext
from evals.scorers.texts import Exact
from evals.solvers.chat import Chat
from evals.solvers.solver import Attempt
from evals.tasks.suite import Suite
from lifecycle.version import digest_of
from tests.evals.asking.test_likelihoods import DEPLOYMENT, VERSION

SAMPLES = [Sample(str(at), str(at), ({"role": "user", "content": f"item {at}"},), target="yes") for at in range(12)]


class Models:
    """Answers `yes` after some rounds of the loop, and notes what happened in which order."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.flying = self.most = 0

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)["messages"][0]["content"]
        if asked != "Hello":  # what warms a version up
            self.told.append(f"asked {asked}")
            self.flying += 1
            self.most = max(self.most, self.flying)
            for _ in range(5):
                await asyncio.sleep(0)
            self.flying -= 1
        headers = {"x-dabt-digest": VERSION.digest, "x-dabt-deployment": DEPLOYMENT.digest}
        choice = {"message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}
        return httpx.Response(200, json={"choices": [choice]}, headers=headers)


class Noting(Exact):
    """Notes when it scores."""

    type: Literal["noting"] = "noting"  # type: ignore[assignment]
    note: Callable[[str], None]
    at_once: bool

    def while_asking(self) -> bool:
        return self.at_once

    async def score(self, sample: Sample, attempt: Attempt, context: ScoringContext) -> Score:
        self.note(f"scored {sample.key}")
        return await super().score(sample, attempt, context)


def asking(**settings: int) -> EvalConfig:
    arms = {"arms": {"base": {}, "other": {}}, "base": "base", "provisional": ("a test",)}
    return EvalConfig.model_validate({"name": "toy", "task": "toy", "metric": "exact", **arms, **settings})


def opened(models: Models) -> Session:
    session = Session(Endpoint(url="http://models.test/v1", retries=0), httpx.MockTransport(models))
    session.deployment = DEPLOYMENT
    return session


def measured(models: Models, folder: Path, *scorers: Scorer, concurrency: int = 2, noise: int = 0) -> list[Any]:
    arms = [Arm(label=label, version=VERSION) for label in ("base", "other")]
    config = asking(chunk=3, concurrency=concurrency, noise_items=noise)
    digest = digest_of("suite")
    suite = Suite("toy", SAMPLES, Chat(), scorers, "exact", digest, digest, len(SAMPLES))
    with opened(models) as session:
        return list(measure(config, suite, arms, Services(session), folder, Silent())[0])


def test_no_more_are_in_flight_than_the_concurrency_over_all_arms(tmp_path: Path) -> None:
    models = Models()
    measured(models, tmp_path, Exact(), concurrency=3)
    assert models.most == 3


def test_an_answer_is_kept_at_once_and_the_next_request_is_sent_before_it_is_scored(
    tmp_path: Path, monkeypatch
) -> None:
    models, add = Models(), AnswerStore.add
    monkeypatch.setattr(AnswerStore, "add", lambda store, answer: (models.told.append("kept"), add(store, answer)))
    measured(models, tmp_path, Noting(note=models.told.append, at_once=True), concurrency=1)
    assert models.told[:5] == ["asked item 0", "kept", "asked item 1", "scored 0", "kept"]


def test_a_quick_score_is_made_while_others_are_asked_and_any_other_when_all_are_answered(tmp_path: Path) -> None:
    for at_once in (True, False):
        models = Models()
        arms = measured(models, tmp_path / str(at_once), Noting(note=models.told.append, at_once=at_once))
        asked = [at for at, told in enumerate(models.told) if told.startswith("asked")]
        scored = [at for at, told in enumerate(models.told) if told.startswith("scored")]
        assert len(asked) == len(scored) == 2 * len(SAMPLES)
        assert (min(scored) > max(asked)) is not at_once
        assert [outcome.scores["exact"] for arm in arms for outcome in arm.outcomes] == [1.0] * 24


def test_one_scorer_that_is_not_quick_makes_all_wait(tmp_path: Path) -> None:
    models = Models()
    measured(
        models, tmp_path, Noting(note=models.told.append, at_once=True), Noting(note=models.told.append, at_once=False)
    )
    assert [told.split()[0] for told in models.told] == ["asked"] * 24 + ["scored"] * 48


def test_a_scorer_of_another_package_waits_unless_it_says_otherwise() -> None:
    class Theirs(Scorer):
        type: str = "theirs"

        def figures(self) -> tuple[Figure, ...]:
            return ()

        async def score(self, sample: Sample, attempt: Attempt, context: ScoringContext) -> Score:
            raise NotImplementedError

    assert not Theirs().while_asking()


@pytest.mark.parametrize("arms", [1, 2, 3, 5, 49, 50, 51])
def test_turns_are_asked_in_rows_of_whole_chunks_and_none_is_lost(arms: int) -> None:
    config = asking(chunk=1)
    askers: dict[str, Any] = {f"arm {at}": [] for at in range(arms)}
    turns = list(turns_of(config, SAMPLES * 10, askers))
    parted = list(rows(iter(turns), arms))
    assert [turn for row in parted for turn in row] == turns
    assert all(len(row) >= 50 for row in parted[:-1])
    for row in parted:
        assert len(row) % arms == 0
        assert len({turn.label for turn in row}) == arms


def test_the_collector_is_still_while_requests_are_under_way_and_works_again_after_a_failure(tmp_path: Path) -> None:
    frozen = []

    async def then(turn: Turn, sample: Sample, attempt: Attempt) -> None:
        frozen.append(gc.get_freeze_count())
        raise RuntimeError("a fault")

    with opened(Models()) as session:
        digest = digest_of("task")
        conditions = Conditions(
            version=VERSION.digest, task=digest, endpoint="http://models.test", deployment=DEPLOYMENT.digest,
            concurrency=1, seed=1,
        )  # fmt: skip
        asker = Asker(session, VERSION, conditions, AnswerStore.of_version(tmp_path, VERSION.digest))
        with pytest.raises(RuntimeError, match="a fault"):
            solve([Turn("base", [asker], SAMPLES[:1])], Chat(), Services(session), 1, Silent(), then)
    assert frozen[0] > 0 == gc.get_freeze_count()
