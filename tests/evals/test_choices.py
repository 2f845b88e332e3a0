"""Multiple choice by likelihood: lm-eval's tasks for arms of every kind, and `solver: choices` in a short task file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from evals.asking.endpoint import Endpoint
from evals.config import EvalConfig
from evals.run import evaluate
from evals.sample import Sample
from evals.scorers.choices import Choice
from evals.scorers.scorer import ScoringContext
from evals.solvers.choices import Choices
from evals.solvers.solver import Attempt
from evals.tasks.lmeval.task import load
from evals.tasks.loading import load_suite
from lifecycle.errors import InvalidConfig, InvalidData, NotAllowed
from tests.evals.tasks.lmeval.test_parity import answer

QUICK = Endpoint(url="http://models.test/v1", retries=0, patience=0.0)
N_ITEMS = 20
TASK = """
task: colours
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "Q: {{{{question}}}}\\nA:"
doc_to_target: "{{{{gold}}}}"
doc_to_choice: "{{{{choices}}}}"
metric_list: [{{metric: acc}}, {{metric: acc_norm}}]
"""
SHARES = {"base": 2, "few-shot": 4, "rag": 6, "adapter": 8, "hybrid": 10}
"""Of ten items, how many an arm of this kind knows."""
RECIPES = """
  few-shot: {prompt: {system: system.txt, shots: shots.jsonl}}
  rag: {prompt: {system: system.txt}, knowledge: {index: handbook}}
  adapter: {version: toy:newest}
  hybrid: {adapter: toy:newest, knowledge: {index: handbook}}
"""


def knows(kind: str, question: str, text: str) -> float:
    number = int(question.split("Colour ")[1].split("?", maxsplit=1)[0])
    right = ("red", "dark blue")[(number + (number % 10 >= SHARES[kind])) % 2]
    return -1.0 if text.strip() == right else -2.0


@pytest.fixture
def colours(workplace: Path, trained: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, models: Any) -> Any:
    """An evaluation of a public-style task; `arms` and `more` are YAML."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")
    rows = [{"question": f"Colour {n}?", "choices": ["red", "dark blue"], "gold": n % 2} for n in range(N_ITEMS)]
    data = workplace / "colours.jsonl"
    data.write_text("\n".join(map(json.dumps, rows)))
    (workplace / "tasks" / "colours.yaml").write_text(TASK.format(data=data))
    models.likes = knows

    def config(arms: str, more: str = "") -> EvalConfig:
        lines = (workplace / "toy.yaml").read_text().splitlines()
        kept = [line for line in lines[: lines.index("arms:")] if not line.startswith(("task:", "metric:", "safety:"))]
        text = "\n".join([*kept, "task: colours", "metric: acc", more, "arms:", arms])
        (workplace / "colours.yaml").write_text(text)
        return EvalConfig.load(workplace / "colours.yaml")

    return config


def run(config: EvalConfig, registry: Any, home: Any, models: Any) -> Any:
    return evaluate(config, registry, home, transport=models.transport, endpoint=QUICK).report


def figures(report: Any, metric: str = "acc") -> dict[str, float]:
    return {arm.arm: arm.metrics[metric].value for arm in report.arms}


def test_a_public_task_compares_arms_of_every_kind_and_asks_for_all_choices_of_an_item_at_once(
    colours, registry, home, models
) -> None:
    config = colours("  base: {}" + RECIPES, "apply_chat_template: true")
    report = run(config, registry, home, models)
    assert figures(report) == {arm: share / 10 for arm, share in SHARES.items()}
    assert set(models.asked.values()) <= {1, 2}, "the second pass of the baseline asks some again"
    assert len(models.bodies) == len(SHARES) * N_ITEMS + config.noise_items
    body = models.bodies[0]
    assert body.keys() == {"model", "messages", "continuations", "from_last_word"}, "as lm-eval counts them"
    assert body["messages"][0]["content"].startswith("Q: Colour")
    assert body["continuations"] == ["red", "dark blue"], "an answer begins without the delimiter"
    models.bodies.clear()
    run(config, registry, home, models)
    assert models.bodies == []


