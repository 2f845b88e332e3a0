"""A configuration is read whole: every fault at once, each with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from evals.config import EvalConfig, load_policy
from evals.recipes import read_prompt
from lifecycle.errors import InvalidConfig


def edited(workplace: Path, *changes: tuple[str, str]) -> Path:
    path = workplace / "toy.yaml"
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return path


def places(error: pytest.ExceptionInfo[InvalidConfig]) -> list[str]:
    return [problem.place.rpartition(": ")[2] for problem in error.value.problems]


def test_paths_are_relative_to_the_file(workplace: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    config = EvalConfig.load(workplace / "toy.yaml")
    assert config.policy == workplace / "policy.yaml"
    assert config.task_files == workplace / "tasks"
    prompt = read_prompt(config.arms["few-shot"].prompt)
    assert prompt.system == "Answer in JSON. أجب."
    assert [(shot.user, shot.assistant) for shot in prompt.shots] == [("hi", "{}")]


def test_a_chat_template_is_a_file_beside_the_evaluations_or_a_name_and_needs_a_base(workplace: Path) -> None:
    lines = (workplace / "toy.yaml").read_text()
    (workplace / "turns.jinja").write_text("{{ messages }}")
    (workplace / "templated.yaml").write_text(f"template: turns.jinja\n{lines}")
    assert EvalConfig.load(workplace / "templated.yaml").template == str(workplace / "turns.jinja")
    assert EvalConfig.load(workplace / "toy.yaml", template="chatml").template == "chatml"
    alone = "\n".join(line for line in lines.splitlines() if not line.startswith("base:"))
    (workplace / "alone.yaml").write_text(f"template: chatml\n{alone}")
    with pytest.raises(InvalidConfig, match="template is put into a base: name the base too"):
        EvalConfig.load(workplace / "alone.yaml")


def test_overrides_that_are_given_win_over_the_file(workplace: Path) -> None:
    config = EvalConfig.load(workplace / "toy.yaml", limit=5, endpoint=None, concurrency=2)
    assert (config.limit, config.concurrency, config.endpoint) == (5, 2, "http://127.0.0.1:8000/v1")


def test_without_a_policy_a_run_is_a_look_and_says_why(workplace: Path) -> None:
    config = EvalConfig.load(edited(workplace, ("policy: policy.yaml", "")))
    assert config.policy is None
    assert config.provisional == ("no policy says what a version must show",)


def test_what_is_no_number_is_told_with_all_that_is_wrong_here_in_the_policy_and_in_the_prices(
    workplace: Path,
) -> None:
    (workplace / "policy.yaml").write_text("name: p\nrules: [{rule: latency, times: inf}]\nhue: 1\n")
    (workplace / "prices.yaml").write_text("machine: {hour: 1e400}\ndays: -.inf\nonce: {base: .nan}\n")
    path = edited(
        workplace,
        ("policy: policy.yaml", "policy: policy.yaml\nprices: prices.yaml\ntimeout: .inf"),
        ("metric: fields", "metrik: fields"),
    )
    with pytest.raises(InvalidConfig) as error:
        EvalConfig.load(path)
    told = {one.place.removeprefix(f"{workplace}/"): one for one in error.value.problems}
    unusable = [place for place, one in told.items() if "is no number to work with" in one.fault]
    assert sorted(unusable) == [
        "policy.yaml: rules.0.times", "prices.yaml: days", "prices.yaml: machine.hour", "prices.yaml: once.base",
        "toy.yaml: timeout",
    ]  # fmt: skip
    assert {told[place].cure for place in unusable} == {"write a number"}
    others = {"toy.yaml: metric", "toy.yaml: metrik", "policy.yaml: hue", "prices.yaml: currency"}
    assert told.keys() == {*unusable, *others}


def test_every_fault_is_reported_at_once_with_its_key_path(workplace: Path) -> None:
    path = edited(
        workplace,
        ("metric: fields", "metrik: fields"),
        ("concurrency: 4", "concurrency: 0"),
        ("shots: shots.jsonl", "shots: gone.jsonl"),
        ("top_k: 2", 'topk: 2, template: "{passages}"'),
        ("version: toy:newest", "version: Toy!"),
    )
    with pytest.raises(InvalidConfig) as error:
        EvalConfig.load(path)
    assert set(places(error)) == {
        "metric",
        "metrik",
        "concurrency",
        "arms.few-shot.prompt.shots",
        "arms.rag.knowledge.topk",
        "arms.rag.knowledge.template",
        "arms.adapter.version",
    }


def test_bad_shots_and_a_bad_policy_are_reported_together(workplace: Path) -> None:
    (workplace / "shots.jsonl").write_text('{"user": "hi", "assistant": "{}"}\nnot json\n\n{"user": "hi"}\n')
    (workplace / "policy.yaml").write_text("rules:\n  - {rule: wins}\n")
    with pytest.raises(InvalidConfig) as error:
        EvalConfig.load(workplace / "toy.yaml")
    found = [problem.place for problem in error.value.problems]
    assert found[:2] == [f"{workplace / 'shots.jsonl'}:2", f"{workplace / 'shots.jsonl'}:4"]
    assert found[2] == f"{workplace / 'policy.yaml'}: rules.0"


def test_shots_may_be_chat_rows(workplace: Path) -> None:
    (workplace / "shots.jsonl").write_text(
        '{"messages": [{"role": "system", "content": "x"}, {"role": "user", "content": "مرحبا"}, '
        '{"role": "assistant", "content": "أهلا"}]}\n',
        encoding="utf-8",
    )
    config = EvalConfig.load(workplace / "toy.yaml")
    (shot,) = read_prompt(config.arms["few-shot"].prompt).shots
    assert (shot.user, shot.assistant) == ("مرحبا", "أهلا")


def test_a_version_is_whole_and_takes_no_parts(workplace: Path) -> None:
    path = edited(workplace, ("{version: toy:newest}", "{version: toy:newest, decoding: {temperature: 0.5}}"))
    with pytest.raises(InvalidConfig, match="write adapter: toy:newest"):
        EvalConfig.load(path)


def test_the_baseline_is_one_of_the_arms(workplace: Path) -> None:
    with pytest.raises(InvalidConfig, match="baseline 'plain' is none of the arms: base, few-shot, rag, adapter"):
        EvalConfig.load(edited(workplace, ("chunk: 10", "baseline: plain")))


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "a: [1\n", "a: \0\n"])
def test_what_is_no_mapping_is_refused_by_its_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(InvalidConfig) as error:
        load_policy(path)
    assert [problem.place for problem in error.value.problems] == [str(path)]


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="there is no such file"):
        EvalConfig.load(tmp_path / "none.yaml")


def test_every_evaluation_of_the_clinic_loads() -> None:
    folder = Path(__file__).parents[2] / "examples" / "clinic" / "evals"
    for task in ("triage", "handbook", "digest"):
        config = EvalConfig.load(folder / f"{task}.yaml")
        assert list(config.arms) == ["base", "few-shot", "rag", "adapter", "hybrid"]
    assert len(load_policy(folder / "policy.yaml").rules) == 8


def test_a_candidate_stands_for_the_newest_version_of_its_name(workplace: Path) -> None:
    plain = EvalConfig.load(workplace / "toy.yaml")
    config = EvalConfig.load(workplace / "toy.yaml", candidate="toy:7")
    changed = {label: recipe for label, recipe in config.arms.items() if recipe != plain.arms[label]}
    assert {label: recipe.version or recipe.adapter for label, recipe in changed.items()} == dict.fromkeys(
        [label for label, recipe in plain.arms.items() if "toy:newest" in (recipe.version, recipe.adapter)], "toy:7"
    )
    assert changed
    # A name of its own is taken for the file's when the file has no arm of it.
    other = EvalConfig.load(workplace / "toy.yaml", candidate="other:2")
    assert other.arms["adapter"].version == "other:2"


def test_a_candidate_needs_an_arm_to_stand_in(workplace: Path) -> None:
    text = (workplace / "toy.yaml").read_text().replace("toy:newest", "toy:1")
    (workplace / "toy.yaml").write_text(text)
    with pytest.raises(InvalidConfig, match="toy:7") as error:
        EvalConfig.load(workplace / "toy.yaml", candidate="toy:7")
    assert places(error) == ["arms"]
