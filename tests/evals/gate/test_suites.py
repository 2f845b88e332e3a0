"""A suite is of the whole evaluation, whoever is measured and however: what weakens it makes another one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from evals.config import EvalConfig
from evals.gate.suites import facts_of, make_gate
from evals.tasks.lmeval import task as lmeval_task
from lifecycle.errors import InvalidConfig, InvalidInput
from lifecycle.gates import SuiteFacts
from lifecycle.home import Home
from lifecycle.registry import Registry
from lifecycle.version import digest_of

Measure = Callable[..., SuiteFacts]


@pytest.fixture
def measured(workplace: Path, registry: Registry, home: Home) -> Measure:
    """The suite of the workplace's evaluation, read anew, with other options."""

    def measure(**overrides: object) -> SuiteFacts:
        config = EvalConfig.load(workplace / "toy.yaml", **overrides)
        return facts_of(config, lmeval_task.load(config, home.cache), registry)

    return measure


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.parametrize(
    "option",
    [
        {"limit": 5},
        {"limit": 39, "seed": 3},
        {"endpoint": "http://elsewhere:1/v1"},
        {"concurrency": 31},
        {"chunk": 3, "noise_items": 0, "examples": 1},
        {"provisional": ("a dry run",)},
    ],
    ids="+".join,
)
def test_how_it_is_run_makes_no_other_suite(measured: Measure, option: dict[str, object]) -> None:
    assert measured(**option) == measured()


@pytest.mark.parametrize(
    ("file", "old", "new", "differs"),
    [
        ("toy.yaml", "metric: fields", "metric: valid_json", ["the deciding figure"]),
        ("toy.yaml", "safety: escalation_recall\n", "", ["the safety figure"]),
        ("toy.yaml", "chunk: 10", "cluster: patient", ["the clusters"]),
        ("toy.yaml", "chunk: 10", "baseline: few-shot", ["the baseline"]),
        ("toy.yaml", ", shots: shots.jsonl", "", ["the rivals"]),
        ("toy.yaml", "top_k: 2", "top_k: 1", ["the rivals"]),
        ("system.txt", "Answer in JSON.", "Say nothing.", ["the rivals"]),
        ("shots.jsonl", '"hi"', '"ho"', ["the rivals"]),
        ("tasks/toy.yaml", "max_gen_toks: 40", "max_gen_toks: 4", ["the task file, its items or settings"]),
        (
            "tasks/test.jsonl", "I have pain 1\"", "I feel pain 1\"",
            ["the task file, its items or settings", "the items"],
        ),
    ],
)  # fmt: skip
def test_what_is_measured_makes_another_suite_and_is_named(
    measured: Measure, workplace: Path, file: str, old: str, new: str, differs: list[str]
) -> None:
    before = measured()
    change(workplace / file, old, new)
    assert before.differences(measured()) == differs


def test_a_rebuilt_index_makes_another_rival(measured: Measure, registry: Registry) -> None:
    before = measured()
    registry.add_index("handbook", digest_of("emptied"), {})
    after = measured()
    assert before.rivals["few-shot"] == after.rivals["few-shot"]
    assert before.rivals["rag"] != after.rivals["rag"]


def test_an_arm_that_names_a_version_or_an_adapter_is_a_candidate_and_no_part_of_the_suite(
    measured: Measure, workplace: Path
) -> None:
    before = measured()
    assert set(before.rivals) == {"base", "few-shot", "rag"}
    change(workplace / "toy.yaml", "adapter: {version: toy:newest}", "hybrid: {adapter: toy:7}")
    assert measured() == before


def test_a_version_that_the_policy_compares_with_or_that_is_the_baseline_is_a_rival_by_its_name(
    measured: Measure, workplace: Path
) -> None:
    unnamed = measured()
    change(workplace / "toy.yaml", "adapter: {version: toy:newest}", "adapter: {version: toy:1}")
    assert measured(baseline="adapter").rivals.keys() - unnamed.rivals.keys() == {"adapter"}
    change(workplace / "policy.yaml", "rules:", "rules:\n  - {rule: beats, arm: adapter}")
    before = measured()
    assert before.rivals.keys() - unnamed.rivals.keys() == {"adapter"}
    change(workplace / "toy.yaml", "version: toy:1", "version: toy:2")
    assert before.differences(measured()) == ["the rivals"]