def test_versions_without_a_prompt_continue_the_text_as_lm_eval_has_it(colours, registry, home, models) -> None:
    report = run(colours("  base: {}\n  adapter: {version: toy:newest}"), registry, home, models)
    assert figures(report) == {"base": 0.2, "adapter": 0.8}
    assert models.bodies[0].keys() == {"model", "prompt", "continuations"}
    assert models.bodies[0]["prompt"].endswith("?\nA:")
    assert models.bodies[0]["continuations"] == [" red", " dark blue"]


def test_each_in_its_own_way_where_that_is_said(colours, registry, home, models) -> None:
    run(colours("  base: {}" + RECIPES, "apply_chat_template: false"), registry, home, models)
    ways = {body["model"]: "prompt" in body for body in models.bodies}
    assert sorted(ways.values()) == [False, False, False, True, True]


def test_arms_that_would_be_asked_in_two_ways_are_refused_until_one_is_chosen(colours, registry, home, models) -> None:
    with pytest.raises(InvalidConfig, match="apply_chat_template") as error:
        run(colours("  base: {}" + RECIPES), registry, home, models)
    assert error.value.problems[0].place == "apply_chat_template"
    assert not models.bodies


def test_a_task_that_generates_asks_nobody_to_choose(config, registry, home, models) -> None:
    assert evaluate(config, registry, home, transport=models.transport, endpoint=QUICK).report.arms


def test_the_way_is_in_the_suites_digest_and_suites_of_before_keep_theirs(colours, home) -> None:
    arms = "  base: {}\n  adapter: {version: toy:newest}"
    unsaid, false, true = (
        load(colours(arms, more), home.cache).digest
        for more in ("", "apply_chat_template: false", "apply_chat_template: true")
    )
    assert unsaid == false != true


def test_a_choice_that_cannot_be_scored_makes_its_item_an_error_and_none_of_it_is_kept(
    colours, registry, home, models
) -> None:
    models.before = lambda _, version, question: (
        httpx.Response(400, json={"error": {"message": "too long"}}) if "Colour 3?" in question else None
    )
    config = colours("  base: {}\n  adapter: {version: toy:newest}")
    report = run(config, registry, home, models)
    assert [arm.errors for arm in report.arms] == [1, 1]
    assert [arm.metrics["acc"].n for arm in report.arms] == [N_ITEMS, N_ITEMS]
    models.before = lambda *_: None
    models.asked.clear()
    assert [arm.errors for arm in run(config, registry, home, models).arms] == [0, 0]
    assert {question for _, question in models.asked} == {"Q: Colour 3?\nA:"}


def test_an_interrupted_run_goes_on_and_scores_no_finished_item_twice(colours, registry, home, models, ctrl_c) -> None:
    config = colours("  base: {}\n  adapter: {version: toy:newest}")

    def interrupt(models: Any, version: str, question: str) -> None:
        if sum(models.answered.values()) == 13:
            ctrl_c()

    models.before = interrupt
    with pytest.raises(KeyboardInterrupt):
        run(config, registry, home, models)
    models.before = lambda *_: None
    assert figures(run(config, registry, home, models)) == {"base": 0.2, "adapter": 0.8}
    repeated = sum(models.answered.values()) - (2 * N_ITEMS + config.noise_items)
    assert repeated < config.concurrency, "only what was on its way when it was interrupted"


def test_an_endpoint_that_is_not_ours_gives_no_likelihood_behind_a_prompt(colours, registry, home, models) -> None:
    models.deployment = None
    with pytest.raises(NotAllowed, match="is no service of Dabt"):
        run(colours("  base: {}" + RECIPES, "apply_chat_template: true"), registry, home, models)


# -- short task files -------------------------------------------------------------------------------------------------


