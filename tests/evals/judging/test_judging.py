"""Judges: what they say is a figure, and whatever is no verdict is unscored and counted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from evals.asking.endpoint import Endpoint, Session
from evals.asking.judges import ServedJudges
from evals.config import EvalConfig
from evals.judging.judge import Judge
from evals.judging.pairwise import Pairwise
from evals.judging.rubric import Rubric
from evals.run import evaluate
from evals.sample import Sample
from evals.scorers.scorer import ScoringContext
from evals.solvers.solver import Attempt
from lifecycle.errors import InvalidInput

QUICK = Endpoint(url="http://models.test/v1", retries=0, patience=0.0)
SAMPLE = Sample(key="k", id="i", messages=({"role": "user", "content": "How are you?"},), target="Very well.")
JUDGE = Judge(model="judge")


class Says:
    """A judge in the process. `says` gets the whole text of the question."""

    def __init__(self, says: Callable[[str], str | None]) -> None:
        self._says = says
        self.asked: list[str] = []

    async def ask(self, judge: Judge, item: str, messages: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
        self.asked.append(messages[-1]["content"])
        said = self._says(messages[-1]["content"])
        return ("", "HTTP 500: no body") if said is None else (said, "")


def prefers(text: str) -> Callable[[str], str]:
    """The answer with `text` in it."""

    def say(question: str) -> str:
        first = question.partition("<answer_a>")[2].partition("</answer_a>")[0]
        return json.dumps({"better": "A" if text in first else "B"})

    return say


async def pairwise(says: Callable[[str], str | None], answer: str = "Fine, thanks.", **more: Any) -> Any:
    judges = Says(says)
    context = ScoringContext(judges, more.pop("rival", None))
    return await Pairwise(judge=JUDGE, **more).score(SAMPLE, Attempt((), answer), context), judges.asked


async def test_a_better_answer_wins_in_both_places() -> None:
    score, asked = await pairwise(prefers("Fine"))
    assert score.figures == {"wins": 1.0, "consistent": 1.0}
    assert (await pairwise(prefers("Very")))[0].figures == {"wins": 0.0, "consistent": 1.0}
    first, second = (text.partition("<answer_a>")[2].partition("</answer_a>")[0].strip() for text in asked)
    assert {first, second} == {"Fine, thanks.", "Very well."}


@pytest.mark.parametrize("place", ["A", "B"])
async def test_a_judge_that_prefers_a_place_is_found_out(place: str) -> None:
    score, _ = await pairwise(lambda _: json.dumps({"better": place}))
    assert score.figures == {"wins": 0.5, "consistent": 0.0}


async def test_a_tie_in_both_places_is_a_tie() -> None:
    assert (await pairwise(lambda _: '```json\n{"better": "tie"}\n```'))[0].figures == {"wins": 0.5, "consistent": 1.0}


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (None, "did not answer: HTTP 500"),
        ("", "is empty"),
        (" \n", "is empty"),
        ("I cannot judge people.", "no JSON object"),
        ('{"better": "C"}', "better is 'C'"),
        ('{"worse": "A"}', "better is 'None'"),
        ('["A"]', "no JSON object"),
        ('{"better": "A", "better": "B"}', "no JSON object"),
        ("[" * 500, "no JSON object"),
        ('{"better": ' + "9" * 4301 + "}", "no JSON object"),
    ],
)
async def test_what_is_no_verdict_is_no_tie_no_hit_and_no_pass(said: str | None, reason: str) -> None:
    score, _ = await pairwise(lambda _: said)
    assert score.figures == {}
    assert set(score.unscored) == {"wins", "consistent"}
    assert reason in score.unscored["wins"]
    rubric = Rubric(judge=JUDGE, questions={"polite": "Is it polite?"})
    held = await rubric.score(SAMPLE, Attempt((), "x"), ScoringContext(Says(lambda _: said)))
    assert held.figures == {}
    assert set(held.unscored) == {"rubric", "polite"}


async def test_one_verdict_of_two_is_not_enough() -> None:
    said = iter(['{"better": "A"}', "hm"])
    assert (await pairwise(lambda _: next(said)))[0].figures == {}


async def test_the_baseline_is_what_others_are_held_against_and_as_good_as_itself() -> None:
    rival = Attempt((), "Bad.")
    score, asked = await pairwise(prefers("Fine"), against="baseline", rival=rival)
    assert score.figures == {"wins": 1.0, "consistent": 1.0}
    assert all("Very well" not in text for text in asked)
    assert (await pairwise(prefers("x"), against="baseline"))[0].figures == {"wins": 0.5}
    same, asked = await pairwise(prefers("x"), "Bad.", against="baseline", rival=rival)
    assert (same.figures, asked) == ({"wins": 0.5}, [])


async def test_a_rubric_is_the_share_of_its_questions() -> None:
    rubric = Rubric(judge=JUDGE, questions={"polite": "Is it polite?", "short": "Is it short?"}, with_target=True)
    judges = Says(lambda _: '{"polite": true, "short": false}')
    score = await rubric.score(SAMPLE, Attempt((), "Fine."), ScoringContext(judges))
    assert score.figures == {"rubric": 0.5, "polite": 1.0, "short": 0.0}
    assert "Very well." in judges.asked[0]
    for said in ('{"polite": true}', '{"polite": "yes", "short": 1}'):
        score = await rubric.score(SAMPLE, Attempt((), "Fine."), ScoringContext(Says(lambda _, said=said: said)))
        assert "did not say true or false of" in score.unscored["rubric"]


def test_a_judge_is_asked_over_the_api_and_its_silence_is_counted(
    workplace: Path, base_model, trained, registry, home, models, monkeypatch
) -> None:
    monkeypatch.setenv("DABT_JUDGE_API_KEY", "secret")
    rows = [f'{{"prompt": "q {n}", "completion": "right"}}' for n in range(20)]
    (workplace / "rows.jsonl").write_text("\n".join(rows))
    (workplace / "short.yaml").write_text(
        "data: rows.jsonl\nscorers:\n  - {type: rubric, questions: {good: 'Is it good?'},\n"
        "     judge: {model: gpt, endpoint: 'http://judge.test/v1'}}\nmetric: good\n"
    )
    (workplace / "own.yaml").write_text(
        f"name: toy\npolicy: policy.yaml\ntask: short.yaml\nbase: {base_model}\nnoise_items: 0\n"
        "arms:\n  base: {}\n  adapter: {version: toy:newest}\n"
    )
    models.speaks |= {"base": lambda q: f"wrong {q}", "adapter": lambda q: f"right {q}"}
    keys: set[str] = set()

    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.host != "judge.test":
            return models._handle(request)
        keys.add(request.headers["authorization"])
        asked = json.loads(request.content)["messages"][0]["content"]
        answer = asked.partition("<answer>")[2].partition("</answer>")[0]
        said = "" if "right q 7" in answer else json.dumps({"good": "right" in answer})
        return httpx.Response(200, json={"choices": [{"message": {"content": said}}]})

    config = EvalConfig.load(workplace / "own.yaml")
    made = evaluate(config, registry, home, transport=httpx.MockTransport(handle), endpoint=QUICK)
    base, adapter = made.report.arms
    assert keys == {"Bearer secret"}
    assert (base.metrics["good"].value, adapter.metrics["good"].value) == (0.0, 1.0)
    assert (adapter.metrics["good"].n, adapter.unscored["good"]) == (19, {"the judge's answer is empty": 1})
    assert made.report.comparisons[0].n == 19
    assert "the judge&#39;s answer is empty" in (made.folder / "report.html").read_text("utf-8")
    assert "1 x the judge's answer is empty" in (made.folder / "report.md").read_text("utf-8")


def test_a_judge_that_never_answers_leaves_nothing_to_decide_and_that_is_said(
    workplace: Path, base_model, trained, registry, home, models
) -> None:
    (workplace / "rows.jsonl").write_text('{"prompt": "q", "completion": "right"}')
    (workplace / "short.yaml").write_text(
        "data: rows.jsonl\nscorers:\n  - {type: pairwise, judge: {model: gpt, endpoint: 'http://judge.test/v1'}}\n"
    )
    (workplace / "own.yaml").write_text(
        f"name: toy\npolicy: policy.yaml\ntask: short.yaml\nbase: {base_model}\nnoise_items: 0\n"
        "arms:\n  base: {}\n  adapter: {version: toy:newest}\n"
    )
    models.speaks |= {"base": lambda _: "a", "adapter": lambda _: "b"}

    def handle(request: httpx.Request) -> httpx.Response:
        return httpx.Response(500) if request.url.host == "judge.test" else models._handle(request)

    config = EvalConfig.load(workplace / "own.yaml")
    with pytest.raises(InvalidInput, match="no answer of base has the deciding figure wins: the judge did not answer"):
        evaluate(config, registry, home, transport=httpx.MockTransport(handle), endpoint=QUICK)
    assert not registry.reports()


def test_a_late_verdict_is_none(tmp_path: Path) -> None:
    class Slow(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await asyncio.Event().wait()
            raise AssertionError("nobody waits so long")

    judge = Judge(model="gpt", patience=0.01)
    with Session(QUICK, Slow()) as session:
        judges = ServedJudges(session, tmp_path / "judges", 1)
        text, fault = session.run(judges.ask(judge, "i", [{"role": "user", "content": "?"}]))
    assert (text, fault) == ("", "nothing came within 0.01 s")
