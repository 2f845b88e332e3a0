"""Item by item, the numbers are those of lm-eval's own `evaluate` on the same responses."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from evals.asking.answers import Answer
from evals.asking.endpoint import Endpoint
from evals.config import EvalConfig
from evals.run import evaluate
from evals.scorers.scorer import ScoringContext
from evals.solvers.solver import Attempt
from evals.tasks.lmeval.task import load
from lifecycle.home import Home
from lifecycle.version import digest_of

CHOICES = """
task: kinds
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "Q: {{{{question}}}}\\nA:"
doc_to_target: "{{{{gold}}}}"
doc_to_choice: "{{{{choices}}}}"
metric_list:
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
  - {{metric: acc_norm, aggregation: mean, higher_is_better: true}}
"""
VOTES = """
task: votes
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{choices[gold]}}}}"
generation_kwargs: {{until: ["STOP"], do_sample: true, temperature: 0.7, max_gen_toks: 8}}
repeats: 3
filter_list:
  - name: first
    filter: [{{function: regex, regex_pattern: "(red|blue|green)"}}, {{function: take_first}}]
  - name: vote
    filter:
      - {{function: regex, regex_pattern: "(red|blue|green)"}}
      - {{function: majority_vote}}
      - {{function: take_first}}
metric_list:
  - {{metric: exact_match, aggregation: mean, higher_is_better: true, ignore_case: true}}