def task_file(folder: Path, rows: list[dict[str, Any]], solver: str = "choices", more: str = "") -> EvalConfig:
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (folder / "rows.jsonl").write_text(text, encoding="utf-8")
    (folder / "mine.yaml").write_text(f"data: rows.jsonl\nsolver: {solver}\n{more}")
    return EvalConfig.model_validate(
        {
            "name": "mine",
            "task": str(folder / "mine.yaml"),
            "arms": {"base": {}, "adapter": {"version": "toy:newest"}},
            "provisional": ("a look",),
        }
    )


def rows_of(choices: Any = ("red", "dark blue")) -> list[dict[str, Any]]:
    return [
        {
            "messages": [
                {"role": "user", "content": f"Colour {n}?"},
                {"role": "assistant", "content": ("red", "dark blue")[n % 2]},
            ],
            "meta": {"choices": list(choices)},
        }
        for n in range(N_ITEMS)
    ]


def test_rows_with_choices_are_a_task_of_their_own(tmp_path, trained, registry, home, models) -> None:
    models.likes = knows
    report = run(task_file(tmp_path, rows_of()), registry, home, models)
    assert report.metric == "acc"
    assert figures(report) == {"base": 0.2, "adapter": 0.8}
    assert figures(report, "choice_probability")["adapter"] == pytest.approx(0.8 * 0.731059 + 0.2 * 0.268941, abs=1e-6)
    assert {body.get("prompt") for body in models.bodies} == {None}, "every version is asked alike"
    assert models.bodies[0]["continuations"] == ["red", "dark blue"]


def test_the_choice_that_came_out_is_the_answer_that_other_scorers_see(
    tmp_path, trained, registry, home, models
) -> None:
    models.likes = knows
    solver = "{type: choices, choices: [red, dark blue]}"
    config = task_file(tmp_path, rows_of(()), solver, "scorers: [choice, label, exact]")
    report = run(config, registry, home, models)
    for metric in ("acc", "accuracy", "exact"):
        assert figures(report, metric) == {"base": 0.2, "adapter": 0.8}
    assert report.arms[1].metrics["macro_f1"].value == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("choices", "says"),
    [
        (["red"], "needs two or more texts"),
        (["red", "red"], "needs two or more texts"),
        (["red", ""], "needs two or more texts"),
        (["red", 5], "is no list of texts"),
        (["green", "red"], "is none of the choices"),
    ],
)
def test_choices_that_cannot_be_asked_are_told_with_their_places(
    tmp_path, trained, registry, home, choices: list[Any], says: str
) -> None:
    config = task_file(tmp_path, rows_of(choices))
    with pytest.raises(InvalidData, match=says) as error:
        load_suite(config, home.cache)
    assert error.value.problems[0].place.startswith(str(tmp_path / "rows.jsonl"))


def test_the_flag_of_lm_evals_tasks_is_refused_for_others(tmp_path, trained) -> None:
    whole = task_file(tmp_path, rows_of()).model_dump()
    with pytest.raises(ValueError, match="apply_chat_template is for lm-eval's tasks"):
        EvalConfig.model_validate(whole | {"apply_chat_template": True})


async def test_a_short_choice_has_no_advantage_in_acc_norm() -> None:
    sample = Sample("k", "i", (), target="a much longer one", metadata={"choices": ["no", "a much longer one"]})
    answers = tuple(
        answer(logprob=value, greedy=False, text=text)
        for text, value in zip(sample.metadata["choices"], (-2.0, -8.0), strict=True)
    )
    score = await Choice().score(sample, Attempt(answers, "no"), ScoringContext())
    assert (score.figures["acc"], score.figures["acc_norm"]) == (0.0, 1.0)
    assert score.figures["choice_probability"] == pytest.approx(0.0024726, abs=1e-6)
    label = await Choice().score(sample, Attempt((answer(text="no"),), "no"), ScoringContext())
    assert label.figures == {"acc": 0.0}
    assert label.unscored.keys() == {"acc_norm", "choice_probability"}


def test_a_sample_with_tools_has_no_choices() -> None:
    sample = Sample("k", "i", (), target="a", metadata={"choices": ["a", "b"]}, tools=({"type": "function"},))
    assert [problem.place for problem in Choices().problems(sample)] == ["tools"]
