"""Items that are asked several times: seeds, what is kept, what is shown, and what decides."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

from evals.asking.endpoint import Endpoint
from evals.config import EvalConfig
from evals.report.evaluation import Evaluation
from evals.report.table import print_evaluation
from evals.run import evaluate
from lifecycle.errors import InvalidConfig
from lifecycle.report import Report
from tests.evals.conftest import N_ITEMS, FakeModels, right

QUICK = Endpoint(url="http://models.test/v1", retries=1, pause=0.0, patience=0.0)
K = 5
WRONG = '{"intent": "other"}'


def run(config: EvalConfig, registry, home, models: FakeModels) -> Evaluation:
    return evaluate(config, registry, home, transport=models.transport, endpoint=QUICK)


@pytest.fixture
def sampled(workplace: Path, trained: str) -> EvalConfig:
    """Base and few-shot sample their answers, the others are greedy."""
    file = workplace / "toy.yaml"
    for arm in ("base:     ", "base: ", "few-shot: "):
        file.write_text(file.read_text().replace(f"{arm}{{prompt", f"{arm}{{decoding: {{temperature: 0.7}}, prompt"))
    return EvalConfig.load(file, repeats=K)


@pytest.fixture
def models(models: FakeModels) -> FakeModels:
    """What samples is right by its seed: base in 2 of 4, few-shot in 3 of 4."""

    def lucky(share: int):
        return lambda question: right(question) if models.bodies[-1]["seed"] % 4 < share else WRONG

    models.speaks |= {"base": lucky(2), "few-shot": lucky(3)}
    return models


def asked_of(models: FakeModels, ref: str) -> Counter[str]:
    return Counter(body["messages"][-1]["content"] for body in models.bodies if body["model"] == ref)


def test_what_samples_is_asked_k_times_and_what_is_greedy_once(sampled, registry, home, models) -> None:
    evaluation = run(sampled.model_copy(update={"noise_items": 0}), registry, home, models)
    refs = {arm.arm: arm.ref for arm in evaluation.report.arms}
    for arm, times in {"base": K, "few-shot": K, "rag": 1, "adapter": 1}.items():
        asked = asked_of(models, refs[arm])
        assert (len(asked), set(asked.values())) == (N_ITEMS, {times}), arm


def test_every_item_and_answer_has_a_seed_of_its_own_which_is_the_same_in_every_run_and_arm(
    sampled, registry, home, models, tmp_path: Path
) -> None:
    evaluation = run(sampled.model_copy(update={"noise_items": 0}), registry, home, models)
    refs = {arm.arm: arm.ref for arm in evaluation.report.arms}

    def seeds(ref: str) -> list[tuple[str, int]]:
        return sorted((b["messages"][-1]["content"], b["seed"]) for b in models.bodies if b["model"] == ref)

    first = seeds(refs["base"])
    assert len({seed for _, seed in first}) == N_ITEMS * K
    assert first == seeds(refs["few-shot"])
    models.bodies.clear()
    for file in (home.cache / "answers").iterdir():
        file.unlink()
    run(sampled.model_copy(update={"noise_items": 0}), registry, home, models)
    assert seeds(refs["base"]) == first
    assert {seed for _, seed in seeds(refs["adapter"])} == {sampled.seed}, "a greedy answer depends on no seed"


def test_one_sampled_answer_to_each_item_has_a_seed_of_its_own_too(sampled, registry, home, models) -> None:
    """Engines draw the same numbers for the same seed: with one for all, items would be right or wrong together."""
    run(sampled.model_copy(update={"repeats": 1, "noise_items": 0}), registry, home, models)
    seeds = {body["seed"] for body in models.bodies if body["model"] == "toy:2"}
    assert len(seeds) == N_ITEMS


def test_more_answers_are_asked_for_beside_those_that_there_are(sampled, registry, home, models) -> None:
    run(sampled.model_copy(update={"repeats": 2}), registry, home, models)
    models.asked.clear()
    run(sampled, registry, home, models)
    assert sum(models.asked.values()) == 2 * N_ITEMS * (K - 2)
    models.asked.clear()
    run(sampled, registry, home, models)
    assert not models.asked


def test_an_interrupted_run_asks_no_finished_answer_twice(sampled, registry, home, models, ctrl_c) -> None:
    def interrupt(models, version, question):
        if sum(models.answered.values()) == 111:
            ctrl_c()

    models.before = interrupt
    with pytest.raises(KeyboardInterrupt):
        run(sampled, registry, home, models)
    models.before = lambda *_: None
    run(sampled, registry, home, models)
    needed = N_ITEMS * (2 * K + 2) + sampled.noise_items
    assert 0 <= sum(models.answered.values()) - needed < sampled.concurrency
    lines = [line for file in (home.cache / "answers").iterdir() for line in file.read_text("utf-8").splitlines()]
    keys = [json.loads(line)["key"] for line in lines]
    assert len(keys) == len(set(keys)) == needed


def test_an_item_counts_once_as_the_mean_of_its_answers(sampled, registry, home, models) -> None:
    report = run(sampled, registry, home, models).report
    base, few = report.result("base"), report.result("few-shot")
    for arm, bound in ((base, 2), (few, 3)):
        seeds = {b["seed"] for b in models.bodies if b["model"] == arm.ref}
        figure = arm.metrics["fields"]
        assert figure.value == pytest.approx(sum(seed % 4 < bound for seed in seeds) / len(seeds))
        assert (figure.n, figure.answers, figure.repeats.per_item) == (N_ITEMS, N_ITEMS * K, K)
        assert figure.repeats.share > 0.5, "these items differ by chance alone"
    (gap,) = [gap for gap in report.comparisons if (gap.arm, gap.against) == ("few-shot", "base")]
    assert gap.delta == pytest.approx(few.metrics["fields"].value - base.metrics["fields"].value)
    assert (gap.n, gap.test, gap.repeats.answers) == (N_ITEMS, "sign-flip", 2 * N_ITEMS * K)
    assert gap.high - gap.low == pytest.approx(2 * 2.0227 * gap.se, rel=1e-3), "Student's, with one item less than n"
    greedy = report.difference("adapter", "rag")
    assert (greedy.test, greedy.repeats, report.result("adapter").metrics["fields"].repeats) == (
        "mcnemar-exact", None, None,
    )  # fmt: skip


def test_pass_at_k_the_majority_and_what_more_would_buy_are_in_every_form_of_the_report(
    sampled, registry, home, models
) -> None:
    evaluation = run(sampled, registry, home, models)
    metrics = evaluation.report.result("base").metrics
    assert metrics["fields pass^5"].value < metrics["fields"].value < metrics["fields pass@5"].value
    assert metrics["fields pass@2"].value == pytest.approx(1 - (1 - 0.5) ** 2, abs=0.08)
    assert "fields majority" in metrics
    assert "fields pass@5" not in evaluation.report.result("adapter").metrics
    words = "is the sampling of answers: its standard error of"
    texts = {name: (evaluation.folder / name).read_text("utf-8") for name in ("report.md", "report.html")}
    console = Console(record=True, width=200)
    print_evaluation(evaluation, console)
    assert words in texts["report.md"]
    assert words in console.export_text()
    for text in texts.values():
        assert "fields of several answers to an item" in text
        assert "twice the items" in text
    assert "all 5 answers" in texts["report.html"]
    assert Report.model_validate_json((evaluation.folder / "report.json").read_text("utf-8")) == evaluation.report


def test_every_answer_is_kept_with_its_item(sampled, registry, home, models) -> None:
    evaluation = run(sampled, registry, home, models)
    rows = [json.loads(line) for line in (evaluation.folder / "items.jsonl").read_text("utf-8").splitlines()]
    for row in rows:
        answers = row["arms"]["base"]["repeats"]
        assert len(answers) == K
        assert row["arms"]["base"]["scores"]["fields"] == pytest.approx(sum(a["scores"]["fields"] for a in answers) / K)
        assert all(a["answer"] in (WRONG, right(row["question"])) for a in answers)
        assert "repeats" not in row["arms"]["adapter"]


def test_where_every_arm_is_greedy_several_answers_are_refused_before_anything_is_asked(
    config, registry, home, models
) -> None:
    with pytest.raises(InvalidConfig) as error:
        run(config.model_copy(update={"repeats": 2}), registry, home, models)
    (problem,) = error.value.problems
    assert (problem.place, "answers greedily" in problem.fault, "temperature: 0.7" in problem.cure) == (
        "repeats", True, True,
    )  # fmt: skip
    assert not models.asked


def test_without_a_file_the_cure_is_one_that_can_be_copied(trained, registry, home, models, tmp_path) -> None:
    rows = [
        {"messages": [{"role": "user", "content": f"سؤال {n}"}, {"role": "assistant", "content": "نعم"}]}
        for n in range(4)
    ]
    data = tmp_path / "our rows.jsonl"
    data.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    with pytest.raises(InvalidConfig) as error:
        run(EvalConfig.of_rows(str(data), "base,toy:1", repeats=2), registry, home, models)
    (problem,) = error.value.problems
    assert not models.asked
    written, command = re.fullmatch(
        r"write (.+) into a file, and run `dabt eval FILE (.+)`; or take repeats out", problem.cure
    ).groups()
    assert command == "--repeats 2"
    file = tmp_path / "elsewhere" / "again.yaml"
    file.parent.mkdir()
    file.write_text(written, encoding="utf-8")
    evaluation = run(EvalConfig.load(file, repeats=2), registry, home, models)
    assert {arm.arm: arm.metrics[evaluation.report.metric].repeats.per_item for arm in evaluation.report.arms} == {
        "base": 2,
        "toy:1": 2,
    }


@pytest.mark.parametrize(
    ("rows", "task", "cure"),
    [
        ([{"text": f"t{n}", "label": "ab"[n % 2]} for n in range(4)], "solver: {type: chat, temperature: 0.0}",
         "write `temperature: 0.7` under the task file's `solver`; or take repeats out"),
        ([{"question": f"q{n}", "choices": ["a", "b"], "answer": 0} for n in range(4)], "",
         "take repeats out: nothing is drawn by chance here"),
    ],
)  # fmt: skip
def test_the_cure_is_what_the_solver_would_heed(trained, registry, home, models, tmp_path, rows, task, cure) -> None:
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (tmp_path / "task.yaml").write_text(f"data: rows.jsonl\n{task}\n", encoding="utf-8")
    file = tmp_path / "eval.yaml"
    file.write_text("{name: x, task: task.yaml, arms: {base: {}, other: {version: 'toy:1'}}}", encoding="utf-8")
    with pytest.raises(InvalidConfig) as error:
        run(EvalConfig.load(file, repeats=2), registry, home, models)
    assert [problem.cure for problem in error.value.problems] == [cure]


def test_failed_answers_are_counted_one_by_one_and_are_zero_in_the_mean(sampled, registry, home, models) -> None:
    import httpx

    def before(models, version, question):
        return httpx.Response(400) if version == "toy:3" and models.bodies[-1]["seed"] % 4 == 0 else None

    models.before = before
    report = run(sampled, registry, home, models).report
    few = report.result("few-shot")
    seeds = {b["seed"] for b in models.bodies if b["model"] == few.ref}
    assert few.errors == sum(seed % 4 == 0 for seed in seeds)
    assert few.metrics["fields"].value == pytest.approx(sum(seed % 4 in (1, 2) for seed in seeds) / len(seeds))
    assert few.metrics["fields"].n == N_ITEMS
    assert any(f"few-shot {few.errors}, of 40 items, asked 5 times" in words for words in report.advice)


def test_clusters_hold_with_several_answers(sampled, registry, home, models) -> None:
    report = run(sampled.model_copy(update={"cluster": "patient"}), registry, home, models).report
    figure = report.result("base").metrics["fields"]
    assert (figure.n, figure.clusters, figure.repeats.per_item) == (N_ITEMS, N_ITEMS // 2, K)
    gap = report.difference("few-shot", "base")
    assert (gap.clusters, gap.repeats.se) == (N_ITEMS // 2, gap.se)


def test_other_draws_are_another_try_and_the_same_ones_are_not(sampled, registry, home, models) -> None:
    def number(**changes: object) -> int:
        return run(sampled.model_copy(update=changes), registry, home, models).report.tries.number

    assert [number(), number(), number(seed=18), number(repeats=2)] == [1, 1, 2, 3]


def test_another_seed_is_no_other_try_where_nothing_is_drawn(config, registry, home, models) -> None:
    models.speaks |= {"base": lambda _: WRONG, "few-shot": lambda _: WRONG}
    for seed in (17, 18):
        report = run(config.model_copy(update={"seed": seed}), registry, home, models).report
        assert report.tries.number == 1