"""
COLOURS = ("red", "blue", "green")


def chance(*parts: object) -> float:
    return int(hashlib.sha256(repr(parts).encode()).hexdigest()[:8], 16) / 2**32


def says(question: str, number: int) -> str:
    colour = COLOURS[int(chance(question, number) * 3)]
    return f"I think {colour.upper() if number else colour} STOP red"


@pytest.fixture
def configs(workplace: Path, trained: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")
    data = workplace / "kinds.jsonl"
    rows = [f'{{"question": "Colour {n}?", "choices": ["red", "blue", "green"], "gold": {n % 3}}}' for n in range(30)]
    data.write_text("\n".join(rows))
    (workplace / "tasks" / "kinds.yaml").write_text(CHOICES.format(data=data))
    (workplace / "tasks" / "votes.yaml").write_text(VOTES.format(data=data))
    whole = EvalConfig.load(workplace / "toy.yaml")

    def config(task: str, metric: str) -> EvalConfig:
        return whole.model_copy(update={"task": task, "metric": metric, "safety": None, "limit": 20})

    return config


def theirs(suite: Any) -> dict[str, dict[str, float]]:
    """What lm-eval's own loop makes of the same responses, by the item's question."""
    from lm_eval.api.model import LM
    from lm_eval.evaluator import evaluate

    class Fake(LM):
        def generate_until(self, requests: list[Any], disable_tqdm: bool = True) -> list[str]:
            seen: dict[int, int] = {}
            numbers = [seen.update({id(r): seen.get(id(r), -1) + 1}) or seen[id(r)] for r in requests]
            return [says(r.doc["question"], n).split("STOP")[0] for r, n in zip(requests, numbers, strict=True)]

        def loglikelihood(self, requests: list[Any], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
            return [(-10 * chance(*request.args), False) for request in requests]

        def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = True) -> list[float]:
            return []

    (scorer,) = suite.scorers
    tasks = dict(scorer.tasks)
    chosen = {name: [int(sample.key.split("/")[1]) for sample in suite.samples] for name in tasks}
    made = evaluate(Fake(), {"tasks": tasks}, samples=chosen, bootstrap_iters=0, log_samples=True)
    figures: dict[str, dict[str, float]] = {}
    for sample in made["samples"][suite.name]:
        suffix = f",{sample['filter']}" if len(tasks[suite.name]._filters) > 1 else ""
        into = figures.setdefault(sample["doc"]["question"], {})
        into |= {metric + suffix: float(sample[metric]) for metric in sample["metrics"]}
    return figures


def answer(**given: Any) -> Answer:
    return Answer(
        key=digest_of("k"), version="toy:1", item="i", latency=0, concurrency=1, at=datetime.now(UTC), **given
    )


async def ours(suite: Any) -> dict[str, dict[str, float]]:
    (scorer,) = suite.scorers
    figures = {}
    for sample in suite.samples:
        requests = suite.solver.instances[sample.key]
        if requests[0].request_type == "loglikelihood":
            answers = [answer(logprob=-10 * chance(*request.args), greedy=False) for request in requests]
        else:
            answers = [answer(text=says(request.doc["question"], n)) for n, request in enumerate(requests)]
        score = await scorer.score(sample, Attempt(tuple(answers), answers[0].text), ScoringContext())
        figures[requests[0].doc["question"]] = dict(score.figures)
    return figures


@pytest.mark.parametrize(
    ("task", "metric", "figures"),
    [
        ("kinds", "acc", {"acc", "acc_norm"}),
        ("votes", "exact_match,vote", {"exact_match,first", "exact_match,vote"}),
    ],
)
async def test_every_items_figures_are_lm_evals(
    configs: Any, home: Home, task: str, metric: str, figures: set[str]
) -> None:
    suite = load(configs(task, metric), home.cache)
    mine = await ours(suite)
    assert mine == theirs(suite)
    assert len(mine) == 20
    assert all(set(item) == figures for item in mine.values())
    assert len({tuple(item.values()) for item in mine.values()}) > 1, "some are right and some are wrong"


def test_a_task_that_sets_shots_has_them_unless_the_evaluation_says_another_number(configs: Any, home: Home) -> None:
    config = configs("kinds", "acc")
    file = config.task_files / "kinds.yaml"
    plain = load(config, home.cache)
    file.write_text(file.read_text() + "num_fewshot: 2\nfewshot_split: test\n")
    shots, none = load(config, home.cache), load(config.model_copy(update={"task_shots": 0}), home.cache)

    def asked(suite: Any) -> int:
        return int(suite.solver.instances[suite.samples[0].key][0].args[0].count("Q: "))

    assert (asked(plain), asked(shots), asked(none)) == (1, 3, 1)
    assert len({plain.digest, shots.digest}) == 2


async def test_a_task_that_samples_several_answers_is_asked_so_often_and_votes(configs: Any, home: Home) -> None:
    suite = load(configs("votes", "exact_match,vote"), home.cache)
    assert {suite.solver.requests(sample) for sample in suite.samples} == {3}
    scores = await ours(suite)
    assert [one["exact_match,first"] for one in scores.values()] != [one["exact_match,vote"] for one in scores.values()]


@pytest.mark.parametrize("repeats", [1, 2])
def test_answers_that_a_task_repeats_are_sampled_apart_and_again_apart_from_ours(
    configs: Any, registry: Any, home: Home, models: Any, repeats: int
) -> None:
    """One seed for all would make three answers one, and the vote of them nothing."""
    config = configs("votes", "exact_match,first").model_copy(update={"limit": 5, "noise_items": 0, "repeats": repeats})
    models.speaks = dict.fromkeys(models.speaks, lambda _: COLOURS[models.bodies[-1]["seed"] % 3])
    report = evaluate(
        config, registry, home, transport=models.transport, endpoint=Endpoint(url="http://models.test/v1")
    ).report
    seeds: dict[tuple[str, str], set[int]] = {}
    for body in models.bodies:
        seeds.setdefault((body["model"], body["messages"][-1]["content"]), set()).add(body["seed"])
    assert {len(several) for several in seeds.values()} == {3 * repeats}
    assert len(seeds) == 4 * 5
    assert ("exact_match,first majority" in report.result("base").metrics) == (repeats > 1)


def test_a_task_that_sets_the_temperature_says_whether_answers_are_sampled(
    configs: Any, home: Home, registry: Any, trained: str
) -> None:
    version = registry.version(trained)
    assert version.spec.decoding.temperature == 0
    assert not load(configs("votes", "exact_match,first"), home.cache).solver.greedy(version)
    assert load(configs("kinds", "acc"), home.cache).solver.greedy(version), "a likelihood is computed"
