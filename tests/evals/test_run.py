"""The whole evaluation against fake models: what is asked, what is kept, what is recorded."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from evals.asking.endpoint import Endpoint
from evals.config import EvalConfig
from evals.report.evaluation import Evaluation
from evals.report.table import print_evaluation
from evals.run import evaluate
from evals.tasks.lmeval import task as lmeval_task
from lifecycle.errors import InvalidConfig, InvalidData, NotAllowed, NotFound, Unavailable
from lifecycle.home import Home
from lifecycle.registry import Registry
from lifecycle.report import Report
from lifecycle.states import State
from lifecycle.text.normaliser import LIGHT_1
from lifecycle.verdict import Ruling
from lifecycle.version import Lineage, Prompt

N_ITEMS = 40
QUICK = Endpoint(url="http://models.test/v1", retries=2, pause=0.0, patience=0.0)


class Watch:
    """Progress as numbers."""

    def __init__(self) -> None:
        self.totals: dict[str, int] = {}
        self.done: Counter[str] = Counter()

    def note(self, text: str) -> None: ...

    def begin(self, totals: dict[str, int]) -> None:
        self.totals = totals

    def advance(self, arm: str, count: int) -> None:
        self.done[arm] += count


def run(config: EvalConfig, registry: Registry, home: Home, models, **more) -> Evaluation:
    return evaluate(config, registry, home, transport=models.transport, endpoint=QUICK, **more)


def test_every_arm_answers_the_same_items_and_the_gate_decides(config, registry, home, models) -> None:
    watch = Watch()
    evaluation = run(config, registry, home, models, progress=watch)
    report = evaluation.report
    assert {arm.arm: arm.metrics["fields"].value for arm in report.arms} == {
        "base": 0.0,
        "few-shot": 0.5,
        "rag": 0.7,
        "adapter": 1.0,
    }
    assert (report.n_items, report.n_train, report.base) == (N_ITEMS, 400, "tiny-base")
    assert report.arms[3].metrics["escalation_recall"].n == N_ITEMS // 4
    assert {(one.ref, one.passed) for one in evaluation.verdicts} == {
        ("toy:3", False),
        ("toy:4", False),
        ("toy:1", True),
    }
    assert evaluation.recommended == "toy:1"
    assert [arm.errors for arm in report.arms] == [0] * 4
    assert watch.done == watch.totals == {"base": 40, "few-shot": 40, "rag": 40, "adapter": 40, "base, again": 8}


def test_the_registry_holds_the_report_the_verdicts_and_the_states(config, gated, registry, home, models) -> None:
    models.speaks["few-shot"] = models.speaks["base"]
    evaluation = run(config, registry, home, models)
    assert registry.report(evaluation.report.digest) == evaluation.report
    states = {version.ref: version.state for version in registry.versions("toy")}
    assert states == {
        "toy:1": State.APPROVED,
        "toy:2": State.EVALUATED,  # the baseline is not judged
        "toy:3": State.REJECTED,
        "toy:4": State.EVALUATED,  # undecided: ten emergencies cannot tell
    }
    registry.promote("toy:1", actor="test", reason="passed")
    with pytest.raises(NotAllowed):
        registry.promote("toy:4", actor="test", reason="failed")


def test_the_question_goes_behind_its_rows_system_text_and_says_that_it_is_an_evaluation(
    config, registry, home, models
) -> None:
    run(config, registry, home, models)
    own = {"role": "system", "content": "of the data, not of the version"}
    assert all(body["messages"][:-1] == [own] for body in models.bodies)
    assert all(body["messages"][-1]["role"] == "user" for body in models.bodies)
    assert all(set(body) == {"model", "messages", "max_tokens", "seed"} for body in models.bodies)
    assert {headers["x-dabt-purpose"] for headers in models.headers} == {"evaluation"}


def test_a_second_run_asks_nothing_and_finds_the_same(config, registry, home, models) -> None:
    first = run(config, registry, home, models).report
    asked = sum(models.asked.values())
    second = run(config, registry, home, models).report
    assert sum(models.asked.values()) == asked
    assert [arm.metrics for arm in second.arms] == [arm.metrics for arm in first.arms]
    assert second.arms == first.arms  # latencies too: they are those of the live run
    assert second.comparisons == first.comparisons


def test_an_interrupted_run_goes_on_and_asks_no_finished_item_twice(config, registry, home, models, ctrl_c) -> None:
    def interrupt(models, version, question):
        if sum(models.answered.values()) == 57:
            ctrl_c()

    models.before = interrupt
    with pytest.raises(KeyboardInterrupt):
        run(config, registry, home, models)
    finished = +models.answered
    assert 57 <= sum(finished.values()) <= 57 + 2 * config.concurrency, "what is under way comes to its next wait"
    models.before = lambda *_: None
    evaluation = run(config, registry, home, models)
    again = {key for key, count in models.answered.items() if count > 1 and key[0] != "toy:2"}
    in_flight = config.concurrency
    assert len(again) < in_flight  # what was answered but not yet saved when the interruption struck
    assert sum(models.answered.values()) - (4 * N_ITEMS + config.noise_items) < in_flight
    assert evaluation.report.arms[3].metrics["fields"].value == 1.0


def test_what_is_saved_is_never_asked_again(config, registry, home, models, ctrl_c) -> None:
    class Stop(Watch):
        def advance(self, arm: str, count: int) -> None:
            super().advance(arm, count)
            if sum(self.done.values()) == 33:
                ctrl_c()

    with pytest.raises(KeyboardInterrupt):
        run(config, registry, home, models, progress=Stop())
    stored = [json.loads(line) for file in (home.cache / "answers").iterdir() for line in file.read_text().splitlines()]
    assert 33 <= len(stored) <= 33 + 2 * config.concurrency, "what is under way comes to its next wait"
    run(config, registry, home, models)
    everything = [line for file in (home.cache / "answers").iterdir() for line in file.read_text().splitlines()]
    keys = [json.loads(line)["key"] for line in everything]
    assert len(keys) == len(set(keys)) == 4 * N_ITEMS + config.noise_items


def test_another_version_under_the_same_arm_is_asked_anew(config, workplace, registry, home, models) -> None:
    run(config, registry, home, models)
    (workplace / "system.txt").write_text("Answer in JSON, briefly.")
    models.asked.clear()
    evaluation = run(config, registry, home, models)
    assert evaluation.report.arms[1].ref == "toy:6"
    assert {model for model, _ in models.asked} == {"toy:5", "toy:6", "toy:7"}  # not the adapter: it has its own prompt


def test_a_changed_item_is_asked_anew_by_all(config, workplace, registry, home, models) -> None:
    run(config, registry, home, models)
    file = workplace / "tasks" / "test.jsonl"
    file.write_text(file.read_text(encoding="utf-8").replace("I have pain 1", "I feel pain 1"), encoding="utf-8")
    models.asked.clear()
    run(config, registry, home, models)
    assert {model for model, question in models.asked if question == "I feel pain 1"} == {
        f"toy:{n}" for n in (1, 2, 3, 4)
    }


def test_failures_are_scored_zero_and_never_left_out(config, registry, home, models) -> None:
    models.before = lambda _, version, question: (
        httpx.Response(400, json={"error": {"message": "the prompt is too long"}})
        if version == "toy:1" and question.endswith("3")
        else None
    )
    evaluation = run(config, registry, home, models)
    adapter = evaluation.report.arms[3]
    assert adapter.errors == 4
    assert adapter.metrics["fields"].value == pytest.approx(36 / 40)
    assert adapter.metrics["fields"].n == N_ITEMS
    rows = [json.loads(line) for line in (evaluation.folder / "items.jsonl").read_text("utf-8").splitlines()]
    failed = [row for row in rows if row["arms"]["adapter"]["error"]]
    assert {row["name"] for row in failed} == {"toy-03", "toy-13", "toy-23", "toy-33"}
    assert all(set(row["arms"]["adapter"]["scores"].values()) == {0.0} for row in failed)
    assert "HTTP 400: the prompt is too long" in failed[0]["arms"]["adapter"]["error"]


def test_an_error_that_may_pass_is_scored_zero_now_asked_again_next_time_and_decides_nothing(
    config, registry, home, models
) -> None:
    models.before = lambda _, version, question: httpx.Response(500) if question == "I have pain 3" else None
    first = run(config, registry, home, models)
    assert first.report.arms[3].errors == 1
    words = "4 requests failed for a reason that may pass (HTTP 500: no body): run the same command again"
    assert first.report.provisional == (words,)
    assert {verdict.provisional for verdict in first.verdicts} == {(words,)}
    models.before = lambda *_: None
    models.asked.clear()
    second = run(config, registry, home, models)
    assert (second.report.arms[3].errors, second.report.provisional) == (0, ())
    assert {question for _, question in models.asked} == {"I have pain 3"}


@pytest.mark.parametrize(
    "failure", [httpx.ReadError("reset"), httpx.ReadTimeout("slow"), httpx.ConnectError("refused")], ids=repr
)
def test_a_connection_that_breaks_costs_the_run_nothing(config, registry, home, models, failure) -> None:
    """Each question of each arm fails at the first time, as when the service starts again in the middle."""

    def breaks(models, version, question):
        if models.asked[version, question] == 1:
            raise failure

    models.before = breaks
    report = run(config, registry, home, models).report
    assert ([arm.errors for arm in report.arms], report.provisional) == ([0] * 4, ())
    assert report.arms[3].metrics["fields"].value == 1.0


def test_a_refusal_is_no_answer_to_keep_and_decides_all_the_same(config, registry, home, models) -> None:
    models.before = lambda _, version, question: httpx.Response(400) if question == "I have pain 3" else None
    first = run(config, registry, home, models).report
    assert ([arm.errors for arm in first.arms], first.provisional) == ([1] * 4, ())
    models.before = lambda *_: None
    models.asked.clear()
    assert [arm.errors for arm in run(config, registry, home, models).report.arms] == [0] * 4
    assert {question for _, question in models.asked} == {"I have pain 3"}


def test_the_report_and_every_verdict_name_the_deployment(config, registry, home, models) -> None:
    evaluation = run(config, registry, home, models)
    assert evaluation.report.deployment == models.deployment
    assert {verdict.deployment for verdict in evaluation.verdicts} == {models.deployment.digest}
    assert models.deployment.digest in (evaluation.folder / "report.md").read_text("utf-8")
    assert models.deployment.digest in (evaluation.folder / "report.html").read_text("utf-8")


def test_answers_of_another_deployment_are_not_reused_and_its_own_are(config, registry, home, models) -> None:
    first = models.deployment
    run(config, registry, home, models)
    models.deployment = first.model_copy(update={"dtype": "bfloat16"})
    models.asked.clear()
    second = run(config, registry, home, models).report
    assert sum(models.asked.values()) == 4 * N_ITEMS + config.noise_items
    assert second.deployment == models.deployment
    models.deployment = first
    models.asked.clear()
    assert run(config, registry, home, models).report.deployment == first
    assert not models.asked


def test_answers_of_another_endpoint_are_not_reused(config, registry, home, models) -> None:
    run(config, registry, home, models)
    models.asked.clear()
    elsewhere = QUICK.model_copy(update={"url": "http://models.test:8001/v1"})
    evaluate(config, registry, home, transport=models.transport, endpoint=elsewhere)
    assert sum(models.asked.values()) == 4 * N_ITEMS + config.noise_items
    models.asked.clear()
    same = QUICK.model_copy(update={"url": "http://models.test:80/v1/"})
    evaluate(config, registry, home, transport=models.transport, endpoint=same)
    assert not models.asked


def test_a_deployment_that_changes_in_mid_run_stops_it_and_what_is_finished_is_kept(
    config, registry, home, models
) -> None:
    first = models.deployment
    other = first.model_copy(update={"engine": "fake 2"})

    def change(models, *_):
        models.deployment = other if sum(models.answered.values()) >= 57 else first

    models.before = change
    with pytest.raises(Unavailable, match=r"was another deployment when this run began.*run the same command again"):
        run(config, registry, home, models)
    assert not registry.reports()
    models.before = lambda *_: None
    models.deployment = first
    models.asked.clear()
    report = run(config, registry, home, models).report
    assert report.deployment == first
    assert sum(models.asked.values()) == 4 * N_ITEMS + config.noise_items - 57


def test_an_endpoint_that_does_not_say_who_answered_is_measured_and_gets_no_verdict(
    config, registry, home, models
) -> None:
    models.deployment = None
    evaluation = run(config, registry, home, models)
    reasons = (
        "the endpoint does not say which version answered",
        "the endpoint does not say on which deployment it answered",
    )
    assert evaluation.report.arms[3].metrics["fields"].value == 1.0
    assert (evaluation.report.provisional, evaluation.report.deployment) == (reasons, None)
    assert {(one.provisional, one.deployment) for one in evaluation.verdicts} == {(reasons, None)}
    asked = sum(models.asked.values())
    run(config, registry, home, models)
    assert sum(models.asked.values()) == 2 * asked, "nobody knows whether it is still the same"


@pytest.mark.parametrize("header", ["x-dabt-digest", "x-dabt-deployment"])
def test_one_answer_of_which_it_is_not_said_who_gave_it_is_enough_for_no_verdict(
    config, registry, home, models, header
) -> None:
    whole = models._who

    def who(version):
        told = whole(version)
        if sum(models.answered.values()) == 57:
            del told[header]
        return told

    models._who = who
    report = run(config, registry, home, models).report
    assert len(report.provisional) == 1
    assert report.provisional[0].startswith("the endpoint does not say")


def test_a_failed_second_pass_is_no_noise(config, registry, home, models) -> None:
    models.before = lambda models, version, question: (
        httpx.Response(400) if models.asked[version, question] == 2 else None
    )
    assert run(config, registry, home, models).report.noise_floor == 0.0


def test_a_service_that_stops_answering_stops_the_run_and_keeps_what_is_finished(
    config, registry, home, models
) -> None:
    models.before = lambda models, *_: httpx.Response(500) if sum(models.answered.values()) >= 25 else None
    with pytest.raises(Unavailable, match="run the same command to go on"):
        run(config, registry, home, models)
    assert not registry.reports()
    models.before = lambda *_: None
    run(config, registry, home, models)
    noise = config.noise_items
    assert sum(models.answered.values()) == 4 * N_ITEMS + noise


def test_the_noise_floor_is_the_share_of_answers_that_change(config, registry, home, models) -> None:
    def fickle(question: str) -> str:
        second = models.asked["toy:2", question] > 1
        return "changed" if second and int(question.rsplit(" ", 1)[1]) % 2 else "the same"

    models.speaks["base"] = fickle
    report = run(config.model_copy(update={"noise_items": 40}), registry, home, models).report
    assert report.noise_floor == 0.5
    assert any("changed 50.0% of its answers" in one for one in report.advice)


def test_without_a_second_pass_there_is_no_noise_floor(config, registry, home, models) -> None:
    assert run(config.model_copy(update={"noise_items": 0}), registry, home, models).report.noise_floor == 0.0
    assert set(models.asked.values()) == {1}


def test_a_limit_takes_a_seeded_sample_and_not_the_first(config, registry, home, models) -> None:
    limited = config.model_copy(update={"limit": 12, "noise_items": 0})
    assert run(limited, registry, home, models).report.n_items == 12
    numbers = {int(question.rsplit(" ", 1)[1]) for _, question in models.asked}
    assert len(numbers) == 12
    assert numbers != set(range(12))
    models.asked.clear()
    run(limited, registry, home, models)
    assert not models.asked  # the same sample again, and all of it known


def test_arms_take_turns_so_that_a_slow_moment_touches_all(config, registry, home, models) -> None:
    run(config.model_copy(update={"noise_items": 0}), registry, home, models)
    turns = [{body["model"] for body in models.bodies[at : at + config.chunk]} for at in range(0, 160, config.chunk)]
    assert all(len(turn) == 1 for turn in turns)  # one arm at a time: nobody waits behind another arm
    for start in range(0, 16, 4):
        assert set.union(*turns[start : start + 4]) == {"toy:1", "toy:2", "toy:3", "toy:4"}
    assert len({tuple(min(turn) for turn in turns[start : start + 4]) for start in range(0, 16, 4)}) > 1


def test_an_endpoint_of_another_registry_is_not_measured(config, registry, home, models) -> None:
    stranger = httpx.Response(200, headers={"x-dabt-digest": "sha256:" + "0" * 64}, json={"choices": []})
    models.before = lambda *_: stranger
    with pytest.raises(NotAllowed, match="serves another toy:"):
        run(config, registry, home, models)


def test_nobody_at_the_endpoint_is_said_before_anything_is_asked(config, registry, home) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused", request=request)

    with pytest.raises(Unavailable, match="dabt serve"):
        evaluate(config, registry, home, endpoint=QUICK, transport=httpx.MockTransport(refuse))


def test_a_version_that_the_service_refuses_gives_its_own_words(config, registry, home) -> None:
    def unknown(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/models"):
            return httpx.Response(200, json={"data": []})
        return httpx.Response(404, json={"error": {"message": "no model toy:2; see /v1/models"}})

    with pytest.raises(NotFound, match="see /v1/models"):
        evaluate(config, registry, home, endpoint=QUICK, transport=httpx.MockTransport(unknown))


def test_a_metric_that_no_item_gets_is_refused_before_anything_is_asked(config, registry, home, models) -> None:
    with pytest.raises(InvalidConfig) as error:
        run(config.model_copy(update={"metric": "bleu", "safety": "sanity"}), registry, home, models)
    assert [problem.place for problem in error.value.problems] == ["metric", "safety"]
    assert "valid_json, intent, urgency, fields, escalation_recall" in error.value.problems[0].cure
    assert not models.asked


def test_targets_that_cannot_be_scored_are_all_reported_before_anything_is_asked(
    config, workplace, registry, home, models
) -> None:
    file = workplace / "tasks" / "test.jsonl"
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    rows[3]["messages"][2]["content"] = '{"intent": "symptom"}'
    rows[5]["messages"][2]["content"] = "no json"
    file.write_text("\n".join(json.dumps(row) for row in rows))
    with pytest.raises(InvalidData) as error:
        run(config, registry, home, models)
    assert [problem.place.split()[0] for problem in error.value.problems] == ["toy:toy-03", "toy:toy-05"]
    assert not models.asked


def test_an_unknown_task_names_those_that_there_are(config, home) -> None:
    with pytest.raises(NotFound, match="there is toy"):
        lmeval_task.load(config.model_copy(update={"task": "toyy"}), home.cache)


def test_other_items_can_take_the_place_of_the_tasks_own(config, workplace, home, tmp_path: Path) -> None:
    lines = (workplace / "tasks" / "test.jsonl").read_text(encoding="utf-8").splitlines()
    (tmp_path / "fresh.jsonl").write_text("\n".join(lines[:5]), encoding="utf-8")
    own = lmeval_task.load(config, home.cache)
    fresh = lmeval_task.load(config.model_copy(update={"data": tmp_path / "fresh.jsonl"}), home.cache)
    assert (len(own.samples), len(fresh.samples)) == (N_ITEMS, 5)
    assert own.digest != fresh.digest


def test_the_task_digest_is_of_the_content_and_not_of_its_place(config, workplace, home, tmp_path: Path) -> None:
    import shutil

    moved = shutil.copytree(workplace, tmp_path / "moved")
    there = config.model_copy(update={"task_files": moved / "tasks"})
    assert lmeval_task.load(config, home.cache).digest == lmeval_task.load(there, home.cache).digest
    assert (
        lmeval_task.load(config.model_copy(update={"limit": 3}), home.cache).digest
        == lmeval_task.load(config, home.cache).digest
    )
    task = moved / "tasks" / "toy.yaml"
    task.write_text(task.read_text().replace("max_gen_toks: 40", "max_gen_toks: 41"))
    assert lmeval_task.load(there, home.cache).digest != lmeval_task.load(config, home.cache).digest


def test_the_task_digest_covers_the_normaliser_whether_the_task_names_it_or_not(
    config, workplace, home, monkeypatch
) -> None:
    task = workplace / "tasks" / "toy.yaml"
    plain = task.read_text()

    def digest(metric: str = "") -> str:
        task.write_text(plain + metric)
        return lmeval_task.load(config, home.cache).digest

    unnamed = digest("  - {metric: json_text, fields: [intent], measures: [exact]}\n")
    named = "  - {metric: json_text, fields: [intent], measures: [exact], normaliser: light-1}\n"
    light_1, labels = digest(named), digest()
    assert len({unnamed, light_1, labels}) == 3
    light_2 = dataclasses.replace(LIGHT_1, name="light-2")
    monkeypatch.setattr("lifecycle.text.normaliser.NORMALISERS", {"light-1": LIGHT_1, "light-2": light_2})
    assert digest(named.replace("light-1", "light-2")) not in {unnamed, light_1, labels}
    assert digest(named) == light_1
    assert digest() == labels  # compares no text
    monkeypatch.setattr("evals.tasks.lmeval.metrics.DEFAULT", light_2)
    assert digest("  - {metric: json_text, fields: [intent], measures: [exact]}\n") != unnamed
    assert digest(named) == light_1


def test_the_task_digest_covers_the_rules_of_scoring(config, home, monkeypatch) -> None:
    before = lmeval_task.load(config, home.cache).digest
    monkeypatch.setattr("lifecycle.text.scores.RULES", 99)
    assert lmeval_task.load(config, home.cache).digest != before


def test_a_normaliser_that_there_is_not_is_refused_before_anything_is_asked(
    config, workplace, registry, home, models
) -> None:
    task = workplace / "tasks" / "toy.yaml"
    task.write_text(task.read_text() + "  - {metric: spoken_f1, field: intent, normaliser: heavy}\n")
    with pytest.raises(InvalidConfig, match="there is no 'heavy' → one of light-1"):
        run(config, registry, home, models)
    assert not models.asked


def test_no_answer_stops_a_run_or_its_report(config, registry, home, models) -> None:
    """Numbers past what Python reads, nesting past its stack, and text that cannot be written as UTF-8."""
    odd = [f'{{"intent": {value}}}' for value in ("9" * 4301, "[" * 50_000, '"\\ud800"', "NaN")]
    models.speaks["few-shot"] = lambda question: odd[int(question.rsplit(" ", 1)[1]) % len(odd)]
    evaluation = run(config.model_copy(update={"examples": N_ITEMS}), registry, home, models)
    assert evaluation.report.arms[1].metrics["fields"].value == 0.0
    assert evaluation.report.arms[1].metrics["valid_json"].value == 0.0
    assert evaluation.report.arms[3].metrics["fields"].value == 1.0
    assert "9" * 4301 in (evaluation.folder / "report.html").read_text("utf-8")


def test_answers_cut_by_their_limit_are_counted_shown_and_scored_as_they_stand(config, registry, home, models) -> None:
    models.finishes = lambda version, question: "length" if version == "toy:1" and question.endswith("3") else "stop"
    evaluation = run(config, registry, home, models)
    assert [arm.cut for arm in evaluation.report.arms] == [0, 0, 0, 4]
    assert evaluation.report.arms[3].metrics["fields"].value == 1.0
    rows = [json.loads(line) for line in (evaluation.folder / "items.jsonl").read_text("utf-8").splitlines()]
    cut = {row["name"] for row in rows if row["arms"]["adapter"]["cut"]}
    assert cut == {"toy-03", "toy-13", "toy-23", "toy-33"}
    assert any("cut by their limit of tokens" in one and "adapter 4" in one for one in evaluation.report.advice)
    console = Console(record=True, width=100)
    print_evaluation(evaluation, console)
    (line,) = [line for line in console.export_text().splitlines() if "cut answers" in line]
    assert line.split()[2:] == ["0", "0", "0", "4"]
    head, _, *figures = (evaluation.folder / "report.md").read_text("utf-8").split("## Figures\n\n")[1].splitlines()
    assert head.endswith("| errors | cut |")
    assert [line.split("|")[-2].strip() for line in figures[:4]] == ["0", "0", "0", "4"]
    assert '<th class="number">cut</th>' in (evaluation.folder / "report.html").read_text("utf-8")


def test_items_of_one_cluster_count_as_one(config, registry, home, models) -> None:
    alone = run(config, registry, home, models).report
    paired = run(config.model_copy(update={"cluster": "patient"}), registry, home, models).report
    assert {one.test for one in alone.comparisons} == {"mcnemar-exact"}
    assert {one.test for one in paired.comparisons} == {"sign-flip"}
    assert {one.clusters for one in paired.comparisons} == {20}
    assert {arm.metrics["fields"].clusters for arm in paired.arms} == {20}
    assert [one.delta for one in paired.comparisons] == [one.delta for one in alone.comparisons]


def test_what_is_written_is_what_was_recorded(config, registry, home, models) -> None:
    evaluation = run(config, registry, home, models)
    assert evaluation.folder.name == f"toy-{evaluation.report.digest[7:19]}"
    written = Report.model_validate_json((evaluation.folder / "report.json").read_text("utf-8"))
    assert written.digest == evaluation.verdicts[0].evaluation_digest
    markdown = (evaluation.folder / "report.md").read_text("utf-8")
    assert all(sentence in markdown for sentence in evaluation.report.advice)
    assert "### adapter (toy:1): passed by toy policy" in markdown
    rows = [json.loads(line) for line in (evaluation.folder / "items.jsonl").read_text("utf-8").splitlines()]
    assert len(rows) == N_ITEMS
    assert rows[1]["arms"]["rag"]["passages"] == ["h07"]


def test_the_printed_table_has_every_arm_with_its_interval_and_the_advice(config, registry, home, models) -> None:
    console = Console(record=True, width=80)
    evaluation = run(config, registry, home, models)
    print_evaluation(evaluation, console)
    text = console.export_text()
    for figures in (
        "base",
        "few-shot",
        "0.500",
        "0.35…0.65",
        "+1.000",
        "+0.82…+1.00",
        "80 % power from",
        "passed",
        "undecided",
    ):
        assert figures in text
    assert evaluation.report.advice[0][:60] in text.replace("\n", " ")


def test_examples_show_disagreement_and_chance(config, registry, home, models) -> None:
    examples = run(config, registry, home, models).report.examples
    assert len(examples) == 4
    assert sum(len(set(example.scores.values())) > 1 for example in examples) >= 2
    assert all(set(example.answers) == {"base", "few-shot", "rag", "adapter"} for example in examples)


def test_a_policy_may_ask_for_what_prod_serves_and_that_arm_is_not_judged(
    config, workplace, registry, home, models
) -> None:
    (workplace / "policy.yaml").write_text("rules: [{rule: not_worse, arms: [prod], margin: 0.3}]")
    spec = registry.version("toy:1").spec.model_copy(update={"prompt": Prompt(system="older")})
    older = registry.create_version("toy", spec, actor="test", lineage=Lineage(source="training", note="older"))
    registry.promote(older.ref, actor="test", reason="it was the first", force=True)
    report = (evaluation := run(with_version(config, "toy:1"), registry, home, models)).report
    assert [arm.arm for arm in report.arms] == ["base", "few-shot", "rag", "adapter", "prod"]
    assert (report.prod, report.arms[-1].ref) == ("prod", older.ref)
    rulings = {one.ref: {check.rule: check.ruling for check in one.checks} for one in evaluation.verdicts}
    assert older.ref not in rulings
    assert evaluation.baseline.arm == "base"
    assert rulings["toy:1"]["does not lose to prod"] is Ruling.PASSED  # both are right everywhere
    assert rulings[report.arms[1].ref]["does not lose to prod"] is Ruling.FAILED


def test_a_policy_that_does_not_ask_for_prod_does_not_pay_for_it(config, registry, home, models) -> None:
    registry.promote("toy:1", actor="test", reason="it was the first", force=True)
    assert run(config, registry, home, models).report.prod is None


def with_version(config: EvalConfig, ref: str) -> EvalConfig:
    """The same with the adapter's version named, as the newest may be another."""
    recipe = config.arms["adapter"].model_copy(update={"version": ref})
    return config.model_copy(update={"arms": {**config.arms, "adapter": recipe}})