def test_an_adapter_that_the_policy_compares_with_and_a_rivals_decoding_are_in_the_suite(
    measured: Measure, workplace: Path
) -> None:
    change(workplace / "policy.yaml", "rules:", "rules:\n  - {rule: beats, arm: adapter}")
    change(workplace / "toy.yaml", "adapter: {version: toy:newest}", "adapter: {adapter: toy:1}")
    before = measured()
    change(workplace / "toy.yaml", "adapter: {adapter: toy:1}", "adapter: {adapter: toy:2}")
    after = measured()
    assert before.differences(after) == ["the rivals"]
    change(workplace / "toy.yaml", ", shots: shots.jsonl}", ", shots: shots.jsonl}, decoding: {temperature: 0.5}")
    assert after.differences(measured()) == ["the rivals"]
    # What is written at its default is what is not written.
    change(workplace / "toy.yaml", "temperature: 0.5", "temperature: 0.0")
    assert measured() == after


def test_an_index_that_the_registry_lacks_is_named(measured: Measure, workplace: Path) -> None:
    change(workplace / "toy.yaml", "index: handbook", "index: nowhere")
    with pytest.raises(InvalidConfig) as error:
        measured()
    assert [problem.place for problem in error.value.problems] == ["arms.rag.knowledge.index"]


def test_items_are_the_same_items_in_whatever_order_and_under_whatever_task(
    measured: Measure, workplace: Path, home: Home
) -> None:
    before = measured().data_digest
    file = workplace / "tasks" / "test.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines()
    file.write_text("\n".join(reversed(lines)), encoding="utf-8")
    change(workplace / "tasks" / "toy.yaml", "max_gen_toks: 40", "max_gen_toks: 4")
    assert measured().data_digest == before
    file.write_text("\n".join(lines[:-1]), encoding="utf-8")
    assert measured().data_digest != before


def test_other_items_on_the_command_line_are_another_suite_and_only_a_look(
    measured: Measure, workplace: Path, tmp_path: Path
) -> None:
    own = workplace / "tasks" / "test.jsonl"
    fresh = tmp_path / "fresh.jsonl"
    fresh.write_text("\n".join(own.read_text(encoding="utf-8").splitlines()[:5]), encoding="utf-8")
    assert measured(data=str(fresh)).data_digest != measured().data_digest
    config = EvalConfig.load(workplace / "toy.yaml", data=str(fresh))
    assert config.provisional == (f"other items ({fresh})",)
    change(workplace / "toy.yaml", "chunk: 10", f"data: {fresh}")
    assert EvalConfig.load(workplace / "toy.yaml").provisional == ()
    assert EvalConfig.load(workplace / "toy.yaml", data=str(fresh)).provisional == ()
    assert EvalConfig.load(workplace / "toy.yaml", data=str(own)).provisional == (f"other items ({own})",)


def test_a_gate_is_made_of_a_policy_and_evaluations_and_binds_both(
    workplace: Path, registry: Registry, home: Home, measured: Measure
) -> None:
    def gate(*files: str):
        return make_gate("toy", workplace / "policy.yaml", [workplace / one for one in files], registry, home.cache)

    first = gate("toy.yaml")
    assert (first.policy_name, first.suites) == ("toy policy", (measured(),))
    assert first.policy_body["rules"][0]["rule"] == "beats"
    json.dumps(first.model_dump(mode="json"))
    (workplace / "second.yaml").write_text((workplace / "toy.yaml").read_text().replace("fields", "valid_json"))
    assert len(gate("toy.yaml", "second.yaml").suites) == 2
    with pytest.raises(InvalidInput, match="measure the same"):
        gate("toy.yaml", "toy.yaml")
    change(workplace / "policy.yaml", "value: 0.5", "value: 0.4")
    assert gate("toy.yaml").digest != first.digest


def test_a_candidate_hides_no_rival_that_is_written_behind_it(measured: Measure, workplace: Path) -> None:
    before = measured()
    adapter = "  adapter: {version: toy:newest}\n"
    change(workplace / "toy.yaml", adapter, "")
    change(workplace / "toy.yaml", "arms:\n", "arms:\n" + adapter)
    assert measured() == before
